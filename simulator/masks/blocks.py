"""Masks given as kept blocks, and the rules of papers that are stated in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .band import clipped_sum
from .base import TileSummary, check_enumerable, past_end, summarise

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
ROWS_AT_ONCE = 2**22
"""Pairs of a rule that are evaluated together."""
FEW = 1 / 16
"""Share of blocks kept up to which they are counted one by one."""


@dataclass(frozen=True, eq=False, slots=True)
class BlockMask:
    """Block (r, c) of bq queries by bk keys attends where `blocks[r, c]`; with `causal` only keys at or before
    the query (at position keys - queries + i). `partial`: blocks of which only some pairs attend, if known."""

    blocks: Flags
    block: tuple[int, int]
    queries: int
    keys: int
    causal: bool = False
    counted: dict[tuple[int, int], tuple[Ints, Ints, int]] = field(default_factory=dict, repr=False)
    """Rows, and the query tiles that visit the last key tile, by tile: one mask is asked again for every kernel and
    every number that is moved."""

    def attends(self, i: Ints, j: Ints) -> Flags:
        kept = self.blocks[i // self.block[0], j // self.block[1]]
        return kept & (j <= i + self.keys - self.queries) if self.causal else kept

    def pairs(self) -> int:
        bq, bk = self.block
        rows, columns = np.nonzero(self.blocks)
        height = np.minimum((rows + 1) * bq, self.queries) - rows * bq
        width = np.minimum((columns + 1) * bk, self.keys) - columns * bk
        if not self.causal:
            return int((height * width).sum())
        ahead = rows * bq + self.keys - self.queries - columns * bk + 1
        return round(float(np.sum(clipped_sum(ahead.astype(float), height.astype(float), width.astype(float)))))

    def _cells(self, query: int, key: int) -> tuple[Flags, Flags, Ints, Ints]:
        """The mask on the common refinement of blocks and tiles: (any pair, all pairs) of each cell, and the first
        cell of each tile along both sides."""
        bq, bk = self.block
        check_enumerable(
            "cells of blocks and tiles", (self.queries // min(bq, query) + 1) * (self.keys // min(bk, key) + 1), 2**28
        )
        r = np.union1d(np.arange(0, self.queries, bq), np.arange(0, self.queries, query))
        c = np.union1d(np.arange(0, self.keys, bk), np.arange(0, self.keys, key))
        kept = self.blocks[np.ix_(r // bq, c // bk)]
        some, every = kept, kept
        if self.causal:
            r_last = np.append(r[1:], self.queries) - 1 + self.keys - self.queries
            c_last = np.append(c[1:], self.keys) - 1
            some = kept & (c[None, :] <= r_last[:, None])
            every = kept & (c_last[None, :] <= (r + self.keys - self.queries)[:, None])
        return (
            some,
            every,
            np.searchsorted(r, np.arange(0, self.queries, query)),
            np.searchsorted(c, np.arange(0, self.keys, key)),
        )

    def grid(self, bm: int, bn: int) -> tuple[Flags, Flags]:
        """Whether each tile is visited, and whether it is full."""
        some, every, r, c = self._cells(bm, bn)
        visited = np.logical_or.reduceat(np.logical_or.reduceat(some, r, axis=0), c, axis=1)
        full = np.logical_and.reduceat(np.logical_and.reduceat(every, r, axis=0), c, axis=1)
        full[self.queries // bm :, :] = False
        full[:, self.keys // bn :] = False
        return visited, full

    def _counted(self, bm: int, bn: int) -> tuple[Ints, Ints, int]:
        if (bm, bn) not in self.counted:
            if np.count_nonzero(self.blocks) <= FEW * self.blocks.size:
                self.counted[bm, bn] = self._counted_sparse(bm, bn)
            else:
                visited, full = self.grid(bm, bn)
                self.counted[bm, bn] = visited.sum(axis=1), full.sum(axis=1), int(visited[:, -1].sum())
        return self.counted[bm, bn]

    def _counted_sparse(self, bm: int, bn: int) -> tuple[Ints, Ints, int]:
        """The same counts from the kept blocks alone: each is cut into its cells, which are gathered by tile."""
        bq, bk = self.block
        rows, columns = np.nonzero(self.blocks)
        across, shift = -(-self.keys // bn), self.keys - self.queries
        met, whole, areas = [], [], []
        for i in range(-(-bq // bm) + 1):
            tile_row = rows * bq // bm + i
            r0 = np.maximum(rows * bq, tile_row * bm)
            r1 = np.minimum(np.minimum((rows + 1) * bq, (tile_row + 1) * bm), self.queries)
            for j in range(-(-bk // bn) + 1):
                tile_column = columns * bk // bn + j
                c0 = np.maximum(columns * bk, tile_column * bn)
                c1 = np.minimum(np.minimum((columns + 1) * bk, (tile_column + 1) * bn), self.keys)
                real = (r0 < r1) & (c0 < c1)
                some = real & (c0 <= r1 - 1 + shift) if self.causal else real
                every = real & (c1 - 1 <= r0 + shift) if self.causal else real
                tile = tile_row * across + tile_column
                met.append(tile[some])
                whole.append(tile[every])
                areas.append(((r1 - r0) * (c1 - c0))[every])
        order = np.sort(np.concatenate(met))
        visited = order[np.append(np.full(min(1, len(order)), True), order[1:] != order[:-1])]
        inside, place = np.unique(np.concatenate(whole), return_inverse=True)
        full = inside[np.bincount(place, np.concatenate(areas), len(inside)) == bm * bn]
        down = -(-self.queries // bm)
        at_end = int((visited % across == across - 1).sum())
        return np.bincount(visited // across, minlength=down), np.bincount(full // across, minlength=down), at_end

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        return self._counted(math.prod(query_tile), math.prod(key_tile))[:2]

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[int, int]:
        bm, bn = math.prod(query_tile), math.prod(key_tile)
        visited, _, at_end = self._counted(bm, bn)
        return past_end(self.keys, bn) * at_end, past_end(self.queries, bm) * int(visited[-1])

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        visited, full = self.rows(query_tile, key_tile)
        return summarise(visited, full, -(-self.keys // math.prod(key_tile)))


def power_blocks(count: int, *, window: int, sinks: int) -> Flags:
    """PowerAttention (2503.03588): block distance d attends if 0 <= d < window, d is a power of two, or the key
    block is one of the first `sinks`."""
    check_enumerable("pairs of blocks", count * count)
    distance = np.arange(count)[:, None] - np.arange(count)[None, :]
    power = (distance > 0) & (distance & (distance - 1) == 0)
    near = (distance >= 0) & (distance < window)
    kept: Flags = near | power | ((np.arange(count) < sinks)[None, :] & (distance >= 0))
    return kept


def radial_width(distance: int, tokens: int, decay: float, sink: bool, block: int) -> float | None:
    """Kept column offset between two frames of `tokens` tokens, or None where the pair of frames is dropped.

    radial_attn/attn_mask.py of mit-han-lab/radial-attention (a5c638b): get_window_width and
    get_diagonal_split_mask. With `sink` (Wan) neighbouring frames see half a frame, otherwise (Hunyuan) all of it.
    """
    spread = float(2 ** tokens.bit_length()) / float(2 ** distance.bit_length())
    if spread < 128 and distance % int(128 / spread):
        return None
    if distance == 0 or (distance == 1 and not sink):
        return tokens
    if distance == 1:
        return tokens // 2
    return max(spread * decay, block)


def _shrink(width: float, tokens: int, row_rest: int, column_rest: int, block: int) -> Flags:
    """Blocks kept of one pair of frames whose first tokens lie row_rest and column_rest inside a block.

    A block is kept where more than 0.6 of its columns that attend at all do so in more than a third of its rows
    (shrinkMaskStrict).
    """
    count = -(-tokens // block)
    column = np.arange(count * block) - column_rest
    inside = (column >= 0) & (column < tokens)
    first = np.maximum(np.arange(count) * block - row_rest, 0)
    last = np.minimum((np.arange(count) + 1) * block - row_rest, tokens) - 1
    low = np.maximum(first[:, None], np.ceil(column - width)[None, :])
    high = np.minimum(last[:, None], np.floor(column + width)[None, :])
    rows = np.where(inside[None, :], np.maximum(high - low + 1, 0), 0).reshape(count, count, block)
    some = (rows > 0).sum(axis=2)
    dense = (rows / block > 1 / 3).sum(axis=2)
    kept: Flags = dense / (some + 1e-9) > 0.6
    return kept


def radial_blocks(frames: int, tokens: int, *, decay: float, sink: bool, block: int) -> Flags:
    """Radial attention (2506.19852) over frames x tokens: kept blocks, by the released rule; blocks past the last
    whole block of tokens are dense, as its text rows are."""
    total = frames * tokens
    check_enumerable("pairs of blocks", (total // block + 1) ** 2)
    border, blocks = total // block, -(-total // block)
    kept = np.zeros((blocks, blocks), dtype=bool)
    kept[border:] = True
    kept[:, border:] = True
    known: dict[tuple[float, int, int], Flags] = {}
    for i in range(frames):
        for j in range(frames):
            if sink and j == 0:
                width: float | None = tokens
            else:
                width = radial_width(abs(i - j), tokens, decay, sink, block)
            if width is None:
                continue
            key = (width, i * tokens % block, j * tokens % block)
            if key not in known:
                known[key] = _shrink(width, tokens, key[1], key[2], block)
            r, c = i * tokens // block, j * tokens // block
            part = known[key][: blocks - r, : blocks - c]
            kept[r : r + part.shape[0], c : c + part.shape[1]] |= part
    return kept


@dataclass(frozen=True, eq=False, slots=True)
class RuleMask:
    """Any pair rule `rule(i, j) -> bool array`, evaluated in blocks of rows: time N x M, memory bounded."""

    rule: Callable[[Ints, Ints], Flags]
    queries: int
    keys: int
    counted: dict[tuple[int, int], Ints] = field(default_factory=dict, repr=False)
    """Pairs of every tile, by tile: the rule is evaluated once for each."""

    def attends(self, i: Ints, j: Ints) -> Flags:
        attends: Flags = np.broadcast_to(
            np.asarray(self.rule(i, j), dtype=bool), np.broadcast_shapes(np.shape(i), np.shape(j))
        )
        return attends

    def _counted(self, query: int, key: int) -> Ints:
        """Pairs of every tile."""
        if (query, key) in self.counted:
            return self.counted[query, key]
        check_enumerable("pairs", self.queries * self.keys, 2**36)
        at_once = max(1, ROWS_AT_ONCE // (query * self.keys))
        j = np.arange(self.keys)[None, :]
        columns = np.arange(0, self.keys, key)
        parts = []
        for first in range(0, self.queries, at_once * query):
            i = np.arange(first, min(first + at_once * query, self.queries))[:, None]
            inside = np.add.reduceat(self.attends(i, j), columns, axis=1, dtype=np.int64)
            parts.append(np.add.reduceat(inside, np.arange(0, len(i), query), axis=0))
        self.counted[query, key] = np.concatenate(parts)
        return self.counted[query, key]

    def pairs(self) -> int:
        return int(self._counted(min(self.queries, 128), self.keys).sum())

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        bm, bn = math.prod(query_tile), math.prod(key_tile)
        counted = self._counted(bm, bn)
        return (counted > 0).sum(axis=1), (counted == bm * bn).sum(axis=1)

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[int, int]:
        bm, bn = math.prod(query_tile), math.prod(key_tile)
        visited = self._counted(bm, bn) > 0
        return past_end(self.keys, bn) * int(visited[:, -1].sum()), past_end(self.queries, bm) * int(visited[-1].sum())

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        visited, full = self.rows(query_tile, key_tile)
        return summarise(visited, full, -(-self.keys // math.prod(key_tile)))


def from_rule(rule: Callable[[Ints, Ints], Flags], queries: int, keys: int) -> RuleMask:
    """A mask from any vectorised pair rule."""
    return RuleMask(rule, queries, keys)


def _listed(counts: Any, indices: Any, shape: tuple[int, int]) -> Flags:
    """A boolean block array from flex_attention's lists (first batch element and head)."""
    kept = np.zeros(shape, dtype=bool)
    if counts is None:
        return kept
    counts, indices = np.asarray(counts)[0, 0], np.asarray(indices)[0, 0]
    for row in range(shape[0]):
        kept[row, indices[row, : counts[row]]] = True
    return kept


def from_flex(block_mask: Any) -> RuleMask:
    """A mask from a torch.nn.attention.flex_attention.BlockMask (its first batch element and head): full blocks as it
    lists them, partial ones by its `mask_mod`.

    Raises InputError where its sizes do not fit together.
    """
    bq, bk = block_mask.BLOCK_SIZE
    queries, keys = block_mask.seq_lengths
    shape = (-(-queries // bq), -(-keys // bk))
    if tuple(block_mask.kv_num_blocks.shape[-1:]) != shape[:1]:
        raise InputError(f"the BlockMask lists {block_mask.kv_num_blocks.shape[-1]} query blocks, not {shape[0]}")
    every = _listed(block_mask.full_kv_num_blocks, block_mask.full_kv_indices, shape)
    some = _listed(block_mask.kv_num_blocks, block_mask.kv_indices, shape)
    mask_mod = block_mask.mask_mod

    def rule(i: Ints, j: Ints) -> Flags:
        import torch

        zero = torch.zeros((), dtype=torch.int64)
        found = mask_mod(zero, zero, torch.as_tensor(i), torch.as_tensor(j))
        attends: Flags = np.broadcast_to(np.asarray(found), np.broadcast_shapes(np.shape(i), np.shape(j)))
        return attends

    def attends(i: Ints, j: Ints) -> Flags:
        r, c = i // bq, j // bk
        kept: Flags = every[r, c] | (some[r, c] & rule(i, j))
        return kept

    return RuleMask(attends, int(queries), int(keys))
