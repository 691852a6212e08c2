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
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .base import TileSummary, check_enumerable, past_end
from .runs import Box, flattened_rows

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Axis:
    """Windows along one axis of one dilation group, of `length` tokens.

    Queries in groups of `stride` share the window of their middle query, min(g s + s // 2, L - 1); it starts
    w // 2 before it (an even window looks one further left) and is shifted inside, never cut. Causal: the last
    query of the group leads, the window ends with it, and only keys at or before the query attend.
    """

    length: int
    window: int
    stride: int
    causal: bool

    def start(self, i: Ints) -> Ints:
        """First key of query i."""
        group = i // self.stride * self.stride
        if self.causal:
            first: Ints = np.maximum(np.minimum(group + self.stride - 1, self.length - 1) - self.window + 1, 0)
            return first
        leader = np.minimum(group + self.stride // 2, self.length - 1)
        first = np.clip(leader - self.window // 2, 0, self.length - self.window)
        return first

    def end(self, i: Ints) -> Ints:
        """One past the last key of query i."""
        return i + 1 if self.causal else self.start(i) + self.window

    def pairs(self) -> int:
        """Pairs along the axis: every query has a whole window, but for causal ones."""
        if not self.causal:
            return self.length * self.window
        check_enumerable("groups of queries", self.length // self.stride)
        first = np.arange(0, self.length, self.stride)
        inside = np.minimum(first + self.stride, self.length) - first
        ahead = first - self.start(first) + 1
        return int((inside * ahead + inside * (inside - 1) // 2).sum())

    def tiles(self, query: int, key: int) -> tuple[Ints, Ints]:
        """(visited, full) key tiles of every query tile along this axis."""
        check_enumerable("tiles along an axis", self.length // query)
        first = np.arange(0, self.length, query)
        last = np.minimum(first + query, self.length) - 1
        # Starts and ends never decrease, and neighbouring windows touch: the union over a tile is one interval.
        visited = -(-self.end(last) // key) - self.start(first) // key
        full = np.maximum(self.end(first) // key - -(-self.start(last) // key), 0)
        return visited, np.where(first + query <= self.length, full, 0)

    def loaded(self, query: int, key: int) -> int:
        """Keys in the visited key tiles of all query tiles along this axis."""
        first = np.arange(0, self.length, query)
        last = np.minimum(first + query, self.length) - 1
        end = np.minimum(-(-self.end(last) // key) * key, self.length)
        return int((end - self.start(first) // key * key).sum())


@dataclass(frozen=True, slots=True)
class NeighbourhoodMask:
    """shape: tokens along 1 to 3 axes; window, stride, dilation, causal: one value an axis."""

    shape: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    causal: tuple[bool, ...]

    def __post_init__(self) -> None:
        axes = len(self.shape)
        if not 1 <= axes <= 3:
            raise InputError(f"a neighbourhood has 1 to 3 axes, not {axes}")
        for name in ("shape", "window", "stride", "dilation", "causal"):
            values = getattr(self, name)
            if len(values) != axes:
                raise InputError(f"{name} has {len(values)} values for {axes} axes")
            if name != "causal" and min(values) < 1:
                raise InputError(f"{name} is {'x'.join(map(str, values))}; every axis needs at least 1")
        if any(s > w for s, w in zip(self.stride, self.window, strict=True)):
            stride, window = ("x".join(map(str, values)) for values in (self.stride, self.window))
            raise InputError(f"stride {stride} exceeds window {window}")

    def flat(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> bool:
        """Whether tiles are of flattened tokens, not one side an axis."""
        if len(query_tile) != len(key_tile) or len(query_tile) not in (1, len(self.shape)):
            raise InputError(
                f"tiles of {len(query_tile)} by {len(key_tile)} axes for a layout of {len(self.shape)}; allowed: one "
                "side an axis, or one number for flattened tokens"
            )
        if min(*query_tile, *key_tile) < 1:
            raise InputError("every side of a tile needs at least 1 token")
        return len(query_tile) < len(self.shape)

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

    def groups(self, axis: int) -> list[tuple[int, Axis]]:
        """(how many, windows) of the dilation groups along an axis: at most two lengths occur."""
        length, d = self.shape[axis], self.dilation[axis]
        long, rest = -(-length // d), length % d
        sizes = [(rest or d, long)] + ([(d - rest, length // d)] if rest and length >= d else [])
        w, s, causal = self.window[axis], self.stride[axis], self.causal[axis]
        return [(n, Axis(size, min(w, size), s, causal)) for n, size in sizes]

    def pairs(self) -> int:
        total = 1
        for axis in range(len(self.shape)):
            total *= sum(n * a.pairs() for n, a in self.groups(axis))
        return total

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        if self.flat(query_tile, key_tile):
            return _flattened(self, query_tile[0], key_tile[0])[0]
        rows = visited = full = longest = shortest = grid = 1
        for axis, (q, k) in enumerate(zip(query_tile, key_tile, strict=True)):
            counted = [(n, *a.tiles(q, k), -(-a.length // k)) for n, a in self.groups(axis)]
            rows *= sum(n * len(v) for n, v, _, _ in counted)
            visited *= sum(n * int(v.sum()) for n, v, _, _ in counted)
            full *= sum(n * int(f.sum()) for n, _, f, _ in counted)
            longest *= max(int(v.max()) for _, v, _, _ in counted)
            shortest *= min(int(v.min()) for _, v, _, _ in counted)
            grid *= sum(n * len(v) * columns for n, v, _, columns in counted)
        return TileSummary(rows, visited, full, visited - full, grid - visited, longest, shortest)

    def boxes(self) -> Iterator[tuple[int, Box]]:
        """(how many, windows along three axes) of every kind of dilation group."""
        check_enumerable("tokens", self.queries)
        unit = [(1, Axis(1, 1, 1, False))]
        axes = [self.groups(axis) for axis in range(len(self.shape))]
        for kinds in itertools.product(*[unit] * (3 - len(axes)), *axes):
            first, second, third = (a for _, a in kinds)
            i, j, k = np.arange(first.length), np.arange(second.length), np.arange(third.length)
            yield (
                math.prod(n for n, _ in kinds),
                Box((first.start(i), second.start(j), third.start(k)), (first.end(i), second.end(j), third.end(k))),
            )

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[int, int]:
        if self.flat(query_tile, key_tile):
            return _flattened(self, query_tile[0], key_tile[0])[1]
        visited = keys = queries = 1
        for axis, (q, k) in enumerate(zip(query_tile, key_tile, strict=True)):
            counted = [(n, a, *a.tiles(q, k)) for n, a in self.groups(axis)]
            visited *= sum(n * int(v.sum()) for n, _, v, _ in counted)
            keys *= sum(n * a.loaded(q, k) for n, a, _, _ in counted)
            queries *= sum(n * (int(v.sum()) * q - past_end(a.length, q) * int(v[-1])) for n, a, v, _ in counted)
        return visited * math.prod(key_tile) - keys, visited * math.prod(query_tile) - queries

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        """(visited, full) of every query tile, dilation groups one after the other."""
        visited, full = [], []
        if self.flat(query_tile, key_tile):
            for count, box in self.boxes():
                v, f, _ = flattened_rows(box, query_tile[0], key_tile[0])
                visited += [v] * count
                full += [f] * count
            return np.concatenate(visited), np.concatenate(full)
        total_v, total_f = np.ones(1, np.int64), np.ones(1, np.int64)
        for axis, (q, k) in enumerate(zip(query_tile, key_tile, strict=True)):
            counted = [a.tiles(q, k) for n, a in self.groups(axis) for _ in range(n)]
            total_v = np.multiply.outer(total_v, np.concatenate([v for v, _ in counted])).ravel()
            total_f = np.multiply.outer(total_f, np.concatenate([f for _, f in counted])).ravel()
        return total_v, total_f


@lru_cache(maxsize=1024)
def _flattened(mask: NeighbourhoodMask, query: int, key: int) -> tuple[TileSummary, tuple[int, int]]:
    """Tiles of consecutive tokens in row-major order, each dilation group on its own, and what they lack."""
    rows = visited = full = longest = grid = keys = queries = 0
    shortest: int | None = None
    for count, box in mask.boxes():
        v, f, at_end = flattened_rows(box, query, key)
        rows += count * len(v)
        visited += count * int(v.sum())
        full += count * int(f.sum())
        longest = max(longest, int(v.max()))
        shortest = int(v.min()) if shortest is None else min(shortest, int(v.min()))
        grid += count * len(v) * -(-box.tokens // key)
        keys += count * at_end * past_end(box.tokens, key)
        queries += count * int(v[-1]) * past_end(box.tokens, query)
    summary = TileSummary(rows, visited, full, visited - full, grid - visited, longest, shortest or 0)
    return summary, (keys, queries)
