"""Neighbourhoods in 1 to 3 dimensions: products of per-axis windows with stride, dilation and causality.

Generalised neighbourhood attention (2504.16922), as NATTEN's kernels have it (csrc/include/natten/cuda/reference/
mask.hpp). Counts factor over the axes where tiles do; for tiles of flattened tokens the boxes are cut into runs of
consecutive tokens.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import TileSummary
from .runs import Box, flattened_rows

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of one dilation group: the window [start, end) of every query along it."""

    start: Ints
    end: Ints

    def tiles(self, query: int, key: int) -> tuple[Ints, Ints]:
        """(visited, full) key tiles of every query tile along this axis."""
        length = len(self.start)
        first = np.arange(0, length, query)
        last = np.minimum(first + query, length) - 1
        # Starts and ends never decrease, and neighbouring windows touch: the union over a tile is one interval.
        visited = -(-self.end[last] // key) - self.start[first] // key
        full = np.maximum(self.end[first] // key - -(-self.start[last] // key), 0)
        return visited, np.where(first + query <= length, full, 0)


def axis_windows(length: int, window: int, stride: int, causal: bool) -> Axis:
    """Windows along an axis of `length` tokens.

    Queries in groups of `stride` share the window of their middle query, min(g s + s // 2, L - 1); it starts
    w // 2 before it (an even window looks one further left) and is shifted inside, never cut. Causal: the last
    query of the group leads, the window ends with it, and only keys at or before the query attend.
    """
    i = np.arange(length)
    window = min(window, length)
    group = i // stride * stride
    if causal:
        leader = np.minimum(group + stride - 1, length - 1)
        return Axis(np.maximum(leader - window + 1, 0), i + 1)
    leader = np.minimum(group + stride // 2, length - 1)
    start = np.clip(leader - window // 2, 0, length - window)
    return Axis(start, start + window)


@dataclass(frozen=True, slots=True)
class NeighbourhoodMask:
    """shape: tokens along 1 to 3 axes; window, stride, dilation, causal: one value an axis."""

    shape: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    causal: tuple[bool, ...]

    @property
    def queries(self) -> int:
        return math.prod(self.shape)

    @property
    def keys(self) -> int:
        return math.prod(self.shape)

    def attends(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        queries, keys = np.unravel_index(i, self.shape), np.unravel_index(j, self.shape)
        result = np.ones(np.broadcast_shapes(np.shape(i), np.shape(j)), dtype=bool)
        for axis, length in enumerate(self.shape):
            w, s, d, causal = self.window[axis], self.stride[axis], self.dilation[axis], self.causal[axis]
            q, k = queries[axis], keys[axis]
            size = (length - q % d + d - 1) // d
            width = np.minimum(w, size)
            lead = np.minimum(q // d // s * s + (s - 1 if causal else s // 2), size - 1)
            first = np.maximum(lead - width + 1, 0) if causal else np.clip(lead - width // 2, 0, size - width)
            end = q // d + 1 if causal else first + width
            result &= (q % d == k % d) & (k // d >= first) & (k // d < end)
        return result

    def _groups(self, axis: int) -> list[tuple[int, Axis]]:
        """(how many, windows) of the dilation groups along an axis: at most two lengths occur."""
        length, d = self.shape[axis], self.dilation[axis]
        long, rest = -(-length // d), length % d
        sizes = [(rest or d, long)] + ([(d - rest, length // d)] if rest and length >= d else [])
        return [(n, axis_windows(size, self.window[axis], self.stride[axis], self.causal[axis])) for n, size in sizes]

    def pairs(self) -> int:
        total = 1
        for axis in range(len(self.shape)):
            total *= sum(n * int((a.end - a.start).sum()) for n, a in self._groups(axis))
        return total

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        if len(query_tile) < len(self.shape):
            return self._flattened(query_tile[0], key_tile[0])
        rows = visited = full = longest = shortest = grid = 1
        for axis, (q, k) in enumerate(zip(query_tile, key_tile, strict=True)):
            counted = [(n, *a.tiles(q, k), -(-len(a.start) // k)) for n, a in self._groups(axis)]
            rows *= sum(n * len(v) for n, v, _, _ in counted)
            visited *= sum(n * int(v.sum()) for n, v, _, _ in counted)
            full *= sum(n * int(f.sum()) for n, _, f, _ in counted)
            longest *= max(int(v.max()) for _, v, _, _ in counted)
            shortest *= min(int(v.min()) for _, v, _, _ in counted)
            grid *= sum(n * len(v) * columns for n, v, _, columns in counted)
        return TileSummary(rows, visited, full, visited - full, grid - visited, longest, shortest)

    def _boxes(self) -> Iterator[tuple[int, Box]]:
        """(how many, windows along three axes) of every kind of dilation group."""
        unit = [(1, Axis(np.zeros(1, np.int64), np.ones(1, np.int64)))]
        axes = [self._groups(axis) for axis in range(len(self.shape))]
        for kinds in itertools.product(*[unit] * (3 - len(axes)), *axes):
            windows = tuple(a for _, a in kinds)
            yield math.prod(n for n, _ in kinds), Box(
                (windows[0].start, windows[1].start, windows[2].start),
                (windows[0].end, windows[1].end, windows[2].end),
            )

    def _flattened(self, query: int, key: int) -> TileSummary:
        """Tiles of consecutive tokens in row-major order, each dilation group on its own."""
        rows = visited = full = longest = grid = 0
        shortest: int | None = None
        for count, box in self._boxes():
            v, f = flattened_rows(box, query, key)
            rows += count * len(v)
            visited += count * int(v.sum())
            full += count * int(f.sum())
            longest = max(longest, int(v.max()))
            shortest = int(v.min()) if shortest is None else min(shortest, int(v.min()))
            grid += count * len(v) * -(-box.tokens // key)
        return TileSummary(rows, visited, full, visited - full, grid - visited, longest, shortest or 0)

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        """(visited, full) of every query tile, dilation groups one after the other."""
        visited, full = [], []
        if len(query_tile) < len(self.shape):
            for count, box in self._boxes():
                v, f = flattened_rows(box, query_tile[0], key_tile[0])
                visited += [v] * count
                full += [f] * count
            return np.concatenate(visited), np.concatenate(full)
        total_v, total_f = np.ones(1, np.int64), np.ones(1, np.int64)
        for axis, (q, k) in enumerate(zip(query_tile, key_tile, strict=True)):
            counted = [a.tiles(q, k) for n, a in self._groups(axis) for _ in range(n)]
            total_v = np.multiply.outer(total_v, np.concatenate([v for v, _ in counted])).ravel()
            total_f = np.multiply.outer(total_f, np.concatenate([f for _, f in counted])).ravel()
        return total_v, total_f
