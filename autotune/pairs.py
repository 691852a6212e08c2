"""Is the slower of two measured rows also predicted to be the slower one?

Global rank correlations are near 1 for any predictor, since sizes span decades. So pairs are told apart by how far
their measured latencies lie from each other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .silicon import Floats

GAPS = {"pairs_10_20": (1.1, 1.2), "pairs_over_20": (1.2, np.inf)}
"""Name, and how many times slower the slower row is: more than the first, at most the second."""
MOST_PAIRS = 20_000
FEWEST_PAIRS = 30


def pairs_right(latency_s: Floats, predicted_s: Floats, *, seed: int = 0) -> dict[str, float | None]:
    """Percent of pairs that the prediction ranks right, for each of GAPS; None where there are too few pairs.

    Of more than MOST_PAIRS pairs, as many random ones are taken, each pair of the class as likely as any other. Equal
    predictions are no ranking. Rows without a prediction (NaN) are left out.
    """
    known = ~np.isnan(predicted_s)
    order = np.argsort(latency_s[known], kind="stable")
    latency, predicted = latency_s[known][order], predicted_s[known][order]
    generator = np.random.default_rng(seed)
    result: dict[str, float | None] = {}
    for name, (least, most) in GAPS.items():
        fast, slow = _pairs(latency, least, most, generator)
        enough = len(fast) >= FEWEST_PAIRS
        result[name] = float(100 * np.mean(predicted[slow] > predicted[fast])) if enough else None
    return result


def _pairs(
    latency: Floats, least: float, most: float, generator: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the faster and the slower rows of pairs of sorted latencies, all of them or a random choice."""
    first = np.searchsorted(latency, latency * least, side="right").astype(np.int64)
    last = np.searchsorted(latency, latency * most, side="right").astype(np.int64)
    ends: NDArray[np.int64] = np.cumsum(last - first, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    drawn: NDArray[np.int64] = np.arange(total) if total <= MOST_PAIRS else generator.integers(0, total, MOST_PAIRS)
    fast = np.searchsorted(ends, drawn, side="right").astype(np.int64)
    return fast, last[fast] - (ends[fast] - drawn)
