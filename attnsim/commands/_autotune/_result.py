"""What tuning says in the end, and what a dry run says before it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

from ...autotune.devices import Device
from ...autotune.rank import Ranked, rank
from ...autotune.space import Space, dimensions_of
from ...autotune.storage import shown
from ...autotune.study import Result, Trial
from ...autotune.task import Task
from ...reports.words import plural, seconds
from ...simulator.prediction import config_fields
from ..hw import print_table

HEADS = ("rank", "config", "model's rank", "predicted", "measured", "spread", "registers", "spills", "outcome")


def as_json(result: Result) -> str:
    """Everything, as the contract of `--format json` has it."""
    best = result.best
    return json.dumps({
        "task": result.task.to_dict(), "device": result.device, "timed": result.timed, "study": result.study,
        "storage": result.location, "stopped": result.stopped, "notes": list(result.notes),
        "recorded": result.recorded, "best": None if best is None else entry(best, 1),
        "default": None if result.default is None else entry(result.default, place_of(result, result.default)),
        "speedup_over_default": speedup(result), "share_of_floor": share(best),
        "trials": [entry(trial, place_of(result, trial)) for trial in result.trials],
    }, indent=2, allow_nan=False)  # fmt: skip


def place_of(result: Result, trial: Trial) -> int | None:
    """A trial's place by its time; the winner is the first, whatever others once took."""
    timed = [t for t in result.trials if t.measurement is not None and t.measurement.seconds]
    if result.best in timed:
        timed.sort(key=lambda t: t is not result.best)
    return timed.index(trial) + 1 if trial in timed else None


def entry(trial: Trial, place: int | None) -> dict[str, Any]:
    """A config as JSON."""
    m = trial.measurement
    return {
        "rank": place, "config": config_fields(trial.config), "predicted_rank": trial.place,
        "predicted_s": trial.predicted_s, "floor_s": trial.floor_s, "measured_s": m and m.median_s,
        "spread": m and m.spread, "registers": m and m.registers, "spill_bytes": m and m.spill_bytes,
        "shared_memory_bytes": m and m.shared_memory_bytes, "outcome": m.outcome if m else "skipped",
        "reason": m.reason if m else trial.skipped, "flags": list(m.flags) if m else [],
    }  # fmt: skip


def speedup(result: Result) -> float | None:
    """How many times faster the winner is than the kernel's own choice."""
    times = [trial and trial.measurement and trial.measurement.median_s for trial in (result.default, result.best)]
    return times[0] / times[1] if times[0] and times[1] else None


def share(trial: Trial | None) -> float | None:
    """A config's floor over its time: 1 cannot be surpassed."""
    time_s = trial and trial.measurement and trial.measurement.median_s
    return trial.floor_s / time_s if trial and time_s and trial.floor_s else None


def as_table(result: Result, export: str | None) -> str:
    """Prints the table; the lines that belong below it."""
    ordered = sorted(result.trials, key=lambda t: t is not result.best)
    print_table(HEADS, [cells(trial, place_of(result, trial)) for trial in ordered if not trial.skipped])
    lines = [str(result.task) + f" ({result.device})", *verdict(result), f"stopped: {result.stopped}"]
    lines += [f"note: {note}" for note in result.notes]
    name = result.study.split()[-1]
    lines.append(f"study {name} in {shown(result.location)}{how_to_go_on(result)}")
    if result.recorded:
        lines.append("the winner is recorded: attnsim.kernels.attention uses it from now on")
    lines.append(f"written to {export}" if export else f"as a file: attnsim autotune export {name}")
    return "\n".join(lines)


def how_to_go_on(result: Result) -> str:
    """What to type to try more, where a budget ended it."""
    if not result.stopped.startswith("the budget"):
        return ""
    larger = " and a larger --trials" if "trials" in result.stopped else ""
    return f"; to go on, the same command with --resume{larger}"


def cells(trial: Trial, place: int | None) -> list[str]:
    """A config as a row."""
    row = entry(trial, place)
    told = row["outcome"] + (f": {row['reason']}" if row["reason"] else "")
    return [
        str(place or "-"), str(trial.config), str(trial.place), seconds(trial.predicted_s), seconds(row["measured_s"]),
        "-" if row["spread"] is None else f"{row['spread']:.1%}",
        "-" if row["registers"] is None else str(row["registers"]),
        "-" if row["spill_bytes"] is None else f"{row['spill_bytes']} B", ", ".join([told, *row["flags"]]),
    ]  # fmt: skip


def verdict(result: Result) -> list[str]:
    """The winner against the kernel's own choice and against the floor."""
    best, default = result.best, result.default
    if best is None:
        return ["no winner: nothing that was tried is right" + ("" if result.timed else " and spills nothing")]
    assert best.measurement is not None
    if best.measurement.median_s is None:
        return [f"best {best.config}: the first in the model's order that is {best.measurement.outcome} and "
                "spills nothing (no times here)"]  # fmt: skip
    lines = [f"best {best.config}: {seconds(best.measurement.median_s)}"]
    ratio = speedup(result)
    if default is not None and default.config == best.config:
        lines.append("it is the kernel's own choice")
    elif default is not None and default.measurement is not None and ratio is not None:
        lines.append(f"{ratio:.2f} times as fast as the kernel's own choice {default.config}: "
                     f"{seconds(default.measurement.median_s)}")  # fmt: skip
    reached = share(best)
    if reached is not None:
        lines.append(f"{reached:.1%} of what its tile's floor allows: {seconds(best.floor_s)} "
                     f"on {result.task.chip.name}")  # fmt: skip
    return lines


def dry_run(task: Task, device: Device, compile_first: int, workers: int, form: str) -> str:
    """The configs in the order that they would be tried in, and what is refused and why."""
    space = device.space(task)
    ranked: Sequence[Ranked] = rank(task, space.configs)
    if compile_first:
        from ...autotune.devices.offline import compile_configs
        from ...autotune.rank import rerank

        ranked = rerank(task, ranked, compile_configs(task, [one.config for one in ranked[:compile_first]], workers))
    refused, unsure = ([], 0) if hasattr(device, "recording") else left_out(task, space)
    if form == "json":
        return json.dumps({
            "task": task.to_dict(), "device": device.name, "refused": len(refused), "not_offered": unsure,
            "refusal": next(iter(refused), None),
            "configs": [
                {"rank": index, "config": config_fields(one.config), "predicted_s": one.predicted_s,
                 "floor_s": one.floor_s, "default": one.config == space.default}
                for index, one in enumerate(ranked, start=1)
            ],
        }, indent=2, allow_nan=False)  # fmt: skip
    print_table(("rank", "config", "predicted", "floor"), [
        [str(index), str(one.config) + (" (the kernel's own choice)" if one.config == space.default else ""),
         seconds(one.predicted_s), seconds(one.floor_s)]
        for index, one in enumerate(ranked, start=1)
    ])  # fmt: skip
    lines = [str(task) + f" ({device.name})", f"{plural(len(ranked), 'config')} may be tried; nothing was measured"]
    if refused:
        lines.append(f"{plural(len(refused), 'combination')} of the kernel's values, and of tiles twice as large, "
                     f"cannot run, such as: {refused[0]}")  # fmt: skip
    if unsure:
        lines.append(f"{plural(unsure, 'combination')} can run but {'is' if unsure == 1 else 'are'} not offered: no "
                     "gain is known, or only a compiler could tell whether they spill")  # fmt: skip
    return "\n".join(lines)


def left_out(task: Task, space: Space) -> tuple[list[str], int]:
    """Why combinations of the values of the kernel's candidates, and of tiles twice as large, are refused, a sentence
    each; and how many others are not refused and not offered."""
    kernel, part, chip = task.kernel, task.part, task.chip
    candidates = tuple(kernel.candidates(part, chip))
    made = dimensions_of(candidates)
    values = [
        (*d.values, tuple(2 * side for side in d.values[-1])) if d.name in ("query", "key") else d.values for d in made
    ]
    combined = [
        type(candidates[0])(**dict(zip((d.name for d in made), point, strict=True)))
        for point in itertools.product(*values)
    ]
    reasons = {config: kernel.refuses(part, chip, config) for config in combined if config not in space.configs}
    return [reason for reason in reasons.values() if reason], sum(reason is None for reason in reasons.values())
