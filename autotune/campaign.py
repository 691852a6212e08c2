"""A campaign: everything worth doing on a machine with a device, most valuable first, within a budget of seconds.

First the kernel's own config of every problem, which checks its answer; then the chip is measured; then of every
problem the configs that the model would try first and some spread over the rest; then all the others. Every
measurement is written down when it is made, so that a campaign may be killed at any moment: the next one in the same
folder goes on.

    campaign.json             what is measured, and where: another device or other versions are refused
    landscapes/<problem>.json recordings, which `replay:<file>` serves
    profile.toml              the chip as measured
    summary.json              outcomes, and predictions against measurements
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from .._files import make_folder, write_file
from ..simulator.errors import InputError
from ..simulator.hardware import Hardware
from ..simulator.tiling import Tile
from . import campaign_steps as steps
from . import measurement
from .devices import Device
from .measurement import Measurement
from .problems import Named, problems, small
from .profiles import kind_of
from .rank import rank
from .task import Task

ROUNDS = ("correctness", "sample", "exhaustive")
"""One config of each problem, some, all. The chip is measured after the first."""
FIRST_TRIED, SPREAD = 4, 4
"""How many of the model's first choices a sample has, and how many of the rest."""
TIME_LIMIT_S = 60.0
"""Of one config."""
PROFILE_S = {"cuda": 30.0, "cpu": 15.0}
"""What measuring the chip takes at most, by device."""
CONFIG_S = {"cuda": 2.5, "cpu": 5.0}
"""What trying a config takes, until some were tried, by device."""
SAME = ("device", "device_name", "hardware", "attnsim", "torch", "triton")
"""What measurements of one folder have in common."""
SHIPPED, MEASURED = "shipped profile", "measured profile"

Progress = Callable[[str, int, int], None]
"""Called with what is done next, and how many configs are tried of all."""


@dataclass(frozen=True)
class Landscape:
    """A problem on this device: its task, and its configs in the order of ROUNDS; `ends` says where each round ends."""

    problem: Named
    task: Task
    configs: tuple[Tile, ...]
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What a campaign will do. untunable: problems without a kernel here, and why."""

    device: Device
    out: Path
    landscapes: tuple[Landscape, ...]
    untunable: Mapping[str, str]

    @property
    def kind(self) -> str:
        """The device without its argument."""
        return kind_of(self.device.name)

    @property
    def profile(self) -> Path:
        return self.out / "profile.toml"

    def file(self, one: Landscape) -> Path:
        return self.out / "landscapes" / f"{one.problem.name}.json"

    def measured(self, one: Landscape) -> list[Measurement]:
        """What was measured of a problem so far. Raises InputError for a file of something else."""
        path = self.file(one)
        if not path.is_file():
            return []
        found = list(measurement.read(path).measurements)
        if any(m.task.key != one.task.key for m in found):
            raise InputError(f"{str(path)!r} holds another problem than {one.task}; take another folder")
        return found


def plan(device: Device, out: str | Path, among: Sequence[Named] | None = None) -> Plan:
    """The campaign on a device. among: problems in place of the fixed list."""
    kind = kind_of(device.name)
    chip = Hardware.load(device.hardware).name
    found, untunable = [], {}
    for problem in among if among is not None else small() if kind == "cpu" else problems():
        try:
            # A profile's name, not a file of this machine: recordings are read elsewhere.
            task = problem.task(chip)
            configs, ends = in_rounds(task, device)
        except InputError as error:
            untunable[problem.name] = str(error)
            continue
        found.append(Landscape(problem, task, configs, ends))
    return Plan(device, Path(out), tuple(found), untunable)


def in_rounds(task: Task, device: Device) -> tuple[tuple[Tile, ...], tuple[int, ...]]:
    """The configs of a task in the order that they are tried in, and how many of them each round reaches."""
    space = device.space(task)
    if not space.configs:
        raise InputError(f"no config to try for {task}")
    ranked = [one.config for one in rank(task, space.configs)]
    first, rest = ranked[:FIRST_TRIED], ranked[FIRST_TRIED:]
    spread = [rest[len(rest) * (2 * k + 1) // (2 * SPREAD)] for k in range(SPREAD)] if rest else []
    sample = tuple(dict.fromkeys((space.default, *first, *spread)))
    return tuple(dict.fromkeys((*sample, *ranked))), (1, len(sample), len(ranked))


class Stopwatch:
    """Seconds of this call, and of the configs that it tried. clock: that of the process."""

    def __init__(self, budget_s: float, clock: Callable[[], float]) -> None:
        self.clock, self.begin, self.budget_s = clock, clock(), budget_s
        self.configs, self.configs_s = 0, 0.0

    @property
    def spent_s(self) -> float:
        return self.clock() - self.begin

    def allows(self, seconds: float) -> bool:
        """Whether so many seconds more stay within the budget."""
        return self.spent_s + seconds <= self.budget_s

    @property
    def allows_config(self) -> bool:
        """Whether one more config does, if it takes as long as those before."""
        return self.allows(self.configs_s / self.configs if self.configs else 0.0)

    def config(self, work: Callable[[], Measurement]) -> Measurement:
        """Try one."""
        begin = self.clock()
        found = work()
        self.configs, self.configs_s = self.configs + 1, self.configs_s + self.clock() - begin
        return found


def run(
    campaign: Plan, budget_s: float, progress: Progress | None = None, clock: Callable[[], float] = time.monotonic
) -> dict[str, Any]:
    """Go on with a campaign until it is done or the seconds are spent, and return its summary, which is written too.

    The budget is looked at before each config, so that one that takes longer than those before is all that may exceed
    it. Raises InputError for a folder of another campaign and for files that cannot be written.
    """
    watch = Stopwatch(budget_s, clock)
    if not campaign.landscapes:
        raise InputError(f"no problem can be measured on {campaign.device.name}: "
                         f"{next(iter(campaign.untunable.values()), 'the list is empty')}")  # fmt: skip
    source = started(campaign)
    tried = {one.problem.name: campaign.measured(one) for one in campaign.landscapes}
    total = sum(len(one.configs) for one in campaign.landscapes)
    profile_error, stopped = "", "done"
    for round_, name in enumerate(ROUNDS):
        for one in campaign.landscapes:
            found = tried[one.problem.name]
            known = {m.config for m in found}
            for config in one.configs[: one.ends[round_]]:
                if config in known:
                    continue
                if not watch.allows_config:
                    stopped = "budget"
                    break
                if progress:
                    progress(f"{name}: {one.problem.name}", sum(map(len, tried.values())), total)
                found.append(watch.config(partial(measured, campaign.device, one.task, config)))
                kept(campaign, one, source, found)
        if round_ == 0 and stopped == "done":
            profile_error = profiled(campaign, watch, progress, sum(map(len, tried.values())), total)
    made = summary(campaign, tried, source, stopped, watch.spent_s, profile_error)
    write_json(campaign.out / "summary.json", made)
    return made


def measured(device: Device, task: Task, config: Tile) -> Measurement:
    """One config tried. A device gives every failure as an outcome; should one raise, the campaign goes on."""
    try:
        return device.measure(task, config, TIME_LIMIT_S)
    except Exception as error:
        said = " ".join(str(error).split())
        return Measurement(task, config, "invalid", reason=f"the device failed: {type(error).__name__}: {said}"[:300])


def kept(campaign: Plan, one: Landscape, source: Mapping[str, Any], found: Sequence[Measurement]) -> None:
    """Write a problem's recording."""
    about = {"problem": one.problem.name, "group": one.problem.group, "space": len(one.configs),
             "complete": {m.config for m in found}.issuperset(one.configs)}  # fmt: skip
    measurement.write(campaign.file(one), {**source, **about}, found)


def profiled(campaign: Plan, watch: Stopwatch, progress: Progress | None, done: int, total: int) -> str:
    """Measure the chip, if it was not and the budget allows; returns why there is no profile, or nothing."""
    if campaign.profile.is_file():
        return ""
    if not watch.allows(PROFILE_S.get(campaign.kind, 0.0)):
        return "no time was left"
    if progress:
        progress("measuring the chip", done, total)
    try:
        steps.write_profile(campaign.device, campaign.profile)
    except (InputError, RuntimeError, OSError) as error:
        return " ".join(str(error).split()) or type(error).__name__
    return ""


def started(campaign: Plan) -> dict[str, Any]:
    """Note this call in campaign.json; returns where its measurements come from. Raises InputError where the folder
    has measurements of something else."""
    source = steps.provenance(campaign.device)
    path = campaign.out / "campaign.json"
    try:
        calls = json.loads(path.read_text())["calls"] if path.is_file() else []
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{str(path)!r} is no campaign; take another folder") from None
    for name in SAME if calls else ():
        if calls[0].get(name) != source.get(name):
            raise InputError(f"{str(campaign.out)!r} was measured with {name.replace('_', ' ')} {calls[0].get(name)}, "
                             f"this is {source.get(name)}; take another folder")  # fmt: skip
    write_json(path, {"calls": [*calls, source]})
    return source | ({"begun": calls[0]["date"]} if calls else {})


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a file whole. Raises InputError where that is impossible."""
    make_folder(path.parent)
    write_file(path, (json.dumps(data, indent=1, allow_nan=False) + "\n").encode())


def summary(
    campaign: Plan, tried: Mapping[str, Sequence[Measurement]], source: Mapping[str, Any], stopped: str, spent_s: float,
    profile_error: str,
) -> dict[str, Any]:  # fmt: skip
    """Outcomes and predictions of every problem, with the shipped profile and the measured one."""
    profiles = {SHIPPED: str(source["hardware"])}
    if campaign.profile.is_file():
        profiles[MEASURED] = str(campaign.profile)
    rows = [
        steps.landscape_record(one.problem.name, one.task, tried[one.problem.name], one.configs, profiles)
        for one in campaign.landscapes
    ]
    return {
        "stopped": stopped, "spent_s": spent_s, "provenance": dict(source), "untunable": dict(campaign.untunable),
        "configs": sum(row["configs"] for row in rows), "measured": sum(row["measured"] for row in rows),
        "profile": "profile.toml" if campaign.profile.is_file() else None, "profile_error": profile_error or None,
        "means": {called: steps.means(rows, called) for called in profiles}, "problems": rows,
    }  # fmt: skip


def estimates(campaign: Plan) -> list[tuple[str, int, float]]:
    """(what, configs, seconds) of the rounds that are left, in their order; seconds by what configs took so far."""
    tried = {one.problem.name: campaign.measured(one) for one in campaign.landscapes}
    costs = [m.cost_s for found in tried.values() for m in found if m.cost_s]
    each = sum(costs) / len(costs) if costs else CONFIG_S.get(campaign.kind, 1.0)
    known = {name: {m.config for m in found} for name, found in tried.items()}
    rows: list[tuple[str, int, float]] = []
    for round_, name in enumerate(ROUNDS):
        count = 0
        for one in campaign.landscapes:
            begin = one.ends[round_ - 1] if round_ else 0
            count += sum(c not in known[one.problem.name] for c in one.configs[begin : one.ends[round_]])
        rows.append((name, count, count * each))
        if round_ == 0:
            rows.append(
                ("measuring the chip", 0, 0.0 if campaign.profile.is_file() else PROFILE_S.get(campaign.kind, 0.0))
            )
    return rows
