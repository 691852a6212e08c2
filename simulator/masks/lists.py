"""The lists of visited tiles of any mask, as a block-sparse kernel runs from them."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from functools import singledispatch
from typing import Any

import numpy as np

from ..errors import InputError
from .band import BandMask
from .blocks import BlockMask, RuleMask
from .listing import FULL, Ints, TileLists, matrix_lists, repeated, starts
from .listing_boxes import neighbourhood_lists
from .listing_flat import band_lists, block_lists, chunked_lists, global_lists, rule_lists, strided_lists
from .neighbourhood import NeighbourhoodMask
from .patterns import ChunkedMask, GlobalLocalMask, StridedMask
from .regrouped import DilatedMask, DocumentsMask, WindowsMask
from .selected import SelectedBlocksMask

__all__ = ["FULL", "TileLists", "tile_lists"]


@singledispatch
def tile_lists(mask: Any, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    """The visited tiles of a mask, query tiles in the order of `mask.rows` and counts as in `mask.tiles`.

    A mask of a new kind registers its builder here. Raises InputError for masks that have none, and where more than
    2**28 tiles would be listed.
    """
    raise InputError(f"{type(mask).__name__} has no list of tiles; allowed: masks that are known before the run")


tile_lists.register(BandMask, band_lists)
tile_lists.register(BlockMask, block_lists)
tile_lists.register(ChunkedMask, chunked_lists)
tile_lists.register(GlobalLocalMask, global_lists)
tile_lists.register(NeighbourhoodMask, neighbourhood_lists)
tile_lists.register(RuleMask, rule_lists)
tile_lists.register(StridedMask, strided_lists)


@tile_lists.register(SelectedBlocksMask)
def _selected(mask: SelectedBlocksMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    raise InputError("which blocks are selected is known at run time only: this mask has no list of tiles")


@tile_lists.register(DilatedMask)
def _dilated(mask: DilatedMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    """Groups by kind; those that hold keys alone have key tiles, and no query tiles."""
    d, before = mask.dilation, mask.keys - mask.queries
    if before < 0:
        raise InputError(f"dilated attention needs as many keys as queries, not {mask.keys} for {mask.queries}")
    residue = np.arange(min(d, mask.keys))
    keys, past = -(-(mask.keys - residue) // d), -(-np.maximum(before - residue, 0) // d)
    kinds = Counter(zip((keys - past).tolist(), keys.tolist(), strict=True))
    number = {kind: k for k, kind in enumerate(kinds)}
    which = np.array([number[kind] for kind in zip((keys - past).tolist(), keys.tolist(), strict=True)], dtype=np.int64)
    by_kind = np.argsort(which, kind="stable")
    parts = [band_lists(BandMask(q, k, mask.left, mask.right), query_tile, key_tile) for q, k in kinds or [(0, 0)]]
    first_query = residue + past * d - before
    return repeated(parts, which[by_kind], first_query[by_kind], residue[by_kind], d)


@tile_lists.register(DocumentsMask)
def _documents(mask: DocumentsMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    lengths, which = np.unique(np.array(mask.lengths, dtype=np.int64), return_inverse=True)
    parts = [tile_lists(mask.make(int(length)), query_tile, key_tile) for length in lengths]
    begin = starts(lengths[which])[:-1]
    lists = repeated(parts, which, begin, begin)
    if all(part.order is None for part in parts):
        return lists
    orders = [np.arange(n) if p.order is None else p.order for p, n in zip(parts, lengths, strict=True)]
    return lists.gathered(np.concatenate([first + orders[k] for first, k in zip(begin, which, strict=True)]))


@tile_lists.register(WindowsMask)
def _windows(mask: WindowsMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    """Windows by kind, their tokens gathered."""
    tile = math.prod(query_tile), math.prod(key_tile)
    parts, counts, orders = [], [], []
    for kinds in itertools.product(*(_window_kinds(mask, axis) for axis in range(len(mask.shape)))):
        shape = tuple(places.shape[1] for _, places in kinds)
        tokens = math.prod(shape)
        sides = [np.arange(size) < far for size, (far, _) in zip(shape, kinds, strict=True)]

        def attends(i: Ints, j: Ints, shape: tuple[int, ...] = shape, sides: Any = sides) -> Any:
            queries, keys = np.unravel_index(i, shape), np.unravel_index(j, shape)
            together = np.ones(np.broadcast_shapes(i.shape, j.shape), dtype=bool)
            for q, k, side in zip(queries, keys, sides, strict=True):
                together &= side[q] == side[k]
            return together

        apart = any(0 < far < size for size, (far, _) in zip(shape, kinds, strict=True))
        dense = band_lists(BandMask(tokens, tokens), tile[:1], tile[1:])
        parts.append(matrix_lists(attends, (tokens, tokens), tile) if apart else dense)
        counts.append(math.prod(len(places) for _, places in kinds))
        orders.append(_window_tokens(mask.shape, [places for _, places in kinds]))
    which = np.repeat(np.arange(len(parts)), counts)
    begin = starts(np.array([part.query_extent[:, 2].sum() for part in parts])[which])[:-1]
    return repeated(parts, which, begin, begin).gathered(np.concatenate(orders))


def _window_kinds(mask: WindowsMask, axis: int) -> list[tuple[int, Ints]]:
    """(tokens before the wrap, coordinates [windows, tokens]) of every kind of window along an axis."""
    n, w, s = mask.shape[axis], mask.window[axis], mask.shift[axis] % mask.shape[axis]
    begin = np.arange(0, n, w)
    size = np.minimum(begin + w, n) - begin
    far = np.clip(n - s - begin, 0, size)
    kinds = dict.fromkeys(zip(far.tolist(), size.tolist(), strict=True))
    return [(f, (begin[(far == f) & (size == count)][:, None] + np.arange(count) + s) % n) for f, count in kinds]


def _window_tokens(shape: tuple[int, ...], places: list[Ints]) -> Ints:
    """Tokens of windows one after the other, each row-major, from their coordinates along each axis."""
    axes = len(shape)
    tokens = np.zeros((1,) * 2 * axes, dtype=np.int64)
    for axis, place in enumerate(places):
        spread = [1] * 2 * axes
        spread[axis], spread[axes + axis] = place.shape
        tokens = tokens + place.reshape(spread) * math.prod(shape[axis + 1 :])
    return tokens.reshape(-1)
