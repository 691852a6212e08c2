"""Device interpret: Triton's interpreter on the CPU. Whether a config computes what it should, and what it moves and
multiplies on the way; no time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from ...simulator import api
from ...simulator.errors import InputError, one_line
from ...simulator.tiling import Tile
from ..isolated import CrashedError, HungError, OwnsProcess
from ..measurement import Measurement
from ..space import Space
from ..task import Task
from .offline import check_extras, refused

ENVIRONMENT: dict[str, str | None] = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
CHIP = "h100"
"""Whose tiles are interpreted where no chip is named."""
MOST_PAIRS = 2**22
"""Pairs of all heads that are interpreted within seconds."""


class Interpret(OwnsProcess):
    """The interpreter. Close it to end its process."""

    timed = False

    def __init__(self, name: str, hardware: str) -> None:
        self.name, self.hardware = name, hardware
        super().__init__(ENVIRONMENT)

    def space(self, task: Task) -> Space:
        """Every legal config. Raises InputError for problems that would take too long."""
        reason = too_large(task)
        if reason is not None:
            raise InputError(reason)
        return Space.of(task)

    def measure(self, task: Task, config: Tile, time_limit_s: float) -> Measurement:
        """Run a config once and compare."""
        reason = too_large(task)
        if reason is not None:
            return Measurement(task, config, "invalid", reason=reason)
        illegal = refused(task, config)
        if illegal is not None:
            return illegal
        begin = time.perf_counter()
        try:
            fields = self._process.run(interpret, task, config, limit_s=time_limit_s)
        except HungError as error:
            fields = {"outcome": "timeout", "reason": str(error)}
        except CrashedError as error:
            fields = {"outcome": "invalid", "reason": str(error)}
        return Measurement(task, config, measure_s=time.perf_counter() - begin, **fields)

    def finalists(self, task: Task, configs: Sequence[Tile]) -> list[Measurement]:
        """None: there are no times."""
        return []


def open_device(argument: str) -> Interpret:
    """The interpreter, for the tiles of a chip. Raises InputError for unknown chips, and where an extra is missing."""
    api.load_hardware(argument or CHIP)
    check_extras()
    return Interpret(f"interpret:{argument}" if argument else "interpret", argument or CHIP)


def too_large(task: Task) -> str | None:
    """A sentence where interpreting a task would take too long: one that says what would not."""
    p = task.problem
    second = min(int(getattr(task.made, "window2", 1)), int(p.kv_len))
    pairs = int(p.batch) * int(p.heads) * int(p.queries) * int(p.kv_len) * second
    if pairs <= MOST_PAIRS:
        return None
    tokens = 1 << (math.isqrt(MOST_PAIRS // (2 * second)).bit_length() - 1)
    return (f"batch x heads x queries x keys is {pairs:.2g}; the interpreter takes up to {MOST_PAIRS:.2g}, such as 1 "
            f"sequence of {tokens} tokens with 2 heads")  # fmt: skip


# What follows runs in the device's own process.


def interpret(task: Task, config: Tile) -> dict[str, Any]:
    """Fields of a Measurement: what became of a config."""
    import torch

    from ...kernels.interpret import counting
    from ..kernel_runs import KernelRuns

    conditions: dict[str, Any] = {"triton": version("triton"), "torch": torch.__version__}
    try:
        with counting():  # a backward pass begins with a forward one
            runs = KernelRuns(task, "cpu")
        with counting() as counted:
            outputs = runs.plan(config, runs.checked).run()
    except Exception as error:  # whatever the interpreter raises is an outcome
        return {"outcome": "invalid", "reason": one_line(error), "conditions": conditions}
    reason = runs.wrong(outputs)
    conditions |= {
        "load_bytes": counted.load_bytes.total(), "store_bytes": counted.store_bytes.total(),
        "atomic_bytes": counted.atomic_bytes.total(), "dot_flops": counted.dot_flops.total(),
        "exponentials": counted.exp,
    }  # fmt: skip
    return {"outcome": "correct" if reason is None else "wrong answer", "reason": reason or "",
            "conditions": conditions}  # fmt: skip
