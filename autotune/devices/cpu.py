"""Device cpu: torch's flex_attention, compiled for this host, one block size of its mask after the other.

Everything runs in one process of its own, which lives on from config to config. A config is compiled, its output is
compared with exact rows, and only then it is timed. What dynamo would do without being asked (run uncompiled code after
many recompilations, some 25 times slower) is an error here, never a time.
"""

from __future__ import annotations

import functools
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

from ...simulator.errors import InputError, one_line
from ...simulator.tiling import Tile
from .. import host, profiles, timing
from ..isolated import CrashedError, HungError, OwnsProcess
from ..measurement import Measurement
from ..space import Space
from ..task import Task

IMPLEMENTATION = "flex-cpu"
SERIES_S, FEWEST = 1.0, 6
"""Seconds that the rounds of a config should take, unless those are too few."""
FINALISTS_LIMIT_S = 60.0
RECOMPILATIONS = 64
ENVIRONMENT: dict[str, str | None] = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
"""Compile in the process itself: a pool of compilers takes longer to start than a kernel to compile."""

Run = Callable[[], Any]


class Cpu(OwnsProcess):
    """This host. Close it to end its process."""

    name = "cpu"
    timed = True

    def __init__(self) -> None:
        super().__init__(ENVIRONMENT)

    @property
    def hardware(self) -> str:
        """The profile that `attnsim hw calibrate cpu --save` kept, else the shipped stand-in."""
        return profiles.best_profile("cpu")

    def space(self, task: Task) -> Space:
        """Block sizes of the mask."""
        return Space.of(task)

    def measure(self, task: Task, config: Tile, time_limit_s: float) -> Measurement:
        """Compile, check, time."""
        return self._try(task, [config], time_limit_s)[0]

    def finalists(self, task: Task, configs: Sequence[Tile]) -> list[Measurement]:
        """All compiled and checked first, then timed in turn."""
        return self._try(task, list(configs), FINALISTS_LIMIT_S * max(len(configs), 1))

    def _try(self, task: Task, configs: list[Tile], limit_s: float) -> list[Measurement]:
        refused = {config: reason for config in configs if (reason := refusal(task, config)) is not None}
        legal = [config for config in dict.fromkeys(configs) if config not in refused]
        found: list[dict[str, Any]] = []
        if legal:
            try:
                found = self._process.run(try_all, task, legal, limit_s=limit_s)
            except HungError as error:
                found = [{"outcome": "timeout", "reason": str(error), "measure_s": limit_s}] * len(legal)
            except CrashedError as error:
                found = [{"outcome": "failed to compile", "reason": str(error)}] * len(legal)
        fields = dict(zip(legal, found, strict=True))
        return [
            Measurement(task, config, "invalid", reason=refused[config])
            if config in refused
            else Measurement(task, config, **fields[config])
            for config in configs
        ]


def open_device(argument: str) -> Cpu:
    """This host. Raises InputError for arguments, and where torch is missing or cannot compile."""
    if argument:
        raise InputError(f"device cpu takes no argument; not {argument!r}")
    host.need_torch()
    return Cpu()


def refusal(task: Task, config: Tile) -> str | None:
    """Why a config cannot be tried here, a sentence; None where it can."""
    if task.implementation != IMPLEMENTATION:
        return f"the cpu runs {IMPLEMENTATION}, not {task.implementation}"
    return task.kernel.refuses(task.part, task.chip, config)


# What follows runs in the device's own process.


def try_all(task: Task, configs: list[Tile]) -> list[dict[str, Any]]:
    """Fields of a Measurement for each config: compiled and checked one by one, then timed in turn."""
    import torch

    torch._dynamo.reset()
    try:
        problem = Flex(task)
    except Exception as error:  # masks that cannot be written down, operands that do not fit
        return [{"outcome": "invalid", "reason": one_line(error)}] * len(configs)
    found: list[dict[str, Any]] = []
    runs: dict[int, Run] = {}
    # With fullgraph a recompilation past the limit is an error.
    with torch.no_grad(), torch._dynamo.config.patch(recompile_limit=RECOMPILATIONS):
        for index, config in enumerate(configs):
            begin = time.perf_counter()
            try:
                run, blocks = problem.compiled(config)
                output = first_run(run)
            except Exception as error:  # whatever a compiler raises is an outcome
                fields = {"outcome": outcome_of(error), "reason": one_line(error), "conditions": conditions(task)}
            else:
                wrong = problem.wrong(output)
                fields = {"outcome": "ok" if wrong is None else "wrong answer", "reason": wrong or "",
                          "conditions": conditions(task) | blocks}  # fmt: skip
                if wrong is None:
                    runs[index] = run
            found.append(fields | {"compile_s": time.perf_counter() - begin})
        for index, timed in in_turn(runs).items():
            found[index] |= timed
    return found


class Flex:
    """A task's operands, its mask as flex_attention takes it, and exact rows of its output."""

    def __init__(self, task: Task) -> None:
        import torch

        from ...kernels.operands import DTYPES
        from ...kernels.reference.baselines import fastest_rule
        from ..correctness import Expected, mask_rows, sampled_rows

        part, self.mask = task.part, task.part.mask
        dtype, generator = DTYPES[part.dtype], torch.Generator().manual_seed(0)
        shapes = ((part.heads, part.tokens, part.depth), (part.kv_heads, part.keys, part.depth),
                  (part.kv_heads, part.keys, part.width))  # fmt: skip
        q, k, v = (torch.randn(int(part.batch), *map(int, s), generator=generator).to(dtype) for s in shapes)
        self.operands = q, k, k[..., : int(part.width)].contiguous() if part.shared_kv else v
        self.rule = fastest_rule(self.mask, "cpu")
        q, k, v = (t[:1] for t in self.operands)
        rows = sampled_rows(q.shape[2], q.device)
        truth, allowed = mask_rows(q, k, v, self.mask, rows)
        self.expected = Expected(lambda o: o[:1, :, rows], truth, allowed)

    def compiled(self, config: Tile) -> tuple[Run, dict[str, Any]]:
        """A function without arguments, compiled when first called; how many blocks of the mask it visits."""
        import torch
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        n, m = self.operands[0].shape[2], self.operands[1].shape[2]
        sides = config.query[0], config.key[0]
        blocks = create_block_mask(self.rule, None, None, n, m, device="cpu", BLOCK_SIZE=sides)
        full = 0 if blocks.full_kv_num_blocks is None else int(blocks.full_kv_num_blocks.sum())
        partial = int(blocks.kv_num_blocks.sum())
        attend = torch.compile(flex_attention, dynamic=False, fullgraph=True)
        grouped = self.operands[0].shape[1] != self.operands[1].shape[1]
        run = functools.partial(attend, *self.operands, block_mask=blocks, enable_gqa=grouped)
        return run, {"visited_blocks": full + partial, "partial_blocks": partial}

    def wrong(self, output: Any) -> str | None:
        """A sentence where the output differs from exact rows by more than it may."""
        error = self.expected.error(output)
        return None if error <= self.expected.budget else f"error {error:.2e}, allowed {self.expected.budget:.2e}"


def first_run(run: Run) -> Any:
    """The output of a function that is compiled now. Raises RuntimeError where it was not, and so ran as it is."""
    from torch._dynamo.utils import counters

    before = counters["stats"]["unique_graphs"]
    output = run()
    if counters["stats"]["unique_graphs"] == before:
        raise RuntimeError("dynamo compiled nothing: it is switched off, or gave up")
    return output


class Calls:
    """A `timing.Timer` of a function."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def seconds(self, calls: int, first: int) -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            self.run()
        return time.perf_counter() - begin


def in_turn(runs: dict[int, Run]) -> dict[int, dict[str, Any]]:
    """Fields of a Measurement for what is timed: a round of each, then the next of each."""
    if not runs:
        return {}
    timers = {key: Calls(run) for key, run in runs.items()}
    slowest = max(one.seconds(1, 0) for one in timers.values())
    found = timing.rotate(timers, rounds=min(max(round(SERIES_S / slowest), FEWEST), timing.ROUNDS))
    return {
        key: {"seconds": (*one.earlier, *one.seconds), "flags": one.flags, "measure_s": one.spent_s}
        for key, one in found.items()
    }


def conditions(task: Task) -> dict[str, Any]:
    """What the times depend on besides task and config."""
    import torch

    return {
        "host": f"{platform.machine()} {host.processor()}".strip(), "cores": host.cores(),
        "threads": torch.get_num_threads(), "torch": torch.__version__, "dtype": task.part.dtype,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip


def outcome_of(error: Exception) -> str:
    """The kind of failure: memory that was not there, or code that was not made."""
    words = str(error).lower()
    lacking = isinstance(error, MemoryError) or "allocate memory" in words or "out of memory" in words
    return "out of resources" if lacking else "failed to compile"
