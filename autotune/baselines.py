"""What simpler predictors say of measured rows, so that the model's worth shows beside them.

`nearest` is a lookup on the rows that may be fitted: the latency of the nearest calibration row of the same table (same
chip, framework, version, operation, kernel source and types). Near is Euclidean in the logarithms of COLUMNS, every one
weighing the same; only rows with the same widths, chunks and with or without a window are neighbours. No scaling to the
asked size: a row half as long answers with half the time. `aiconfigurator` asks that package instead.

KINDS says of each baseline what it knows of the row that it is judged on; errors of different kinds are not comparable.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .aiconfigurator import aiconfigurator
from .silicon import SPLITS, Floats, Table

COLUMNS = ("batch", "heads", "kv_heads", "seq", "kv_len", "window")
"""What distances are taken in."""
ALIKE = ("head_dim", "v_dim", "chunk")
"""What neighbours share, besides having a window or not."""

KINDS = {
    "roofline": "a floor of the chip, no data",
    "nearest": "lookup of the nearest calibration row",
    "aiconfigurator_sol": "that package's speed of light, no data",
    "aiconfigurator_calibration": "that package's interpolation, given the calibration rows alone",
    "aiconfigurator_left_out": "that package's interpolation between all measured neighbours, without the row itself",
    "aiconfigurator_lookup": "that package's table, which contains the row",
}
"""A baseline and what it rests on: the first four know no more of a row than the model does, the last two much more."""

PACKAGE_KIND = "aiconfigurator_"


def sampled(table: Table, rows: NDArray[np.bool_], most: int) -> NDArray[np.int64]:
    """Indices of at most so many of the rows, chosen by their keys: the same on every machine, in the table's order."""
    indices = np.flatnonzero(rows)
    if len(indices) > most:
        indices = indices[np.argsort(table.key[indices], kind="stable")[:most]]
    return np.sort(indices)


def nearest_s(table: Table, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Floats | None:
    """Seconds that the nearest calibration row took, for each of the rows; None where the table has none to fit.

    NaN where no calibration row has the same widths. A calibration row finds itself.
    """
    fitted = table.rows("calibration")
    if not fitted.any():
        return None
    near, alike = _features(table)
    return nearest(near[fitted], alike[fitted], table.latency_s[fitted], near[rows], alike[rows])


def nearest(
    known: Floats, known_kinds: NDArray[np.int64], seconds: Floats, asked: Floats, asked_kinds: NDArray[np.int64]
) -> Floats:
    """Seconds of the known point (rows x dimensions) that is nearest to each asked one and of its kind, NaN without."""
    from scipy.spatial import cKDTree

    found = np.full(len(asked), np.nan)
    for kind in np.unique(asked_kinds):
        members = np.flatnonzero(known_kinds == kind)
        if len(members):
            asking = np.flatnonzero(asked_kinds == kind)
            _, index = cKDTree(known[members]).query(asked[asking])
            found[asking] = seconds[members][index]
    return found


def _features(table: Table) -> tuple[Floats, NDArray[np.int64]]:
    """Of each row, the logarithms of COLUMNS (0 as none, like 1) and a number for what neighbours share."""
    near = np.stack([np.log(np.maximum(getattr(table, name), 1.0)) for name in COLUMNS], axis=1)
    shared = [getattr(table, name) for name in ALIKE] + [table.window > 0]
    _, kinds = np.unique(np.stack(shared, axis=1), axis=0, return_inverse=True)
    return near, kinds.reshape(-1).astype(np.int64)


def baselines_s(table: Table, package: bool = True) -> tuple[dict[str, Floats], tuple[str, ...]]:
    """All of KINDS but the roofline, and why answers are missing: seconds for every row, NaN where there are none.

    Calibration rows have none: a lookup would find the row itself. package: whether aiconfigurator is asked.
    """
    fitted = table.split == SPLITS.index("calibration")
    seconds, reasons = package_s(table, most=40 if package else 0)
    near = nearest_s(table, ~fitted)
    seconds["nearest"] = np.full(len(table), np.nan)
    if near is not None:
        seconds["nearest"][~fitted] = near
    return seconds, reasons


def package_s(table: Table, most: int) -> tuple[dict[str, Floats], tuple[str, ...]]:
    """What aiconfigurator says of some rows of a table, and why answers are missing.

    By its KINDS, seconds for every row of the table, NaN where it was not asked or has no answer. It is asked about at
    most so many rows, chosen by their keys, none of them a calibration row or one that a rule excludes.
    """
    rows = sampled(table, ~table.excluded & (table.split != SPLITS.index("calibration")), most)
    answers = aiconfigurator(table, rows) if len(rows) else "no row to judge by"
    names = [kind for kind in KINDS if kind.startswith(PACKAGE_KIND)]
    seconds = {name: np.full(len(table), np.nan) for name in names}
    if isinstance(answers, str):
        return seconds, (answers,)
    for name in names:
        seconds[name][rows] = getattr(answers, name.removeprefix(PACKAGE_KIND) + "_s")
    return seconds, answers.reasons
