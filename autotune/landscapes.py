"""How well an order of configs fits a measured landscape, and the model's order of published ones."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..simulator.errors import InputError
from . import archives
from .archives import landscapes as archive
from .rank import fits, predict_config

FIRST = (1, 2, 4)
"""How many of the model's first choices are looked at."""
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Scores:
    """kendall: rank correlation (tau-b) of predicted and measured order, over configs that ran; None for fewer than two
    of them or where all are equal. first: best time over the best time among the model's first k, for each k of FIRST;
    0 where all of those failed."""

    configs: int
    kendall: float | None
    first: tuple[float, ...]


def scores(seconds: Mapping[Key, float], order: Sequence[Key]) -> Scores:
    """Of measured seconds by config (infinite: failed) and configs in predicted order, fastest first.

    Raises InputError where the order leaves out a config, or none has a time.
    """
    if set(order) != set(seconds):
        raise InputError("the order and the landscape have different configs")
    best = min(seconds.values(), default=math.inf)
    if not math.isfinite(best):
        raise InputError("no config of the landscape has a time")
    ran = [key for key in order if math.isfinite(seconds[key])]
    first = tuple(best / min(seconds[key] for key in order[:k]) for k in FIRST)
    return Scores(len(seconds), _kendall([seconds[key] for key in ran]), first)


def _kendall(times: list[float]) -> float | None:
    """Of times in predicted order against that order."""
    try:
        from scipy.stats import kendalltau
    except ModuleNotFoundError:
        raise InputError("rank correlations need scipy: pip install 'attnsim[tune]'") from None
    if len(set(times)) < 2:
        return None
    return float(kendalltau(range(len(times)), times).statistic)


def model_order(landscape: archive.Landscape) -> list[str]:
    """Its configs as they are written, by predicted time, those last that do not fit the chip's shared memory; equal
    ones by their text (the order of the table may know the result)."""
    task = landscape.task
    assert task is not None

    def order(text: str) -> tuple[bool, float, str]:
        config = landscape.configs[text]
        predicted = predict_config(task, config).predicted_s
        return not fits(task, config), math.inf if predicted is None else predicted, text

    return sorted(landscape.configs, key=order)


def read(path: str | Path) -> list[archive.Landscape]:
    """The landscapes of a CSV table, of a recording or another tool's file, or of a folder of recordings.

    Raises InputError for other files.
    """
    where = Path(path)
    if where.is_dir():
        files = sorted(where.rglob("*.json"))
        if not files:
            raise InputError(f"no recordings (*.json) in the folder {str(path)!r}")
        return [one for file in files for one in recorded(file)]
    return archive.read(where) if where.suffix == ".csv" else recorded(where)


def recorded(path: Path) -> list[archive.Landscape]:
    """The timed tasks of a recording, one landscape each."""
    recording = archives.read(path)
    found = []
    for task in recording.tasks:
        timed = {str(m.config): m for m in recording.of(task)}
        seconds = {text: m.median_s or math.inf for text, m in timed.items()}
        configs = {text: m.config for text, m in timed.items()}
        reason = "" if any(map(math.isfinite, seconds.values())) else "none of its configurations has a time"
        found.append(
            archive.Landscape(
                f"{path.stem}: {task}", task.chip.name, seconds, None if reason else task, configs, reason
            )
        )
    return found


def records(path: str | Path) -> list[dict[str, Any]]:
    """One record for each landscape of a file: how well the model orders it, or the reason why it cannot."""
    found = []
    for one in read(path):
        record: dict[str, Any] = {
            "landscape_id": one.id, "chip": one.chip, "hardware": None, "configs": len(one.seconds), "kendall": None,
            "first1": None, "first2": None, "first4": None, "assumed": list(one.assumed), "reason": one.reason or None,
        }  # fmt: skip
        if one.task is not None:
            made = scores(one.seconds, model_order(one))
            record |= {"hardware": one.task.chip.name, "kendall": made.kendall}
            record |= {f"first{k}": value for k, value in zip(FIRST, made.first, strict=True)}
        found.append(record)
    return found


def summary(found: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    """Geometric means over the landscapes that could be modelled (0 where one of them is 0)."""
    modelled = [record for record in found if record["first1"] is not None]
    means: dict[str, float | int] = {"landscapes": len(found), "modelled": len(modelled)}
    for k in FIRST:
        values = [float(record[f"first{k}"]) for record in modelled]
        means[f"first{k}"] = math.prod(values) ** (1 / len(values)) if values else math.nan
    return means
