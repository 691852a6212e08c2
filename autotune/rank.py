"""The order that configs are tried in: predicted time first, and floors, which alone may say what need not be tried."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..simulator.predict import Choice, evaluate
from ..simulator.tiling import Tile
from .task import Task


@dataclass(frozen=True, slots=True)
class Ranked:
    """A config with its predicted seconds and the floor of its tile, None where the model has no number."""

    config: Tile
    predicted_s: float | None
    floor_s: float | None


def rank(task: Task, configs: Iterable[Tile]) -> list[Ranked]:
    """The configs by predicted time, fastest first; those without a prediction last, in the order given."""
    found = [predict_config(task, config) for config in configs]
    return sorted(found, key=lambda one: math.inf if one.predicted_s is None else one.predicted_s)


def predict_config(task: Task, config: Tile) -> Ranked:
    """What the model says of one config. The floor holds for a warm cache too, as repeated calls may find one."""
    choice = Choice(tile=config, implementation=task.implementation)
    found = evaluate(task.made, task.problem, task.chip, choice)
    warm = evaluate(task.made, task.problem.with_(cache="warm"), task.chip, choice)
    chosen, floor = found.chosen, warm.chosen.bound
    predicted = None if chosen.time_s is None else float(chosen.time_s)
    return Ranked(config, predicted, None if floor is None else float(floor.time_s))
