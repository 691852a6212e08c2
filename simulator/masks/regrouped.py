"""Masks that fall apart into independent sequences: dilation groups, shifted windows, documents of a ragged batch."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..algebra import Number
from ..errors import InputError
from .band import BandMask
from .base import Mask, TileSummary, check_enumerable, past_end, summarise

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


def add_summaries(counted: list[tuple[int, TileSummary]]) -> TileSummary:
    """The summary of several independent sequences, each occurring a number of times."""
    rows, visited, full, partial, skipped = (
        sum(n * getattr(s, name) for n, s in counted)
        for name in ("query_tiles", "visited", "full", "partial", "skipped")
    )
    longest = max((s.longest_row for _, s in counted), default=0)
    shortest = min((s.shortest_row for _, s in counted), default=0)
    return TileSummary(rows, visited, full, partial, skipped, longest, shortest)


def add_missing(counted: list[tuple[int, tuple[Number, Number]]]) -> tuple[Number, Number]:
    """What visited tiles lack in several independent sequences, each occurring a number of times."""
    return sum(n * keys for n, (keys, _) in counted), sum(n * queries for n, (_, queries) in counted)


@dataclass(frozen=True, slots=True)
class DilatedMask:
    """Query at key position p = keys - queries + i sees keys p + dilation t for -left <= t <= right.

    Tokens are regrouped by their position modulo the dilation; every group is a band with tiles of its own.
    """

    queries: int
    keys: int
    left: int
    right: int
    dilation: int

    def attends(self, i: Ints, j: Ints) -> NDArray[np.bool_]:
        step, rest = np.divmod(j - (i + self.keys - self.queries), self.dilation)
        attends: NDArray[np.bool_] = (rest == 0) & (step >= -self.left) & (step <= self.right)
        return attends

    def _groups(self) -> list[tuple[int, BandMask]]:
        """(how many, band) of the groups that hold queries."""
        if self.queries > self.keys:
            raise InputError(f"dilated attention needs as many keys as queries, not {self.keys} for {self.queries}")
        d, before = self.dilation, self.keys - self.queries
        check_enumerable("dilation groups", min(d, self.keys))
        sizes = Counter(
            (-(-max(self.keys - r, 0) // d) - -(-max(before - r, 0) // d), -(-max(self.keys - r, 0) // d))
            for r in range(min(d, self.keys))
        )
        return [(n, BandMask(q, k, self.left, self.right)) for (q, k), n in sizes.items() if q > 0]

    def pairs(self) -> int:
        return sum(n * int(band.pairs()) for n, band in self._groups())

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        return add_summaries([(n, band.tiles(query_tile, key_tile)) for n, band in self._groups()])

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[Number, Number]:
        return add_missing([(n, band.missing(query_tile, key_tile)) for n, band in self._groups()])

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        return _join([(n, band.rows(query_tile, key_tile)) for n, band in self._groups()])


def _join(parts: list[tuple[int, Any]]) -> Any:
    """Rows of independent sequences one after the other."""
    visited = np.concatenate([v for n, (v, _) in parts for _ in range(n)])
    return visited, np.concatenate([f for n, (_, f) in parts for _ in range(n)])


@dataclass(frozen=True, slots=True)
class DocumentsMask:
    """A ragged batch: documents attend to themselves only, each with `make(length)` and a tile grid of its own."""

    lengths: tuple[int, ...]
    make: Callable[[int], Mask]

    def repeated(self, times: int) -> DocumentsMask:
        """Every token `times` in a row (of documents with a band)."""

        def repeat(length: int) -> Mask:
            mask = self.make(length // times)
            assert isinstance(mask, BandMask)
            return mask.repeated(times)

        return DocumentsMask(tuple(length * times for length in self.lengths), repeat)

    @property
    def queries(self) -> int:
        return sum(self.lengths)

    @property
    def keys(self) -> int:
        return sum(self.lengths)

    def attends(self, i: Ints, j: Ints) -> NDArray[np.bool_]:
        ends = np.cumsum(self.lengths)
        result = np.zeros(np.broadcast_shapes(np.shape(i), np.shape(j)), dtype=bool)
        for end, length in zip(ends, self.lengths, strict=True):
            begin = end - length
            inside = (i >= begin) & (i < end) & (j >= begin) & (j < end)
            result |= inside & self.make(length).attends(i - begin, j - begin)
        return result

    def pairs(self) -> Number:
        return sum(n * self.make(length).pairs() for length, n in Counter(self.lengths).items())

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        counted = Counter(self.lengths)
        return add_summaries([(n, self.make(length).tiles(query_tile, key_tile)) for length, n in counted.items()])

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[Number, Number]:
        counted = Counter(self.lengths)
        return add_missing([(n, self.make(length).missing(query_tile, key_tile)) for length, n in counted.items()])

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        return _join([(1, self.make(length).rows(query_tile, key_tile)) for length in self.lengths])


@dataclass(frozen=True, slots=True)
class WindowsMask:
    """Windows of tokens that do not overlap (Swin, 2103.14030), after a cyclic shift along each axis.

    Tokens of one window attend to each other unless the shift brought them together from opposite ends of an
    axis. A kernel computes every window as a short sequence: tiles are counted inside the windows.
    """

    shape: tuple[int, ...]
    window: tuple[int, ...]
    shift: tuple[int, ...]

    @property
    def queries(self) -> int:
        return math.prod(self.shape)

    @property
    def keys(self) -> int:
        return math.prod(self.shape)

    def attends(self, i: Ints, j: Ints) -> NDArray[np.bool_]:
        result = np.ones(np.broadcast_shapes(np.shape(i), np.shape(j)), dtype=bool)
        queries, keys = np.unravel_index(i, self.shape), np.unravel_index(j, self.shape)
        for q, k, n, w, s in zip(queries, keys, self.shape, self.window, self.shift, strict=True):
            same_window = (q - s) % n // w == (k - s) % n // w
            result &= same_window & ((q < s) == (k < s))
        return result

    def _windows(self, axis: int) -> Counter[tuple[int, int]]:
        """(tokens from the far end, tokens wrapped around) of the windows along an axis, and how many there are."""
        n, w, s = self.shape[axis], self.window[axis], self.shift[axis] % self.shape[axis]
        check_enumerable("windows along an axis", n // w)
        begin = np.arange(0, n, w)
        end = np.minimum(begin + w, n)
        wrapped = np.maximum(end - np.maximum(begin, n - s), 0)
        return Counter(zip((end - begin - wrapped).tolist(), wrapped.tolist(), strict=True))

    def pairs(self) -> int:
        return math.prod(
            sum(n * (a * a + b * b) for (a, b), n in self._windows(axis).items()) for axis in range(len(self.shape))
        )

    def _kinds(self) -> list[tuple[int, tuple[tuple[int, int], ...]]]:
        """(how many, parts along each axis) of every kind of window."""
        axes = [list(self._windows(axis).items()) for axis in range(len(self.shape))]
        return [
            (math.prod(n for _, n in kinds), tuple(parts for parts, _ in kinds)) for kinds in itertools.product(*axes)
        ]

    def _mask(self, parts: tuple[tuple[int, int], ...]) -> BandMask | Flags:
        """A window's mask: dense, or the pairs that attend where the shift wrapped it, tokens in row-major order."""
        tokens = math.prod(a + b for a, b in parts)
        if not any(a and b for a, b in parts):
            return BandMask(tokens, tokens)
        check_enumerable("pairs of a shifted window", tokens**2)
        inside = np.ones((1, 1), dtype=bool)
        for a, b in parts:
            side = np.arange(a + b) < a
            inside = np.kron(inside, side[:, None] == side[None, :]).astype(bool)
        return inside

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        bm, bn = math.prod(query_tile), math.prod(key_tile)
        counted = []
        for n, parts in self._kinds():
            mask = self._mask(parts)
            counted.append(
                (n, mask.rows((bm,), (bn,)) if isinstance(mask, BandMask) else _block_rows(mask, bm, bn)[:2])
            )
        return _join(counted)

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        bm, bn = math.prod(query_tile), math.prod(key_tile)
        counted = []
        for n, parts in self._kinds():
            mask = self._mask(parts)
            if isinstance(mask, BandMask):
                counted.append((n, mask.tiles((bm,), (bn,))))
            else:
                counted.append((n, summarise(*_block_rows(mask, bm, bn)[:2], -(-len(mask) // bn))))
        return add_summaries(counted)

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[Number, Number]:
        bm, bn = math.prod(query_tile), math.prod(key_tile)
        counted: list[tuple[int, tuple[Number, Number]]] = []
        for n, parts in self._kinds():
            mask = self._mask(parts)
            if isinstance(mask, BandMask):
                counted.append((n, mask.missing((bm,), (bn,))))
            else:
                visited, _, at_end = _block_rows(mask, bm, bn)
                lacking = past_end(len(mask), bn) * at_end, past_end(len(mask), bm) * int(visited[-1])
                counted.append((n, lacking))
        return add_missing(counted)


def _block_rows(inside: NDArray[np.bool_], bm: int, bn: int) -> tuple[Ints, Ints, int]:
    """(visited, full) tiles of a small dense mask, and how many query tiles visit its last key tile."""
    n, m = inside.shape
    r, c = np.arange(0, n, bm), np.arange(0, m, bn)
    attending = np.add.reduceat(np.add.reduceat(inside.astype(np.int64), r, axis=0), c, axis=1)
    visited = attending > 0
    return visited.sum(axis=1), (attending == bm * bn).sum(axis=1), int(visited[:, -1].sum())
