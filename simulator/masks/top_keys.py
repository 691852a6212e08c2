"""Keys selected one by one at run time: each query attends to the best `top` of those it may see.

Which ones is content; how many is not (DeepSeek-V3.2, 2512.02556). Kernels gather the keys of one query at a time, so
that queries share no tile: whatever the query tile, one holds the heads of a single query.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..algebra import Number, ceil_div, minimum
from .band import clipped_sum, floored_sum
from .base import TileSummary


@dataclass(frozen=True, slots=True)
class TopKeysMask:
    """Query i stands at key position p = keys - queries + i and attends to min(top, p + 1) keys; without `causal` every
    query to min(top, keys)."""

    queries: Number
    keys: Number
    top: int
    causal: bool = True

    def pairs(self) -> Number:
        """sum over queries of the keys that each attends to."""
        if not self.causal:
            return self.queries * minimum(self.keys, self.top)
        return clipped_sum(self.keys - self.queries + 1, self.queries, self.top)

    def attends(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        """One possible choice: the nearest keys, or the first ones where order does not matter."""
        if not self.causal:
            return np.broadcast_to(j < self.top, np.broadcast_shapes(np.shape(i), np.shape(j)))
        p = i + (self.keys - self.queries)
        attends: NDArray[np.bool_] = np.asarray((j <= p) & (j > p - self.top))
        return attends

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        """Gathered tiles: those of one query after another."""
        columns = math.prod(key_tile)
        longest = ceil_div(minimum(self.keys, self.top), columns)
        if not self.causal:
            visited, full = self.queries * longest, self.queries * (minimum(self.keys, self.top) // columns)
            shortest = longest
        else:
            first = self.keys - self.queries + 1
            full = floored_sum(first, 1, self.queries, self.top, columns)
            visited = floored_sum(first + columns - 1, 1, self.queries, self.top + columns - 1, columns)
            shortest = ceil_div(minimum(first, self.top), columns)
        grid = self.queries * ceil_div(self.keys, columns)
        return TileSummary(self.queries, visited, full, visited - full, grid - visited, longest, shortest)

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[Number, Number]:
        """Places of gathered tiles that hold no key."""
        return self.tiles(query_tile, key_tile).visited * math.prod(key_tile) - self.pairs(), 0

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        """Not defined: gathered tiles belong to no query tile of the fixed grid."""
        raise TypeError("run-time selections have no fixed tile rows")
