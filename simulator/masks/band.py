"""Bands: every query sees the keys from `left` before it to `right` after it, and the first few keys.

Dense, causal, sliding windows (Longformer, 2004.05150) and attention sinks (StreamingLLM, 2309.17453) are bands.
Counts are closed forms (sums of clipped linear functions), for ints, for arrays of millions of problems, and `pairs`
for symbols.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..algebra import Number, ceil_div, ceil_to, clip, floor_div, half, maximum, minimum, where
from ..errors import InputError
from .base import TileSummary, flat_tile

POINTS_AT_ONCE = 2**14
"""Problems of an array that are counted together: the intermediate arrays then stay in the cache."""


def _ramp(first: Number, count: Number) -> Number:
    """Sum of first, first + 1, ... (count of them)."""
    return half(count * (2 * first + count - 1))


def clipped_sum(start: Number, count: Number, limit: Number) -> Number:
    """sum over i < count of clip(start + i, 0, limit)."""
    low = clip(-start, 0, count)
    high = clip(limit - start, low, count)
    return _ramp(start + low, high - low) + (count - high) * limit


def linear_floored_sum(start: Number, step: int, count: Number, tile: int) -> Number:
    """sum over t < count of floor((start + t step) / tile), for start >= 0 (or count = 0).

    The lattice-point count below a line, by Euclid's algorithm on (step, tile); the steps are those of the two ints,
    so that arrays of starts and counts go through it together.
    """
    total: Number = 0
    while True:
        quotient, step = divmod(step, tile)
        if quotient:
            total = total + quotient * half(count * (count - 1))
        whole = floor_div(start, tile)
        total = total + count * whole
        if step == 0:
            return total
        start = start - whole * tile + count * step
        count = floor_div(start, tile)
        start = start - count * tile
        step, tile = tile, step


def floored_sum(start: Number, step: int, count: Number, limit: Number | None, tile: int) -> Number:
    """sum over t < count of floor(clip(start + t step, 0, limit) / tile); limit None: never reached."""
    low = clip(ceil_div(-start, step), 0, count)
    if limit is None:
        return linear_floored_sum(start + low * step, step, count - low, tile)
    high = clip(ceil_div(limit - start, step), low, count)
    past = (count - high) * floor_div(limit, tile)
    return past + linear_floored_sum(start + low * step, step, high - low, tile)


def is_zero(x: Number) -> bool:
    """Whether x is the int 0 (an array of zeros is not)."""
    return type(x) is int and x == 0


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

    def __post_init__(self) -> None:
        for name in ("queries", "keys", "left", "right", "sinks"):
            value = getattr(self, name)
            if type(value) is int and value < 0:
                raise InputError(f"{name} is {value}; it must not be negative")

    def repeated(self, times: int) -> BandMask:
        """Every query and key `times` in a row: its tiles are those of packed heads, with key tiles `times` as long."""
        left, right = (None if side is None else side * times for side in (self.left, self.right))
        return BandMask(self.queries * times, self.keys * times, left, right, self.sinks * times)

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
        return self.keys - self.queries + i + self.right + 1

    def pairs(self) -> Number:
        n, m = self.queries, self.keys
        before = n * m if self.right is None else clipped_sum(self._end(0), n, m)
        if self.left is None:
            return before
        # Keys before the window, less the sinks among them; never more than lie before the end of the row.
        skipped = clipped_sum(self._first(0), n, m)
        if is_zero(self.sinks):
            return before - skipped
        return before - skipped + clipped_sum(self._first(0), n, minimum(self.sinks, m))

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        bm, bn = flat_tile(query_tile), flat_tile(key_tile)
        n, m = self.queries, self.keys
        if not (type(n) is int and type(m) is int) or isinstance(self.left, np.ndarray):
            shape = np.broadcast_shapes(*(np.shape(x) for x in self._fields() if x is not None))
            if math.prod(shape) > POINTS_AT_ONCE:
                return self._tiles_in_pieces(bm, bn, shape)
        rows, columns = ceil_div(n, bm), ceil_div(m, bn)
        whole_rows, whole_columns = floor_div(n, bm), floor_div(m, bn)
        if self.left is None and self.right is None:
            grid, full = rows * columns, whole_rows * whole_columns
            row = columns if type(n) is int and n else where(n > 0, columns, 0)
            return TileSummary(rows, grid, full, grid - full, grid - grid, row, row)
        visited = self._ends(bm, bn, rows, whole_rows, columns) - self._starts(bm, bn, rows)
        full = self._full(bm, bn, whole_rows, whole_columns)
        longest, shortest = self._extremes(bm, bn, rows)
        return TileSummary(rows, visited, full, visited - full, rows * columns - visited, longest, shortest)

    def following(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        """`tiles` of a kernel whose key tiles start at the first key that any query of the tile sees, not on the grid.

        Query tiles whose window starts before the sequence are on the grid; all others but the last see as many keys.
        """
        bm, bn = flat_tile(query_tile), flat_tile(key_tile)
        left, right = self.left, self.right
        assert left is not None
        assert right is not None
        n, m = self.queries, self.keys
        rows = ceil_div(n, bm)
        early = clip(floor_div(left + n - m, bm) + 1, 0, rows)
        begin = minimum(early * bm, n)
        first = BandMask(begin, m - n + begin, left, right).tiles(query_tile, key_tile)
        started = BandMask(begin, m - n + begin, None, right).tiles(query_tile, key_tile)
        rest = maximum(rows - early - 1, 0)
        each = ceil_div(bm + left + right, bn)
        last = where(rows > early, ceil_div(n - (rows - 1) * bm + left + right, bn), 0)
        seen_by_all = maximum(floor_div(left + right + 1, bn) - ceil_div(bm - 1, bn), 0)
        visited = started.visited + rest * each + last
        full = minimum(first.full + maximum(floor_div(n, bm) - early, 0) * seen_by_all, visited)
        longest = maximum(started.longest_row, maximum(where(rest > 0, each, 0), last))
        shortest = minimum(started.shortest_row, last)
        return TileSummary(rows, visited, full, visited - full, rows * ceil_div(m, bn) - visited, longest, shortest)

    def _fields(self) -> tuple[Number, ...]:
        return self.queries, self.keys, self.left, self.right, self.sinks

    def _tiles_in_pieces(self, bm: int, bn: int, shape: tuple[int, ...]) -> TileSummary:
        """`tiles` for many problems, a cacheful at a time."""
        fields = self._fields()
        given = [np.asarray(0 if x is None else x, dtype=np.float64) for x in fields]
        flat = [np.broadcast_to(x, shape).reshape(-1) if x.ndim else None for x in given]
        size = math.prod(shape)
        parts: NDArray[np.float64] = np.empty((7, size))
        for first in range(0, size, POINTS_AT_ONCE):
            piece = slice(first, first + POINTS_AT_ONCE)
            some = BandMask(*(x if many is None else many[piece] for x, many in zip(fields, flat, strict=True)))
            summary = some.tiles((bm,), (bn,))
            for row, name in zip(parts, TileSummary.__slots__, strict=True):
                row[piece] = getattr(summary, name)
        return TileSummary(*(row.reshape(shape) for row in parts))

    def _ends(self, bm: int, bn: int, rows: Number, whole_rows: Number, columns: Number) -> Number:
        """sum over query tiles of ceil(end of the last row / bn). A last, shorter tile ends with the sequence."""
        if self.right is None:
            return rows * columns
        # Nothing ends past the sequence where no query looks right.
        limit = None if is_zero(self.right) else self.keys + bn - 1
        whole = floored_sum(self._end(bm - 1) + bn - 1, bm, whole_rows, limit, bn)
        return whole + (rows - whole_rows) * columns

    def _skip(self, bn: int) -> Number:
        """Keys of the tiles that hold sinks: the band's start counts from their end."""
        return 0 if is_zero(self.sinks) else ceil_div(minimum(self.sinks, self.keys), bn) * bn

    def _starts(self, bm: int, bn: int, rows: Number) -> Number:
        """sum over query tiles of the tiles skipped before the band: floor(start of the first row / bn), less
        those that hold sinks."""
        if self.left is None:
            return 0
        return floored_sum(self._first(0) - self._skip(bn), bm, rows, None, bn)

    def _full(self, bm: int, bn: int, rows: Number, columns: Number) -> Number:
        """Full tiles: whole key tiles between the last row's start and the first row's end.

        With sinks, rows whose band starts inside the sinks see everything up to their end.
        """
        limit = columns * bn
        if self.left is None:
            return floored_sum(self._end(0), bm, rows, limit, bn)
        if is_zero(self.sinks):
            return self._between(0, rows, bm, bn, limit)
        joined = clip(floor_div(self.sinks - self._first(bm - 1), bm) + 1, 0, rows)
        apart = rows - joined
        band = self._between(joined, apart, bm, bn, limit)
        reached = minimum(self.sinks, limit)
        if self.right is None:
            return joined * columns + apart * floor_div(reached, bn) + band
        together = floored_sum(self._end(0), bm, joined, limit, bn)
        return together + floored_sum(self._end(0) + joined * bm, bm, apart, reached, bn) + band

    def _between(self, skip: Number, rows: Number, bm: int, bn: int, limit: Number) -> Number:
        """Whole tiles inside the band alone, over `rows` query tiles after the first `skip`.

        Each term is >= 0 where the rows of a tile share at least one tile's keys; else there is none.
        """
        if self.right is None:
            before = floored_sum(self._first(bm - 1) + skip * bm + bn - 1, bm, rows, limit + bn - 1, bn)
            return rows * floor_div(limit, bn) - before
        wide = self.left + self.right + 1 - (bm - 1) >= bn
        if wide is False:
            return 0
        before = floored_sum(self._first(bm - 1) + skip * bm + bn - 1, bm, rows, limit + bn - 1, bn)
        up_to = floored_sum(self._end(0) + skip * bm, bm, rows, limit, bn)
        return where(wide, up_to - before, 0)

    def _row(self, t: Number, bm: int, bn: int, skip: Number) -> Number:
        """Visited key tiles of query tile t."""
        count = ceil_div(self.keys, bn)
        if self.right is not None:
            last = minimum((t + 1) * bm, self.queries) - 1
            count = ceil_div(clip(self._end(last), 0, self.keys), bn)
        if self.left is None:
            return count
        return maximum(count - floor_div(maximum(self._first(t * bm) - skip, 0), bn), 0)

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[Number, Number]:
        bm, bn = flat_tile(query_tile), flat_tile(key_tile)
        keys, queries = ceil_to(self.keys, bn) - self.keys, ceil_to(self.queries, bm) - self.queries
        return keys * self.last_column(bm, bn), queries * self.last_row(bm, bn)

    def last_row(self, query: int, key: int) -> Number:
        """Visited key tiles of the last query tile (0 without queries)."""
        rows = ceil_div(self.queries, query)
        return where(rows > 0, self._row(maximum(rows - 1, 0), query, key, self._skip(key)), 0)

    def last_column(self, query: int, key: int) -> Number:
        """Query tiles that visit the last key tile: those that end in it, the later ones."""
        rows, whole = ceil_div(self.queries, query), floor_div(self.queries, query)
        if self.right is None:
            return where(self.keys > 0, rows, 0)
        # Query tile t ends in the last key tile if (t + 1) query > before.
        before = (ceil_div(self.keys, key) - 1) * key - self.right - self.keys + self.queries
        return where(self.keys > 0, rows - clip(floor_div(before, query), 0, whole), 0)

    def _extremes(self, bm: int, bn: int, rows: Number) -> tuple[Number, Number]:
        """Most and fewest visited tiles of a query tile (0 and 0 without queries).

        Counts grow while the band's start is clipped, repeat with a period while neither side is, and shrink once
        its end is: the first and last query tile, the borders between the phases and one period decide.
        """
        last, skip = maximum(rows - 1, 0), self._skip(bn)
        first_row, last_row = self._row(0, bm, bn, skip), self._row(last, bm, bn, skip)
        if self.left is None:
            longest, shortest = last_row, first_row
        elif self.right is None:
            longest, shortest = first_row, last_row
        else:
            begin = clip(ceil_div(skip - self._first(0), bm), 0, rows)
            stop = clip(floor_div(self.keys - self._end(bm - 1), bm) + 1, begin, rows)
            longest, shortest = maximum(first_row, last_row), minimum(first_row, last_row)
            for t in (begin - 1, stop):
                count = self._row(clip(t, 0, last), bm, bn, skip)
                longest, shortest = maximum(longest, count), minimum(shortest, count)
            longest, shortest = self._steady(bm, bn, begin, stop - begin, skip, longest, shortest)
        return where(rows > 0, longest, 0), where(rows > 0, shortest, 0)

    def _steady(
        self, bm: int, bn: int, begin: Number, span: Number, skip: Number, longest: Number, shortest: Number
    ) -> tuple[Number, Number]:
        """The extremes so far, and those of `span` query tiles from `begin` on whose band is cut on no side.

        Over a whole period the start takes every residue modulo bn that is congruent modulo gcd(bm, bn).
        """
        assert self.left is not None
        assert self.right is not None
        step = math.gcd(bm, bn)
        period = bn // step
        start = self._first(begin * bm) - skip
        width, base = bm + self.left + self.right, floor_div(skip, bn)
        rest = start - floor_div(start, step) * step
        whole = span >= period
        longest = where(whole, maximum(longest, base + ceil_div(bn - step + rest + width, bn)), longest)
        shortest = where(whole, minimum(shortest, base + ceil_div(rest + width, bn)), shortest)
        if period == 1 or whole is True:
            return longest, shortest
        if type(span) is int:
            terms = [base + ceil_div((start + k * bm) % bn + width, bn) for k in range(span)]
            return max([longest, *terms]), min([shortest, *terms])
        few = np.broadcast_arrays(span, start, width, base, longest, shortest)
        some = np.nonzero((few[0] > 0) & (few[0] < period))
        if len(some[0]):
            longest, shortest = np.array(few[4], dtype=np.float64), np.array(few[5], dtype=np.float64)
            span, start, width, base = (x[some] for x in few[:4])
            for k in range(period - 1):
                term = base + ceil_div(start + k * bm - floor_div(start + k * bm, bn) * bn + width, bn)
                longest[some] = np.maximum(longest[some], np.where(k < span, term, 0))
                shortest[some] = np.minimum(shortest[some], np.where(k < span, term, np.inf))
        return longest, shortest

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        bm, bn = flat_tile(query_tile), flat_tile(key_tile)
        t = np.arange(-(-self.queries // bm))
        visited = np.broadcast_to(self._row(t, bm, bn, self._skip(bn)), t.shape).astype(np.int64)
        limit = self.keys // bn * bn
        end = limit if self.right is None else np.clip(self._end(t * bm), 0, limit)
        start = 0 if self.left is None else np.clip(self._first(t * bm + bm - 1), 0, limit)
        band = np.maximum(end // bn - -(-start // bn), 0)
        whole = np.where(start <= self.sinks, end // bn, np.minimum(self.sinks, end) // bn + band)
        full = np.where((t + 1) * bm <= self.queries, whole, 0)
        return visited, full.astype(np.int64)
