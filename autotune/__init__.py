"""All that measures or learns: spaces and their order, devices, studies, recordings, hooks into other tuners.

    space, rank           what may be tried, and in which order
    devices/, archives/   where measurements come from: one file each
    study, sampler        who tries what, resumable and shared
    hooks, flex           prune, configs, flex_options: the model in other people's tuners

>>> from attnsim import autotune
>>> task = autotune.Task.make("mha", "h100", seq=4096)
>>> autotune.candidates(task)[0].config.query
(128,)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .devices import open_device
    from .flex import flex_options
    from .hooks import candidates, configs, prune
    from .measurement import Measurement, Recording
    from .space import Space
    from .study import Result, tune
    from .task import Task

_WHERE = {
    "Measurement": "measurement", "Recording": "measurement", "Result": "study", "Space": "space",
    "Task": "task", "candidates": "hooks", "configs": "hooks", "flex_options": "flex", "open_device": "devices",
    "prune": "hooks", "tune": "study",
}  # fmt: skip
"""Public names, and the files that have them."""

__all__ = [
    "Measurement", "Recording", "Result", "Space", "Task", "candidates", "configs", "flex_options",
    "open_device", "prune", "tune",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Public names are loaded when first used, so that importing this costs nothing."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
