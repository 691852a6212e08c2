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
from .measurement import Recording
from .rank import fits, predict_config
from .task import Task

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
        raise InputError("rank correlations need scipy: pip install 'attnsim[report]'") from None
    if len(set(times)) < 2:
        return None
    return float(kendalltau(range(len(times)), times).statistic)


@dataclass(frozen=True, slots=True)
class Row:
    """A config as it is written. predicted_s: None where the model has no number. fits: whether the chip's shared
    memory holds it, by the model. measured_s: infinite where it failed; failure: why, as far as the source says."""

    config: str
    predicted_s: float | None
    fits: bool
    measured_s: float
    failure: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A landscape that is modelled. rows: in the model's order, so that the first is its choice."""

    landscape: archive.Landscape
    task: Task
    rows: tuple[Row, ...]
    scores: Scores

    @property
    def best(self) -> Row:
        """The fastest config."""
        return min(self.rows, key=lambda row: row.measured_s)

    @property
    def choice(self) -> Row:
        """The model's first choice."""
        return self.rows[0]

    @property
    def loss(self) -> float | None:
        """How much longer the model's first choice takes than the best, as a share; None where it failed."""
        ran = math.isfinite(self.choice.measured_s)
        return self.choice.measured_s / self.best.measured_s - 1 if ran else None

    @property
    def failed(self) -> int:
        return sum(not math.isfinite(row.measured_s) for row in self.rows)


def judge(landscape: archive.Landscape) -> Judged:
    """Predicted beside measured times of a landscape that has a task.

    The order is by predicted time, configs that do not fit the chip's shared memory last; equal ones by their text (the
    order of the table may know the result).
    """
    task = landscape.task
    assert task is not None
    rows = [
        Row(text, predict_config(task, config).predicted_s, fits(task, config), landscape.seconds[text],
            landscape.failures.get(text, ""))
        for text, config in landscape.configs.items()
    ]  # fmt: skip
    rows.sort(key=lambda r: (not r.fits, math.inf if r.predicted_s is None else r.predicted_s, r.config))
    return Judged(landscape, task, tuple(rows), scores(landscape.seconds, [row.config for row in rows]))


def model_order(landscape: archive.Landscape) -> list[str]:
    """Its configs as they are written, in the order of `judge`."""
    return [row.config for row in judge(landscape).rows]


def read(path: str | Path) -> list[archive.Landscape]:
    """The landscapes of a CSV table, of a recording or another tool's file, or of a folder of recordings.

    Raises InputError for other files.
    """
    where = Path(path)
    if where.is_dir():
        files = sorted(where.rglob("*.json"))
        if not files:
            raise InputError(f"no recordings (*.json) in the folder {str(path)!r}")
        return [one for file in files for one in recorded(archives.read(file), file.stem)]
    return archive.read(where) if where.suffix == ".csv" else recorded(archives.read(where), where.stem)


def recorded(recording: Recording, name: str) -> list[archive.Landscape]:
    """The tasks of a recording, one landscape each."""
    found = []
    source = str(recording.provenance.get("device_name") or "a recording")
    for task in recording.tasks:
        timed = {str(m.config): m for m in recording.of(task)}
        seconds = {text: m.median_s or math.inf for text, m in timed.items()}
        configs = {text: m.config for text, m in timed.items()}
        reason = "" if any(map(math.isfinite, seconds.values())) else "none of its configurations has a time"
        failures = {text: m.reason or m.outcome for text, m in timed.items() if m.median_s is None}
        found.append(
            archive.Landscape(
                f"{name}: {task}",
                task.chip.name,
                seconds,
                None if reason else task,
                configs,
                reason,
                (),
                source,
                failures,
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
            made = judge(one).scores
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
