"""Devices: what a config is tried on. One file a device, found by its name; its `open(argument)` makes one.

cuda              the GPU of this machine: correctness, then time
cpu               this host: flex_attention, compiled
offline:<chip>    the compiler, for a chip that is not there: registers, spills, no time
interpret         Triton's interpreter: correctness, no time
replay:<file>     a recording
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ...simulator.errors import InputError, unknown
from ...simulator.tiling import Tile
from ..measurement import Measurement
from ..space import Space
from ..task import Task


class Device(Protocol):
    """Where configs are tried.

    name: as it was asked for. hardware: the profile of its chip (a name or a file). timed: whether it gives times.
    """

    name: str
    timed: bool

    @property
    def hardware(self) -> str: ...

    def space(self, task: Task) -> Space:
        """The configs that can be tried here."""
        ...

    def measure(self, task: Task, config: Tile, time_limit_s: float) -> Measurement:
        """Try one config: every failure, hang or wrong answer is an outcome, never an exception."""
        ...

    def finalists(self, task: Task, configs: Sequence[Tile]) -> list[Measurement]:
        """Time the best few again, in rotation, so that drift meets all alike."""
        ...


@functools.cache
def names() -> tuple[str, ...]:
    """Devices by name: the files of this folder."""
    return tuple(sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_")))


def open_device(text: str) -> Device:
    """The device called `name` or `name:argument`. Raises InputError for unknown ones, or where it is not here."""
    name, _, argument = text.partition(":")
    if name not in names():
        raise unknown("device", name, names())
    found: Device = importlib.import_module(f"{__name__}.{name}").open_device(argument)
    return found


def default_device() -> str:
    """cuda where there is one, else cpu. Raises InputError where torch is missing."""
    try:
        import torch
    except ModuleNotFoundError:
        raise InputError("tuning needs torch: pip install 'attnsim[kernels,tune]'") from None
    return "cuda" if torch.cuda.is_available() else "cpu"
