"""How good predictions of measured rows are: records of errors by case, beside what simpler predictors say.

A record is of the rows of one split that agree in the keys. Rows that a rule excludes are counted apart.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulator.api import load_hardware
from ..simulator.errors import unknown
from .baselines import KINDS, baselines_s
from .cases import cases
from .drift import drift
from .pairs import pairs_right
from .rows import identity, summary
from .silicon import CHIPS, FITTED_CHIPS, SPLITS, Floats, known_bad, tables
from .silicon.table import FITTED_TABLES
from .validate import Checked, check_chip

Record = dict[str, Any]
Rows = NDArray[np.bool_]

FINE = ("chip", "framework", "version", "op", "kernel_source", "implementation", "dtype", "kv_dtype")
COARSE = ("chip", "framework", "version", "op")
BY_CHIP = ("chip",)
BY_CASE = ("case", "chip")
BY_CASE_AND_FRAMEWORK = ("case", "chip", "framework")


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows of a table that one kernel is predicted for (`implementation` None: none is)."""

    checked: Checked
    baselines_s: Mapping[str, Floats]
    """What simpler predictors say of every row of the table, NaN where they say nothing."""
    unanswered: tuple[str, ...]
    """Why they do not."""
    implementation: str | None
    case: str
    rows: Rows


def pieces(checked: Iterable[Checked], package: bool = True) -> list[Piece]:
    """Every table kernel by kernel and case by case. package: whether aiconfigurator is asked too."""
    found = []
    for one in checked:
        seconds, unanswered = baselines_s(one.table, package)
        seconds["roofline"] = one.roofline_s
        labels = cases(one.table)
        for name, case in dict.fromkeys(zip(one.implementation.tolist(), labels.tolist(), strict=True)):
            rows = (one.implementation == name) & (labels == case)
            found.append(Piece(one, seconds, unanswered, name, case, rows))
    return found


def beaten(floor_s: Floats, latency_s: Floats) -> Rows:
    """Where a latency is below a floor (not where the floor is unknown)."""
    with np.errstate(invalid="ignore"):
        below: Rows = latency_s < floor_s * (1 - 1e-9)
    return below


def records(measured: Iterable[Piece], keys: Sequence[str] = FINE, splits: Collection[str] = SPLITS) -> list[Record]:
    """One record for each combination of `keys` and split that has rows. Percent as numbers, None without rows."""
    grouped: dict[tuple[Any, ...], list[Piece]] = {}
    for piece in measured:
        of = {**identity(piece.checked.table), "implementation": piece.implementation, "case": piece.case}
        grouped.setdefault(tuple(of[key] for key in keys), []).append(piece)
    return [
        dict(zip(keys, values, strict=True)) | _record(members, split)
        for values, members in grouped.items()
        for split in SPLITS
        if split in splits and any((p.rows & (p.checked.table.split == SPLITS.index(split))).any() for p in members)
    ]


def _record(members: Sequence[Piece], split: str) -> Record:
    """The numbers of one split of some pieces, without the rows that a rule excludes."""

    chosen = [piece.rows & piece.checked.table.rows(split) for piece in members]

    def together(of: Callable[[Piece], Any]) -> Any:
        return np.concatenate([of(piece)[rows] for piece, rows in zip(members, chosen, strict=True)])

    latency, predicted = together(lambda p: p.checked.table.latency_s), together(lambda p: p.checked.predicted_s)
    low, high = together(lambda p: p.checked.low_s), together(lambda p: p.checked.high_s)
    roofline, tiles = together(lambda p: p.checked.roofline_s), together(lambda p: p.checked.tiles_s)
    beat_roofline, beat_tiles = beaten(roofline, latency), beaten(tiles, latency)
    known = ~np.isnan(predicted)
    within = (latency >= low) & (latency <= high)
    names = Counter({p.implementation: int(rows.sum()) for p, rows in zip(members, chosen, strict=True)})
    baselines = {name: together(_of_baseline(name)) for name in KINDS}
    reasons: Counter[str] = Counter()
    for piece in members:
        reasons.update(_reasons(piece, SPLITS.index(split)))
    return {
        "implementation": names.most_common(1)[0][0], "split": split, "rows": len(latency),
        "predicted": int(known.sum()), **errors(predicted, latency),
        "signed_median": float(np.median(100 * (predicted / latency - 1)[known])) if known.any() else None,
        "coverage": float(100 * within[known].mean()) if known.any() else None,
        "bound_violations": int((beat_roofline | beat_tiles).sum()),
        "roofline_violations": int(beat_roofline.sum()), "tiles_violations": int(beat_tiles.sum()),
        **pairs_right(latency, predicted),
        "baselines": {name: _judged(seconds, latency) for name, seconds in baselines.items()},
        "unanswered": sorted({reason for piece in members for reason in piece.unanswered}),
        "excluded": sum(int((p.checked.table.excluded & p.rows & (p.checked.table.split == SPLITS.index(split))).sum())
                        for p in members), "reasons": dict(reasons),
    }  # fmt: skip


def errors(predicted: Floats, latency: Floats) -> Record:
    """Mean, median and 90th percentile of the size of the error in percent; None where nothing is predicted."""
    known = ~np.isnan(predicted)
    names = ("mape", "median", "p90")
    if not known.any():
        return dict.fromkeys(names)
    return dict(zip(names, summary(100 * np.abs(predicted[known] / latency[known] - 1)), strict=True))


def _of_baseline(name: str) -> Callable[[Piece], Floats]:
    return lambda piece: piece.baselines_s[name]


def _judged(seconds: Floats, latency: Floats) -> Record:
    """Errors of a baseline and the number of rows that it was asked about."""
    return {"rows": int((~np.isnan(seconds)).sum()), **errors(seconds, latency)}


def _reasons(piece: Piece, split: int) -> Counter[str]:
    """Excluded rows of a split by the first rule that matches."""
    table = piece.checked.table
    left = table.excluded & (table.split == split) & piece.rows
    found: Counter[str] = Counter()
    for rule in known_bad() if left.any() else ():
        if rule.name in table.reasons:
            matched = rule.matches(table) & left
            if matched.any():
                found[rule.name] = int(matched.sum())
            left = left & ~matched
    return found


@dataclass(frozen=True, slots=True)
class Shown:
    """The predicted rows of one split of a table, without those that a rule excludes."""

    checked: Checked
    split: str
    rows: Rows

    @property
    def measured_s(self) -> Floats:
        return self.checked.table.latency_s[self.rows]

    @property
    def predicted_s(self) -> Floats:
        return self.checked.predicted_s[self.rows]


@dataclass(frozen=True, slots=True)
class Validation:
    """What a run over measured tables gives: records, the rows furthest off, drift between versions, and the rows."""

    records: list[Record] = field(default_factory=list)
    worst: list[Record] = field(default_factory=list)
    drift: list[Record] = field(default_factory=list)
    rows: list[Shown] = field(default_factory=list)

    def add(self, checked: Sequence[Checked], splits: Collection[str], keys: Sequence[Sequence[str]]) -> None:
        """Tables of one chip; records by each of the keys."""
        parts = pieces(checked, package=keys[0] in (FINE, COARSE) and bool(checked[0].table.path))
        for each in keys:
            self.records.extend(records(parts, each, splits))
        self.worst.extend(worst(checked, splits))
        self.worst.sort(key=lambda r: -abs(np.log(r["measured_s"] / r["predicted_s"])))
        for one in checked:
            for split in splits:
                rows = one.table.rows(split) & ~np.isnan(one.predicted_s)
                if rows.any():
                    self.rows.append(Shown(one, split, rows))


def validate(
    chips: Collection[str] | None = None, frameworks: Collection[str] | None = None,
    operations: Collection[str] | None = None, splits: Collection[str] | None = None, *,
    keys: Sequence[Sequence[str]] = (FINE,),
) -> Validation:  # fmt: skip
    """The installed tables, all of them or those named, checked; records by each of the keys.

    Raises InputError as `silicon.tables` does.
    """
    for name in splits or ():
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
    chosen = splits or SPLITS
    if chips is None and splits:
        # Chips that have no row of these splits need not be read.
        apart = set(splits) == {"zero-shot"}
        chips = [c for c in CHIPS.values() if c not in (FITTED_CHIPS if apart else ())
                 and ("zero-shot" in splits or c in (*FITTED_CHIPS, *FITTED_TABLES))]  # fmt: skip
    result = Validation()
    measured = tables(chips, frameworks, operations)
    for chip, group in itertools.groupby(measured, key=lambda table: table.chip):
        alike = list(group)
        result.drift.extend(drift(alike))
        result.add(check_chip(load_hardware(chip), alike), chosen, keys)
    return result


WORST = 3
"""Rows of one table that are named."""
ALIKE = ("heads", "kv_heads", "head_dim", "window")
SHOWN = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "window")


def worst(checked: Iterable[Checked], splits: Collection[str], count: int = WORST) -> list[Record]:
    """The rows of each table that are furthest off, each with what its like tell about it."""
    found = []
    for one in checked:
        table = one.table
        with np.errstate(invalid="ignore", divide="ignore"):  # Excluded rows may have no time at all.
            off = np.abs(np.log(one.predicted_s / table.latency_s))
        shown = np.logical_or.reduce([table.rows(split) for split in splits]) & ~np.isnan(off)
        indices = np.flatnonzero(shown)
        found += [
            {
                **identity(table), "implementation": one.implementation[index], "split": SPLITS[table.split[index]],
                **{name: int(getattr(table, name)[index]) for name in SHOWN},
                "measured_s": float(table.latency_s[index]), "predicted_s": float(one.predicted_s[index]),
                "reason": _reason(one, int(index)),
            }
            for index in indices[np.argsort(-off[indices], kind="stable")[:count]]
        ]  # fmt: skip
    return found


def _reason(one: Checked, index: int) -> str:
    """What the rows of the same heads, widths and window say: an outlier among them, or all of them off alike."""
    table = one.table
    same = np.logical_and.reduce([getattr(table, name) == getattr(table, name)[index] for name in ALIKE])
    same &= ~table.excluded & ~np.isnan(one.predicted_s)
    ratio = table.latency_s[same] / one.predicted_s[same]
    middle, own = float(np.median(ratio)), float(table.latency_s[index] / one.predicted_s[index])
    near = same & (table.batch == table.batch[index]) & (np.arange(len(table)) != index)
    distance = np.abs(np.log(table.kv_len / table.kv_len[index]))
    neighbours = np.flatnonzero(near)[np.argsort(distance[near], kind="stable")[:2]]
    around = table.latency_s[neighbours] / one.predicted_s[neighbours]
    beside = " and ".join(f"{one:.2f}" for one in around)
    if len(around) and (np.abs(np.log(around)) < 0.25).all():
        return f"alone: the nearest lengths of the same batch are at {beside} of prediction"
    if abs(np.log(middle)) > 0.5 * abs(np.log(own)):
        return f"systematic: the {same.sum():,} rows of these heads and widths are at {middle:.2f} of prediction"
    if not len(around):
        return "unknown: no other length of the same batch is measured"
    return f"its region: the nearest lengths are off too ({beside} of prediction)"
