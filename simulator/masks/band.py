"""Bands: every query sees the keys from `left` before it to `right` after it, and the first few keys.

Dense, causal, sliding windows and sinks are bands. Counts are closed forms (sums of clipped linear functions),
for ints, for arrays of millions of problems, and `pairs` for symbols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..algebra import Number, ceil_div, clip, floor_div, half, maximum, minimum, where
from .base import TileSummary


def _ramp(first: Number, count: Number) -> Number:
    """Sum of first, first + 1, ... (count of them)."""
    return half(count * (2 * first + count - 1))


def clipped_sum(start: Number, count: Number, limit: Number) -> Number:
    """sum over i < count of clip(start + i, 0, limit)."""
    low = clip(-start, 0, count)
    high = clip(limit - start, low, count)
    return _ramp(start + low, high - low) + (count - high) * limit


def floored_sum(start: Number, step: int, count: Number, limit: Number, tile: int) -> Number:
    """sum over t < count of floor(clip(start + t step, 0, limit) / tile), exactly.

    Where the argument is negative the term is 0, past the limit floor(limit / tile); between them the residues of
    `step` modulo `tile` repeat with period tile / gcd(step, tile), so each phase is an arithmetic series.
    """
    low = clip(ceil_div(-start, step), 0, count)
    high = clip(ceil_div(limit - start, step), low, count)
    total = (count - high) * floor_div(limit, tile)
    span = high - low
    begin = start + low * step
    period = tile // math.gcd(step, tile)
    stride = step * period // tile
    for phase in range(period):
        terms = maximum(ceil_div(span - phase, period), 0)
        first = floor_div(begin + phase * step, tile)
        total = total + where(terms > 0, terms * first + half(stride * terms * (terms - 1)), 0)
    return total


@dataclass(frozen=True, slots=True)
class BandMask:
    """Query i stands at key position p = keys - queries + i and sees keys p - left .. p + right inside the
    sequence (None: no limit on that side; the query itself not counted), and the first `sinks` keys up to
    p + right."""

    queries: Number
    keys: Number
    left: Number | None = None
    right: Number | None = None
    sinks: Number = 0

    def attends(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        p = i + (self.keys - self.queries)
        after = True if self.left is None else (j >= p - self.left) | (j < self.sinks)
        before = True if self.right is None else j <= p + self.right
        attends: NDArray[np.bool_] = np.asarray((j >= 0) & (i >= 0) & after & before)
        return attends

    def _first(self, i: Number) -> Number:
        """First key of query i before clipping (band only)."""
        return self.keys - self.queries + i - self.left

    def _end(self, i: Number) -> Number:
        """One past the last key of query i before clipping."""
        if self.right is None:
            return self.keys
        return self.keys - self.queries + i + self.right + 1

    def pairs(self) -> Number:
        n, m = self.queries, self.keys
        before = n * m if self.right is None else clipped_sum(self._end(0), n, m)
        if self.left is None:
            return before
        # Keys before the window, less the sinks among them; never more than lie before the end of the row.
        skipped = clipped_sum(self._first(0), n, m)
        if type(self.sinks) is int and self.sinks == 0:
            return before - skipped
        return before - skipped + clipped_sum(self._first(0), n, minimum(self.sinks, m))

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        (bm,), (bn,) = query_tile, key_tile
        n, m = self.queries, self.keys
        rows, columns = ceil_div(n, bm), ceil_div(m, bn)
        whole_rows, whole_columns = floor_div(n, bm), floor_div(m, bn)
        if self.left is None and self.right is None:
            grid, full = rows * columns, whole_rows * whole_columns
            return TileSummary(rows, grid, full, grid - full, 0, columns, columns)
        visited = self._ends(bm, bn, rows, whole_rows, columns) - self._starts(bm, bn, rows)
        full = self._full(bm, bn, whole_rows, whole_columns)
        longest, shortest = self._extremes(bm, bn, rows)
        return TileSummary(rows, visited, full, visited - full, rows * columns - visited, longest, shortest)

    def _ends(self, bm: int, bn: int, rows: Number, whole_rows: Number, columns: Number) -> Number:
        """sum over query tiles of ceil(end of the last row / bn). A last, shorter tile ends with the sequence."""
        if self.right is None:
            return rows * columns
        m = self.keys
        whole = floored_sum(self._end(bm - 1) + bn - 1, bm, whole_rows, m + bn - 1, bn)
        return whole + (rows - whole_rows) * columns

    def _skip(self, bn: int) -> Number:
        """Keys of the tiles that hold sinks: the band's start counts from their end."""
        return ceil_div(minimum(self.sinks, self.keys), bn) * bn

    def _starts(self, bm: int, bn: int, rows: Number) -> Number:
        """sum over query tiles of the tiles skipped before the band: floor(start of the first row / bn), less
        those that hold sinks."""
        if self.left is None:
            return 0
        return floored_sum(self._first(0) - self._skip(bn), bm, rows, self.keys, bn)

    def _full(self, bm: int, bn: int, rows: Number, columns: Number) -> Number:
        """Full tiles: whole key tiles between the last row's start and the first row's end.

        A band with less than a tile between them has none. With sinks, rows whose band starts inside the sinks
        see everything up to their end.
        """
        limit = columns * bn
        if self.left is None:
            return floored_sum(self._end(0), bm, rows, limit, bn)
        start = self._first(bm - 1)
        joined: Number = clip(floor_div(self.sinks - start, bm) + 1, 0, rows)
        if type(self.sinks) is int and self.sinks == 0:
            joined = 0
        apart = rows - joined
        band = self._between(joined, apart, bm, bn, limit)
        if type(joined) is int and joined == 0 and type(self.sinks) is int and self.sinks == 0:
            return band
        reached = minimum(self.sinks, limit)
        if self.right is None:
            return joined * columns + apart * floor_div(reached, bn) + band
        together = floored_sum(self._end(0), bm, joined, limit, bn)
        return together + floored_sum(self._end(0) + joined * bm, bm, apart, reached, bn) + band

    def _between(self, skip: Number, rows: Number, bm: int, bn: int, limit: Number) -> Number:
        """Whole tiles inside the band alone, over `rows` query tiles after the first `skip`."""
        before = floored_sum(self._first(bm - 1) + skip * bm + bn - 1, bm, rows, limit + bn - 1, bn)
        if self.right is None:
            return rows * floor_div(limit, bn) - before
        up_to = floored_sum(self._end(0) + skip * bm, bm, rows, limit, bn)
        return where(self.left + self.right + 1 - (bm - 1) >= bn, up_to - before, 0)

    def _row(self, t: Number, bm: int, bn: int) -> Number:
        """Visited key tiles of query tile t."""
        last = minimum((t + 1) * bm, self.queries) - 1
        end = clip(self._end(last), 0, self.keys)
        count = ceil_div(end, bn)
        if self.left is None:
            return count
        return maximum(count - floor_div(maximum(self._first(t * bm) - self._skip(bn), 0), bn), 0)

    def _extremes(self, bm: int, bn: int, rows: Number) -> tuple[Number, Number]:
        """Most and fewest visited tiles of a query tile.

        Counts grow while the band's start is clipped, repeat with a period while it is not, and shrink once its
        end is: the first and last query tile, one period, and the borders between the phases decide.
        """
        last = rows - 1
        first_row, last_row = self._row(0, bm, bn), self._row(last, bm, bn)
        longest, shortest = maximum(first_row, last_row), minimum(first_row, last_row)
        if self.left is None or self.right is None:
            return longest, shortest
        begin = maximum(ceil_div(self._skip(bn) - self._first(0), bm), 0)
        stop = floor_div(self.keys - self._end(bm - 1), bm)
        candidates = [begin - 1, stop + 1]
        candidates += [minimum(begin + phase, stop) for phase in range(bn // math.gcd(bm, bn))]
        for t in candidates:
            count = self._row(clip(t, 0, last), bm, bn)
            longest, shortest = maximum(longest, count), minimum(shortest, count)
        return longest, shortest

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        (bm,), (bn,) = query_tile, key_tile
        t = np.arange(-(-self.queries // bm))
        visited = np.asarray(self._row(t, bm, bn), dtype=np.int64)
        if self.left is None and self.right is None:
            visited = np.full(len(t), -(-self.keys // bn), dtype=np.int64)
        limit = self.keys // bn * bn
        end = limit if self.right is None else np.clip(self._end(t * bm), 0, limit)
        start = 0 if self.left is None else np.clip(self._first(t * bm + bm - 1), 0, limit)
        band = np.maximum(end // bn - -(-start // bn), 0)
        whole = np.where(start <= self.sinks, end // bn, np.minimum(self.sinks, end) // bn + band)
        full = np.where((t + 1) * bm <= self.queries, whole, 0)
        return visited, full.astype(np.int64)
