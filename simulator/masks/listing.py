"""Lists of visited tiles: what a block-sparse kernel runs from, built without a loop over tokens or tiles.

Every query tile has the key tiles that it visits and, for the partial ones, an index into a table of bit patterns. A
pattern is evaluated once for all tiles that cannot differ: a mask says which ones those are by a few integers for each
visited tile (its signature), and how it does so is all that its own builder adds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .base import TileSummary, check_enumerable
from .runs import expand

Ints = NDArray[np.int64]
Ints32 = NDArray[np.int32]
Words = NDArray[np.uint32]
Flags = NDArray[np.bool_]
Triple = tuple[int, int, int]
Rule = Callable[[Ints, Ints], Flags]
"""Which pairs (query, key) attend."""
Ranges = tuple[Ints, Ints, Ints]
"""(query tile, first key tile, how many): ranges of visited key tiles, sorted by query tile, then by key tile."""

FULL = -1
"""The pattern of a full tile."""
ENTRIES = 2**28
"""Visited tiles that are listed, at most; also words of all patterns together (1 GiB each)."""
ENTRIES_AT_ONCE = 2**20
"""Visited tiles that are looked at together."""
PAIRS_AT_ONCE = 2**21
"""Pairs of patterns that are evaluated together."""


@dataclass(frozen=True, slots=True, eq=False)
class TileLists:
    """Visited tiles of one head of one sequence. T query tiles, C key tiles, E visited tiles, U patterns.

    query_sides, key_sides: slots of a tile along three axes (BM, BN in all), row-major; leading axes that a tile
    does not have are 1. query_step, key_step: tokens between neighbouring slots along each axis.
    query_origin [T], query_extent [T, 3]: token of slot (0, 0, 0), and the slots along each axis that hold tokens.
    Slot (a, b, c) is token origin + a step[0] + b step[1] + c step[2]; it holds one where it lies below the extents.
    key_origin [C], key_extent [C, 3]: the same of key tiles. Every query and every key is in exactly one tile.
    row_start [T + 1], key [E]: query tile t visits key[row_start[t]:row_start[t + 1]], in increasing order.
    pattern [E]: FULL, or which of `patterns` [U, BM, ceil(BN / 32)]: bit n % 32 of word n // 32 of row m says whether
    slot m attends to slot n (0 where one of them holds no token). No two patterns are equal.
    grid: tiles of the grid, visited or not: those of a query and a key tile of the same dilation group, document
    or window. order: tokens are first gathered in this order, and positions are those of gathered tokens (None: as
    they are).
    """

    query_sides: Triple
    key_sides: Triple
    query_step: Triple
    key_step: Triple
    query_origin: Ints32
    query_extent: Ints32
    key_origin: Ints32
    key_extent: Ints32
    row_start: Ints
    key: Ints32
    pattern: Ints32
    patterns: Words
    grid: int
    order: Ints | None = None

    def gathered(self, order: Ints) -> TileLists:
        """The same lists over tokens that are gathered in an order; None where that is the order they have."""
        return replace(self, order=None if np.array_equal(order, np.arange(len(order))) else order)

    def transposed(self) -> tuple[Ints, Ints32, Ints32]:
        """(column_start [C + 1], query [E], pattern [E]): key tile c is visited by query tiles
        query[column_start[c]:column_start[c + 1]], in increasing order."""
        columns = len(self.key_origin)
        # A stable sort of 16-bit numbers counts them; one of wider numbers compares.
        key = self.key.astype(np.uint16) if columns <= 2**16 else self.key
        by_key = np.argsort(key, kind="stable")
        query = np.repeat(np.arange(len(self.query_origin), dtype=np.int32), np.diff(self.row_start))
        return starts(np.bincount(self.key, minlength=columns)), query[by_key], self.pattern[by_key]

    def summary(self) -> TileSummary:
        """Tile counts, as `mask.tiles` gives them."""
        rows = np.diff(self.row_start)
        full = int(np.count_nonzero(self.pattern == FULL))
        visited = len(self.key)
        longest, shortest = (int(rows.max()), int(rows.min())) if len(rows) else (0, 0)
        return TileSummary(len(rows), visited, full, visited - full, self.grid - visited, longest, shortest)


def starts(counts: NDArray[Any]) -> Ints:
    """0 and the running sums of the counts."""
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def pieces(weight: NDArray[Any], at_once: int) -> list[slice]:
    """Consecutive parts of about `at_once` of the summed weight each, at least one element long."""
    total = np.cumsum(weight, dtype=np.int64)
    if not len(total):
        return []
    edges = np.unique(np.searchsorted(total, np.arange(at_once, total[-1], at_once), side="left") + 1)
    cuts = [0, *edges[edges < len(total)].tolist(), len(total)]
    return [slice(a, b) for a, b in itertools.pairwise(cuts)]


def distinct(rows: NDArray[Any]) -> tuple[Ints, Ints]:
    """(index of the first of each kind of row, kind of every row) of a two-dimensional array."""
    if not len(rows):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    rows = np.ascontiguousarray(rows)
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))[:, 0]
    _, first, kind = np.unique(whole, return_index=True, return_inverse=True)
    return first.astype(np.int64), kind.reshape(-1).astype(np.int64)


def pack(attends: Flags) -> Words:
    """[..., BN] flags as words of 32 bits, the first flag in the lowest bit."""
    packed = np.packbits(attends, axis=-1, bitorder="little")
    short = -packed.shape[-1] % 4 if packed.shape[-1] else 4
    packed = np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, short)])
    words: Words = np.ascontiguousarray(packed).view("<u4").astype(np.uint32, copy=False)
    return words


def unpack(patterns: Words, columns: int) -> Flags:
    """The flags [U, BM, BN] of patterns."""
    octets = np.ascontiguousarray(patterns).astype("<u4", copy=False).view(np.uint8)
    return np.unpackbits(octets, axis=-1, count=columns, bitorder="little").astype(bool)


def settled(patterns: Words, columns: int) -> tuple[Words, Ints32]:
    """The distinct patterns that are not full, and what each of the given ones is among them (or FULL)."""
    first, kind = distinct(patterns.reshape(len(patterns), math.prod(patterns.shape[1:])))
    kept = patterns[first]
    full = (kept == pack(np.ones(columns, dtype=bool))).all(axis=(1, 2))
    number = np.where(full, FULL, np.cumsum(~full) - 1).astype(np.int32)
    return kept[~full], number[kind]


class Pool:
    """Kinds of rows that come piece by piece; `add` numbers them for now, `settle` says which numbers are one kind."""

    def __init__(self) -> None:
        self.rows: list[NDArray[Any]] = []
        self.count = 0

    def add(self, rows: NDArray[Any]) -> tuple[Ints, Ints]:
        """(index of the first of each kind in this piece, number of every row)."""
        first, kind = distinct(rows)
        number = kind + self.count
        self.rows.append(rows[first])
        self.count += len(first)
        return first, number

    def settle(self) -> tuple[Ints, Ints]:
        """(first number of each kind, kind of every number)."""
        return distinct(np.concatenate(self.rows)) if self.rows else distinct(np.zeros((0, 1)))


def flat_grid(tokens: int, side: int) -> tuple[Ints32, Ints32]:
    """Origins and extents of tiles of consecutive tokens."""
    check_enumerable("tokens", tokens, 2**31 - 1)
    origin = np.arange(0, tokens, side, dtype=np.int64)
    extent = np.ones((len(origin), 3), dtype=np.int32)
    extent[:, 2] = np.minimum(side, tokens - origin)
    return origin.astype(np.int32), extent


def evaluated(rule: Rule, sizes: tuple[int, int], tile: tuple[int, int], query: Ints, key: Ints) -> Words:
    """Patterns [U, BM, words] of the flat tiles (query[u], key[u]) by the pair rule."""
    (n, m), (bm, bn) = sizes, tile
    check_enumerable("words of bit patterns", len(query) * bm * -(-bn // 32), ENTRIES)
    patterns = np.zeros((len(query), bm, max(1, -(-bn // 32))), dtype=np.uint32)
    at_once = max(1, PAIRS_AT_ONCE // (bm * bn))
    for first in range(0, len(query), at_once):
        some = slice(first, first + at_once)
        i = (query[some, None] * bm + np.arange(bm))[:, :, None]
        j = (key[some, None] * bn + np.arange(bn))[:, None, :]
        # The rule is asked about tokens only: slots past the end repeat the last one.
        attends = rule(np.minimum(i, n - 1), np.minimum(j, m - 1))
        patterns[some] = pack(attends & (i < n) & (j < m))
    return patterns


def flat_lists(
    rule: Rule,
    sizes: tuple[int, int],
    tile: tuple[int, int],
    ranges: Ranges,
    classify: Callable[[Ints, Ints], tuple[Flags, Ints]],
    visits: Callable[[Ints, Ints], Flags] | None = None,
) -> TileLists:
    """Lists of one grid of flattened tokens.

    ranges: key tiles that are visited, or, where `visits` is given, that may be. classify(t, c): which of these tiles
    are known to be full, and a signature [E, S]: tiles of equal signature have equal patterns.
    """
    (n, m), (bm, bn) = sizes, tile
    query_origin, query_extent = flat_grid(n, bm)
    key_origin, key_extent = flat_grid(m, bn)
    owner, first, count = ranges
    check_enumerable("tiles", int(count.sum()), ENTRIES if visits is None else 2**32)
    pool, listed = Pool(), 0
    counts = np.zeros(len(query_origin), dtype=np.int64)
    keys, numbers, kinds = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)], [np.zeros((2, 0), np.int64)]
    for some in pieces(count, ENTRIES_AT_ONCE):
        which, c = expand(first[some], count[some])
        t = owner[some][which]
        if visits is not None:
            kept = visits(t, c)
            t, c = t[kept], c[kept]
        listed += len(c)
        check_enumerable("visited tiles", listed, ENTRIES)
        full, signature = classify(t, c)
        partial = np.flatnonzero(~full)
        new, number = pool.add(signature[partial])
        numbered = np.full(len(c), FULL, dtype=np.int32)
        numbered[partial] = number
        numbers.append(numbered)
        kinds.append(np.stack([t[partial[new]], c[partial[new]]]))
        keys.append(c.astype(np.int32))
        counts += np.bincount(t, minlength=len(counts))
    examples, kind = pool.settle()
    t, c = np.concatenate(kinds, axis=1)[:, examples]
    patterns, settled_kind = settled(evaluated(rule, sizes, tile, t, c), bn)
    final = np.append(settled_kind[kind], np.int32(FULL))
    return TileLists(
        (1, 1, bm), (1, 1, bn), (1, 1, 1), (1, 1, 1), query_origin, query_extent, key_origin, key_extent,
        starts(counts), np.concatenate(keys), final[np.concatenate(numbers)], patterns,
        len(query_origin) * len(key_origin),
    )  # fmt: skip


def intervals(begin: Sequence[Ints], end: Sequence[Ints]) -> Ranges:
    """Ranges from one or more intervals of key tiles for every query tile, in increasing order."""
    first, last = np.stack(np.broadcast_arrays(*begin), axis=1), np.stack(np.broadcast_arrays(*end), axis=1)
    owner = np.repeat(np.arange(len(first)), first.shape[1])
    return owner, first.reshape(-1), np.maximum(last - first, 0).reshape(-1)


def matrix_lists(rule: Rule, sizes: tuple[int, int], tile: tuple[int, int], at_once: int = PAIRS_AT_ONCE) -> TileLists:
    """Lists of one grid of flattened tokens from every pair, a few rows of tiles at a time."""
    (n, m), (bm, bn) = sizes, tile
    check_enumerable("pairs", n * m, 2**36)
    query_origin, query_extent = flat_grid(n, bm)
    key_origin, key_extent = flat_grid(m, bn)
    columns, words = len(key_origin), max(1, -(-bn // 32))
    counts, pool, listed = np.zeros(len(query_origin), dtype=np.int64), Pool(), 0
    keys, numbers = [np.zeros(0, np.int32)], [np.zeros(0, np.int64)]
    rows = max(1, at_once // (bm * max(columns, 1) * bn))
    for first in range(0, len(query_origin) if m else 0, rows):
        count = min(rows, len(query_origin) - first)
        i = np.arange(first * bm, min((first + count) * bm, n))
        attends = np.zeros((count * bm, columns * bn), dtype=bool)
        attends[: len(i), :m] = rule(i[:, None], np.arange(m)[None, :])
        tiles = attends.reshape(count, bm, columns, bn).transpose(0, 2, 1, 3)
        t, c = np.nonzero(tiles.any(axis=(2, 3)))
        listed += len(c)
        check_enumerable("visited tiles", listed, ENTRIES)
        _, number = pool.add(pack(tiles[t, c]).reshape(len(t), bm * words))
        check_enumerable("words of bit patterns", pool.count * bm * words, ENTRIES)
        numbers.append(number)
        keys.append(c.astype(np.int32))
        counts[first : first + count] = np.bincount(t, minlength=count)
    found = np.concatenate([np.zeros((0, bm * words), np.uint32), *pool.rows]).reshape(-1, bm, words)
    patterns, final = settled(found, bn)
    return TileLists(
        (1, 1, bm), (1, 1, bn), (1, 1, 1), (1, 1, 1), query_origin, query_extent, key_origin, key_extent,
        starts(counts), np.concatenate(keys), final[np.concatenate(numbers)], patterns,
        len(query_origin) * columns,
    )  # fmt: skip


def joined(arrays: Sequence[NDArray[Any]], which: Ints) -> tuple[Ints, Any]:
    """(s, value) of every element of the arrays arrays[which[s]], one after the other."""
    first = starts(np.array([len(a) for a in arrays]))
    sequence, at = expand(first[:-1][which], np.diff(first)[which])
    return sequence, np.concatenate(arrays)[at]


def repeated(parts: Sequence[TileLists], which: Ints, query_offset: Ints, key_offset: Ints, step: int = 1) -> TileLists:
    """Independent sequences one after the other: sequence s has the lists parts[which[s]]; its tokens are `step`
    apart from query_offset[s] and key_offset[s] on."""
    head = parts[0]
    layout = (head.query_sides, head.key_sides, head.query_step, head.key_step)
    if any((p.query_sides, p.key_sides, p.query_step, p.key_step) != layout for p in parts):
        raise InputError("documents whose tiles are laid out differently cannot share one list")
    check_enumerable("visited tiles", int(np.array([len(p.key) for p in parts])[which].sum()), ENTRIES)
    patterns, number = settled(np.concatenate([p.patterns for p in parts]), math.prod(head.key_sides))
    base = starts(np.array([len(p.patterns) for p in parts]))
    # What each pattern of a part is in the common table; FULL, the index -1, finds the last element.
    numbers = [np.append(number[a:b], np.int32(FULL)) for a, b in itertools.pairwise(base)]
    query_of, query_origin = joined([p.query_origin for p in parts], which)
    key_of, key_origin = joined([p.key_origin for p in parts], which)
    entry_of, key = joined([p.key for p in parts], which)
    first_key = starts(np.array([len(p.key_origin) for p in parts])[which])
    rows = joined([np.diff(p.row_start) for p in parts], which)[1]
    spaced: list[Triple] = [(a * step, b * step, c * step) for a, b, c in (head.query_step, head.key_step)]
    return TileLists(
        head.query_sides, head.key_sides, spaced[0], spaced[1],
        (query_origin.astype(np.int64) * step + query_offset[query_of]).astype(np.int32),
        joined([p.query_extent for p in parts], which)[1],
        (key_origin.astype(np.int64) * step + key_offset[key_of]).astype(np.int32),
        joined([p.key_extent for p in parts], which)[1], starts(rows),
        (key + first_key[entry_of]).astype(np.int32),
        joined([n[p.pattern] for n, p in zip(numbers, parts, strict=True)], which)[1], patterns,
        int(np.array([p.grid for p in parts])[which].sum()),
    )  # fmt: skip
