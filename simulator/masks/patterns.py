"""One-dimensional patterns that are no band: chunks, global tokens, strides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..algebra import Number, clip, floor_div, half, maximum, minimum
from ..errors import InputError
from .band import BandMask
from .base import TileSummary, check_enumerable, flat_tile, past_end, summarise

Ints = NDArray[np.int64]
CELLS_AT_ONCE = 2**20
"""Tiles of a strided mask that are looked at together."""


def _tile_rows(queries: int, keys: int, side: int) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Key position of the first and last query of every query tile, and whether the tile is whole."""
    check_enumerable("query tiles", queries // side)
    first = np.arange(0, queries, side)
    last = np.minimum(first + side, queries) - 1
    return first + keys - queries, last + keys - queries, first + side <= queries


@dataclass(frozen=True, slots=True)
class ChunkedMask:
    """Query at key position p = keys - queries + i sees the keys of its own chunk of `chunk` tokens, causally only
    those up to itself (the local layers of Llama 4). Tiles are those of the whole sequence, not of the chunks."""

    queries: Number
    keys: Number
    chunk: Number
    causal: bool = True

    def __post_init__(self) -> None:
        if type(self.chunk) is int and self.chunk < 1:
            raise InputError(f"chunk is {self.chunk}; it must hold at least 1 token")

    def attends(self, i: Ints, j: Ints) -> NDArray[np.bool_]:
        p = i + self.keys - self.queries
        attends: NDArray[np.bool_] = (p // self.chunk == j // self.chunk) & ((j <= p) | (not self.causal))
        return attends

    def pairs(self) -> Number:
        c, m = self.chunk, self.keys
        n = minimum(self.queries, m)
        if self.causal:
            return self._before(m) - self._before(m - n)
        rest = m - floor_div(m, c) * c
        cut = minimum(n, rest)
        return (n - cut) * c + cut * rest

    def _before(self, position: Number) -> Number:
        """Causal pairs of the queries at positions 0 .. position - 1."""
        whole = floor_div(position, self.chunk)
        rest = position - whole * self.chunk
        return half(whole * self.chunk * (self.chunk + 1)) + half(rest * (rest + 1))

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        bm, bn, c = flat_tile(query_tile), flat_tile(key_tile), self.chunk
        first, last, whole = _tile_rows(self.queries, self.keys, bm)
        # Chunks follow each other without a gap: what a tile's queries see together is one range of keys.
        start = np.maximum(first, 0) // c * c
        end = last + 1 if self.causal else np.minimum((last // c + 1) * c, self.keys)
        visited = np.where(last >= 0, -(-end // bn) - start // bn, 0)
        shared_end = first + 1 if self.causal else np.minimum((first // c + 1) * c, self.keys)
        full = np.maximum(shared_end // bn - -(-(last // c * c) // bn), 0)
        return visited, np.where(whole & (first >= 0), full, 0)

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[int, int]:
        bm, bn, c = flat_tile(query_tile), flat_tile(key_tile), self.chunk
        _, last, _ = _tile_rows(self.queries, self.keys, bm)
        # Later queries end later: the query tiles whose last query sees a key of the last key tile.
        end = last + 1 if self.causal else np.where(last >= 0, np.minimum((last // c + 1) * c, self.keys), 0)
        at_end = int((end > (self.keys - 1) // bn * bn).sum())
        visited, _ = self.rows(query_tile, key_tile)
        return past_end(self.keys, bn) * at_end, past_end(self.queries, bm) * int(visited[-1])

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        visited, full = self.rows(query_tile, key_tile)
        return summarise(visited, full, -(-self.keys // flat_tile(key_tile)))


@dataclass(frozen=True, slots=True)
class GlobalLocalMask:
    """A band of `left` and `right` keys around each of n tokens; the first `tokens` of them attend to all and are
    attended to by all (Longformer, 2004.05150, global attention; BigBird, 2007.14062, section 2, without its random
    blocks). Not causal: causal global keys are BandMask's sinks."""

    n: int
    left: int
    right: int
    tokens: int

    def __post_init__(self) -> None:
        if min(self.n, self.left, self.right, self.tokens) < 0:
            raise InputError("the sides of the window and the number of global tokens must not be negative")

    @property
    def queries(self) -> int:
        return self.n

    @property
    def keys(self) -> int:
        return self.n

    def attends(self, i: Ints, j: Ints) -> NDArray[np.bool_]:
        attends: NDArray[np.bool_] = ((j >= i - self.left) & (j <= i + self.right)) | (np.minimum(i, j) < self.tokens)
        return attends

    def pairs(self) -> int:
        """All keys for the global queries; a band with sinks for the others."""
        tokens = min(self.tokens, self.n)
        others = BandMask(self.n - tokens, self.n, self.left, self.right, tokens)
        return tokens * self.n + int(others.pairs())

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        bm, bn, n = flat_tile(query_tile), flat_tile(key_tile), self.n
        tokens = min(self.tokens, n)
        visited, full = BandMask(n, n, self.left, self.right, tokens).rows((bm,), (bn,))
        visited[: -(-tokens // bm)] = -(-n // bn)
        alone, mixed = divmod(tokens, bm)
        full[: n // bm][:alone] = n // bn
        if mixed and (alone + 1) * bm <= n:
            # The tile of both kinds: what its other queries, tokens .. last, have in common.
            end = min(tokens + self.right + 1, n) // bn
            start = (alone + 1) * bm - 1 - self.left
            apart = tokens // bn + max(end - -(-start // bn), 0)
            full[alone] = end if start <= tokens else apart
        return visited, full

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[int, int]:
        bm, bn, n = flat_tile(query_tile), flat_tile(key_tile), self.n
        at_end = -(-min(self.tokens, n) // bm) + BandMask(n, n, self.left, self.right, self.tokens).last_column(bm, bn)
        visited, _ = self.rows(query_tile, key_tile)
        return past_end(n, bn) * int(min(at_end, len(visited))), past_end(n, bm) * int(visited[-1])

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        visited, full = self.rows(query_tile, key_tile)
        return summarise(visited, full, -(-self.n // flat_tile(key_tile)))


@dataclass(frozen=True, slots=True)
class StridedMask:
    """Causal: the last `window` keys (the query among them) and every `stride`-th key before the query
    (Sparse Transformer, 1904.10509, section 4.2, both heads merged)."""

    queries: Number
    keys: Number
    window: Number
    stride: int

    def __post_init__(self) -> None:
        for name in ("window", "stride"):
            value = getattr(self, name)
            if type(value) is int and value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")

    def attends(self, i: Ints, j: Ints) -> NDArray[np.bool_]:
        back = i + self.keys - self.queries - j
        attends: NDArray[np.bool_] = (back >= 0) & ((back < self.window) | (back % self.stride == 0))
        return attends

    def pairs(self) -> Number:
        """The window, and the multiples of the stride from the window up to each query's own position."""
        n, m, w, s = self.queries, self.keys, self.window, self.stride
        near = BandMask(n, m, w - 1, 0).pairs()
        first = maximum(m - n, w)
        count = clip(m - first, 0, n)
        return near + self._floors(first + count) - self._floors(first) - count * floor_div(w - 1, s)

    def _floors(self, stop: Number) -> Number:
        """sum over p < stop of floor(p / stride)."""
        whole = floor_div(stop, self.stride)
        return half(self.stride * whole * (whole - 1)) + (stop - whole * self.stride) * whole

    def some(self, low: Ints, high: Ints) -> NDArray[np.bool_]:
        """Whether a pair attends among those whose key lies low to high before the query, every distance occurring."""
        near = np.maximum(low, 0)
        some: NDArray[np.bool_] = (high >= 0) & ((near < self.window) | (high // self.stride * self.stride >= near))
        return some

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[int, int]:
        bm, bn = flat_tile(query_tile), flat_tile(key_tile)
        first, last, _ = _tile_rows(self.queries, self.keys, bm)
        left = np.arange(0, self.keys, bn)
        right = np.minimum(left + bn, self.keys) - 1
        at_end = int(self.some(first - right[-1], last - left[-1]).sum())
        last_row = int(self.some(first[-1] - right, last[-1] - left).sum())
        return past_end(self.keys, bn) * at_end, past_end(self.queries, bm) * last_row

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        bm, bn, w, s = flat_tile(query_tile), flat_tile(key_tile), self.window, self.stride
        first, last, whole = _tile_rows(self.queries, self.keys, bm)
        left = np.arange(0, self.keys, bn)
        right = np.minimum(left + bn, self.keys) - 1
        check_enumerable("tiles", len(first) * len(left), 2**32)
        visited, full = np.empty(len(first), dtype=np.int64), np.empty(len(first), dtype=np.int64)
        at_once = max(1, CELLS_AT_ONCE // max(len(left), 1))
        for begin in range(0, len(first), at_once):
            t = slice(begin, begin + at_once)
            # Distances of a tile's pairs: every integer from low to high.
            low, high = first[t, None] - right[None, :], last[t, None] - left[None, :]
            some = self.some(low, high)
            far = np.maximum(low, w)
            every = (low >= 0) & ((high < w) | (s == 1) | ((far == high) & (high % s == 0)))
            visited[t] = some.sum(axis=1)
            full[t] = (every & whole[t, None] & (left + bn <= self.keys)[None, :]).sum(axis=1)
        return visited, full

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        visited, full = self.rows(query_tile, key_tile)
        return summarise(visited, full, -(-self.keys // flat_tile(key_tile)))
