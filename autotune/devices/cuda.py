"""Device cuda: a GPU of this machine. A config is compiled, its output is compared with exact values, then it is timed.

Everything runs in a process of its own, which lives on from config to config; one that hangs, crashes or loses its GPU
to a bad access is replaced. Inputs are random and rotate past the L2. Configs whose binaries and launches are the same
are timed once.
"""

from __future__ import annotations

import hashlib
import math
import os
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...simulator import api
from ...simulator.errors import InputError, one_line
from ...simulator.hardware import profile_of_device
from ...simulator.prediction import config_fields
from ...simulator.tiling import Tile
from .. import profiles, timing
from ..isolated import CrashedError, HungError, Isolated, OwnsProcess
from ..measurement import Measurement
from ..space import Space
from ..task import Task
from .offline import check_extras, refused

if TYPE_CHECKING:
    from ...kernels.launch import Plan
    from ..gpu import Built, Gpu
    from ..kernel_runs import KernelRuns

PAST_L2 = 3
"""Inputs in rotation hold at least this many times the L2."""
MOST_SETS = 16
SETUP_LIMIT_S = 300.0
"""Seconds that importing torch, making inputs and computing exact values may take."""
FINALIST_LIMIT_S = 60.0
LAUNCH_OPTIONS = ("warps", "stages", "tma", "warp_specialize")
"""Of a config: what changes a binary, and nothing else about how it is launched."""
Known = dict[str, dict[str, Any]]
"""Times by what was launched."""


class Cuda(OwnsProcess):
    """A GPU. Close it to end its process.

    gpu: the class that is asked for everything a GPU does; found in the module `gpu` by default.
    """

    timed = True

    def __init__(
        self, name: str, hardware: str, environment: dict[str, str | None], gpu: type[Gpu] | None = None
    ) -> None:  # fmt: skip
        super().__init__(environment)
        self.name, self.hardware, self._gpu = name, hardware, gpu
        self._ready: str | None = None
        self._known: dict[str, Known] = {}

    def space(self, task: Task) -> Space:
        """Every legal config."""
        return Space.of(task)

    def measure(self, task: Task, config: Tile, time_limit_s: float) -> Measurement:
        """Compile, check, time; setting up for a new task is not part of the limit."""
        known = self._known.setdefault(task.key, {})
        best_s = min((one["median_s"] for one in known.values()), default=None)
        return self._try(task, [config], time_limit_s, known, best_s)[0]

    def finalists(self, task: Task, configs: Sequence[Tile]) -> list[Measurement]:
        """All compiled and checked again, then timed in turn."""
        return self._try(task, list(configs), FINALIST_LIMIT_S * max(len(configs), 1), {}, None)

    def _try(
        self, task: Task, configs: list[Tile], limit_s: float, known: Known, best_s: float | None
    ) -> list[Measurement]:  # fmt: skip
        illegal = {config: no for config in configs if (no := refused(task, config)) is not None}
        legal = [config for config in dict.fromkeys(configs) if config not in illegal]
        tried = self._tried(task, legal, limit_s, known, best_s) if legal else []
        found = dict(zip(legal, tried, strict=True))
        for config, one in found.items():
            name = one.pop("launched", None)
            if name is not None and one["outcome"] == "ok" and "stopped early" not in one["flags"]:
                times = {key: one[key] for key in ("seconds", "flags")}
                known.setdefault(name, times | {"config": str(config), "median_s": statistics.median(one["seconds"])})
        return [illegal.get(config) or Measurement(task, config, **found[config]) for config in configs]

    def _tried(
        self, task: Task, configs: list[Tile], limit_s: float, known: Known, best_s: float | None
    ) -> list[dict[str, Any]]:  # fmt: skip
        """Fields of a Measurement for each config, from the device's process."""
        begin = time.perf_counter()
        try:
            if self._ready != task.key:
                self._process.run(prepare, task, self._gpu, limit_s=SETUP_LIMIT_S)
                self._ready = task.key
            begin = time.perf_counter()
            found, lost = self._process.run(try_all, configs, known, best_s, limit_s=limit_s)
        except InputError as error:
            fields = {"outcome": "invalid", "reason": str(error)}
        except HungError as error:
            fields = {"outcome": "timeout" if self._ready == task.key else "invalid", "reason": str(error)}
        except CrashedError as error:
            fields = {"outcome": "invalid", "reason": str(error)}
        else:
            if lost:
                self.close()
            return found
        self.close()
        return [{**fields, "measure_s": time.perf_counter() - begin} for _ in configs]

    def close(self) -> None:
        """End the device's process."""
        super().close()
        self._ready = None

    def __getstate__(self) -> dict[str, Any]:
        """For other processes, which start one of their own."""
        return {**self.__dict__, "_ready": None}


def open_device(argument: str) -> Cuda:
    """The GPU with a number, or the first. Raises InputError where there is none."""
    environment = environment_of(argument)
    check_extras()
    with Isolated(environment) as process:
        found = process.run(describe, limit_s=SETUP_LIMIT_S)
    if found["name"] is None:
        which = f"none of number {argument}" if argument else "none"
        raise InputError(f"no GPU here: torch {found['torch']} finds {which}; --device cpu, offline:<chip> or "
                         "replay:<file>")  # fmt: skip
    return Cuda(f"cuda:{argument}" if argument else "cuda", profile_for(found["name"]), environment)


def environment_of(argument: str) -> dict[str, str | None]:
    """Variables of the device's process: kernels are compiled, and of the GPUs that may be seen only one is.

    Raises InputError for what is no number of a GPU.
    """
    environment: dict[str, str | None] = {"TRITON_INTERPRET": None}
    if not argument:
        return environment
    visible = [entry for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry]
    if not argument.isdecimal() or (visible and int(argument) >= len(visible)):
        allowed = f"0 to {len(visible) - 1}, as CUDA_VISIBLE_DEVICES has it" if visible else "cuda, cuda:0, cuda:1, ..."
        raise InputError(f"cuda:{argument} is no GPU; allowed: {allowed}")
    return environment | {"CUDA_VISIBLE_DEVICES": visible[int(argument)] if visible else argument}


def profile_for(name: str) -> str:
    """The profile of a GPU by its name: the one kept by `attnsim hw calibrate cuda --save`, else the shipped one.

    Raises InputError for chips without a profile.
    """
    chip = profile_of_device(name)
    if chip is None:
        raise InputError(f"no profile for the device {name!r}; `attnsim hw list` lists the chips that have one")
    kept = profiles.best_profile("cuda")
    return kept if kept != "cuda" and api.load_hardware(kept).name == chip else chip


# What follows runs in the device's own process.


def describe() -> dict[str, Any]:
    """The name of the first visible GPU, None without any; torch's version."""
    import torch

    return {"name": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None, "torch": torch.__version__}


class Bench:
    """A task set up on a GPU."""

    def __init__(self, task: Task, gpu: Gpu) -> None:
        from ..kernel_runs import KernelRuns

        self.gpu = gpu
        self.runs: KernelRuns = KernelRuns(task, gpu.device)
        self.set_count = min(max(1, math.ceil(PAST_L2 * gpu.l2_bytes() / self.runs.bytes)), MOST_SETS)

    def attempt(self, config: Tile) -> dict[str, Any]:
        """Fields of a config that was compiled and checked; `launched`: what it starts, by which equals are known."""
        begin = time.perf_counter()
        try:
            plan = self.runs.plan(config, self.runs.checked)
            launches = [launch for launch in plan.launches if all(launch.grid)]
            built = [self.gpu.built(launch) for launch in launches]
        except Exception as error:  # the compiler raises a class of its own for every stage
            return {"outcome": kind_of(error, "failed to compile"), "reason": said(error),
                    "compile_s": time.perf_counter() - begin}  # fmt: skip
        main = [one for one, launch in zip(built, launches, strict=True) if launch.main] or built
        fields = {
            "compile_s": time.perf_counter() - begin, "launched": launched(plan, built, config),
            **{name: most(getattr(one, name) for one in main)
               for name in ("registers", "spill_bytes", "shared_memory_bytes")},
        }  # fmt: skip
        begin = time.perf_counter()
        try:
            outputs = plan.run()
            self.gpu.synchronize()
            wrong = self.runs.wrong(outputs)
        except Exception as error:
            return fields | failed(error)
        outcome = "ok" if wrong is None else "wrong answer"
        return {**fields, "outcome": outcome, "reason": wrong or "", "measure_s": time.perf_counter() - begin}

    def timer(self, config: Tile) -> tuple[timing.Timer, str]:
        """What times a config's calls."""
        plans = [self.runs.plan(config, tensors) for tensors in self.runs.sets(self.set_count)]
        return self.gpu.timer(lambda call: plans[call % len(plans)].run(), len(plans))


BENCH: list[Bench] = []
"""The task that is set up, if any."""


def prepare(task: Task, gpu: type[Gpu] | None) -> None:
    """Set up a task in place of the one before. Raises InputError for tasks that cannot be run or checked."""
    from ..gpu import Gpu as Real

    BENCH.clear()
    BENCH.append(Bench(task, (gpu or Real)()))


def try_all(configs: list[Tile], known: Known, best_s: float | None) -> tuple[list[dict[str, Any]], bool]:
    """(fields of a Measurement for each config, whether the GPU is lost to this process): all compiled and checked,
    then timed in turn but for those that are known."""
    (bench,) = BENCH
    found: list[dict[str, Any]] = []
    timers: dict[int, timing.Timer] = {}
    conditions: dict[int, dict[str, Any]] = {}
    for index, config in enumerate(configs):
        if any(fields.get("lost") for fields in found):
            found.append({"outcome": "invalid", "reason": "not tried: another config lost the GPU"})
            continue
        found.append(bench.attempt(config))
        if found[-1]["outcome"] != "ok" or found[-1]["launched"] in known:
            continue
        try:
            timers[index], how = bench.timer(config)
            conditions[index] = {"timed_by": how, "input_sets": bench.set_count}
        except Exception as error:  # no room for all inputs
            found[-1] |= failed(error)
    lost = forget_lost(found)
    try:
        times = {} if lost else timing.rotate(timers, best_s=best_s)
        now = {} if lost else bench.gpu.conditions()
    except Exception as error:  # a bad access that not every call makes
        times, now = {}, {}
        for index in timers:
            found[index] |= failed(error)
        lost = forget_lost(found)
    for index, fields in enumerate(found):
        if index in times:
            one = times[index]
            fields |= {"seconds": one.seconds, "flags": one.flags, "measure_s": fields["measure_s"] + one.spent_s}
            conditions[index] |= {"calls": one.calls, "earlier_seconds": list(one.earlier)}
        elif fields["outcome"] == "ok" and fields["launched"] in known:
            same = known[fields["launched"]]
            flags = dict.fromkeys((*same["flags"], f"same binary as {same['config']}"))
            fields |= {"seconds": same["seconds"], "flags": tuple(flags)}
        elif fields["outcome"] == "ok":
            fields |= {"outcome": "invalid", "reason": "not timed: another config lost the GPU"}
        fields["conditions"] = now | conditions.get(index, {})
    return found, lost


def forget_lost(found: list[dict[str, Any]]) -> bool:
    """Whether a config lost the GPU, which is no field of a Measurement."""
    lost = [fields.pop("lost", False) for fields in found]
    return any(lost)


def failed(error: Exception) -> dict[str, Any]:
    """What became of a config that raised when it ran: no room, or a bad access, after which the GPU is lost."""
    outcome = kind_of(error, "invalid")
    return {"outcome": outcome, "reason": said(error), "lost": outcome == "invalid"}


def launched(plan: Plan, built: Sequence[Built], config: Tile) -> str:
    """A name for what a config starts: its binaries, its grids, its numbers and the shapes it works on."""
    shape = {name: value for name, value in config_fields(config).items() if name not in LAUNCH_OPTIONS}
    starts = []
    for launch in plan.launches:
        arguments = {n: tuple(v.shape) if hasattr(v, "shape") else v for n, v in launch.arguments.items()}
        starts.append((launch.grid, sorted(arguments.items(), key=lambda item: item[0]), launch.warps))
    what = repr((starts, [one.code for one in built], sorted(shape.items())))
    return hashlib.sha256(what.encode()).hexdigest()[:16]


def most(values: Any) -> int | None:
    """The largest of numbers that may be unknown."""
    known = [value for value in values if value is not None]
    return max(known, default=None)


def kind_of(error: Exception, otherwise: str) -> str:
    """The outcome of an exception: no room, what the user's input lacks, or else `otherwise`."""
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"OutOfResources", "OutOfMemoryError"}:
        return "out of resources"
    return "invalid" if isinstance(error, InputError) else otherwise


def said(error: Exception) -> str:
    """What an exception says, in a line: what caused it, where that is known."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    return one_line(error)
