"""Which task of a recording is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...autotune.measurement import Recording
from ...autotune.task import Task
from ...simulator.api import load_hardware, split_arguments
from ...simulator.errors import InputError
from ...simulator.problem import Problem
from ...simulator.variants import get_class

LAYOUTS = ("seq", "shape", "documents")
"""Sizes of which a problem states one."""


def recorded(
    recording: Recording, name: str, variant: str, hardware: str | None, implementation: str | None,
    arguments: Mapping[str, Any],
) -> Task:  # fmt: skip
    """The one recorded task of a variant that what is given fits. Raises InputError where it fits none, or several."""
    of_variant = [task for task in recording.tasks if get_class(task.variant) is get_class(variant)]
    found = [task for task in of_variant if fits(task, hardware, implementation, arguments)]
    if len(found) == 1:
        return found[0]
    listed = said(found or of_variant or recording.tasks)
    if found:
        raise InputError(f"{name} has {len(found)} problems of {variant}; say which by its sizes: {listed}")
    raise InputError(f"{name} has no such problem of {variant}; it has {listed}")


def said(tasks: tuple[Task, ...] | list[Task]) -> str:
    """The first of them."""
    more = f"; and {len(tasks) - 5} more" if len(tasks) > 5 else ""
    return "; ".join(map(str, tasks[:5])) + more


def fits(task: Task, hardware: str | None, implementation: str | None, arguments: Mapping[str, Any]) -> bool:
    """Whether what is given changes nothing about a task."""
    if hardware is not None and load_hardware(hardware).name != task.chip.name:
        return False
    if implementation is not None and implementation != task.implementation:
        return False
    sizes = dict(task.sizes)
    if any(layout in arguments for layout in LAYOUTS):
        sizes = {key: value for key, value in sizes.items() if key not in LAYOUTS}
    try:
        made, asked, _ = split_arguments(task.variant, {**task.parameters, **sizes, **arguments})
        same: bool = made.prepare(Problem.make(**asked)).to_dict() == task.problem.to_dict()
        return same and made.parameters() == task.made.parameters()
    except InputError:
        return False
