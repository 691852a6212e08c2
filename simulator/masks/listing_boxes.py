"""Lists of neighbourhoods: products of per-axis lists for tiles that are boxes, runs for those of flattened tokens."""

from __future__ import annotations

import itertools
import math

import numpy as np

from .base import check_enumerable
from .listing import (
    ENTRIES,
    ENTRIES_AT_ONCE,
    FULL,
    Flags,
    Ints,
    Ints32,
    Ranges,
    TileLists,
    Triple,
    Words,
    flat_lists,
    intervals,
    pack,
    pieces,
    repeated,
    starts,
    unpack,
)
from .neighbourhood import Axis, NeighbourhoodMask
from .runs import RUNS_AT_ONCE, Box, covered, expand

UNIT = Axis(1, 1, 1, False)
"""The axis that a layout of fewer than three axes is filled up with."""


def neighbourhood_lists(mask: NeighbourhoodMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    """Dilation groups one after the other along each axis; those of flattened tiles by kind, and gathered."""
    axes = range(len(mask.shape))
    if mask.flat(query_tile, key_tile):
        return _flattened(mask, query_tile[0], key_tile[0])
    along = []
    for axis, q, k in zip(axes, query_tile, key_tile, strict=True):
        kinds, residues = mask.groups(axis), np.arange(min(mask.dilation[axis], mask.shape[axis]))
        parts = [axis_lists(windows, q, k) for _, windows in kinds]
        which = np.repeat(np.arange(len(kinds)), [n for n, _ in kinds])
        along.append(repeated(parts, which, residues, residues, mask.dilation[axis]))
    return product(along, mask.shape)


def axis_lists(axis: Axis, query: int, key: int) -> TileLists:
    """Lists along one axis of one dilation group."""
    length = axis.length
    check_enumerable("tiles along an axis", length // query)

    def attends(i: Ints, j: Ints) -> Flags:
        inside: Flags = (j >= axis.start(i)) & (j < axis.end(i))
        return inside

    def classify(t: Ints, c: Ints) -> tuple[Flags, Ints]:
        i, j = t * query, c * key
        last = np.minimum(i + query, length) - 1
        rows, columns = last + 1 - i, np.minimum(length - j, key)
        first, start, end = axis.start(i), axis.start(last), axis.end(i)
        full = (rows == query) & (columns == key) & (j >= start) & (j + key <= end)
        # Queries of one tile that share their window's start have patterns that depend on where it lies in the tile;
        # else the place of the tile decides, or near no end of the axis the distance alone.
        shared = first == start
        inside = ~shared & (first > 0) & (axis.end(last) < length) & (last + axis.stride < length)
        place = [
            np.select([shared, inside], [np.clip(first - j, 0, key), i - j], i),
            np.select([shared, inside], [np.clip(end - j, -query, key), i % axis.stride], j),
        ]
        return full, np.stack([shared, inside, *place, rows, columns], 1)

    i = np.arange(0, length, query)
    last = np.minimum(i + query, length) - 1
    # Starts and ends never decrease, and neighbouring windows touch: the union over a tile is one interval.
    ranges = intervals([axis.start(i) // key], [-(-axis.end(last) // key)])
    return flat_lists(attends, (length, length), (query, key), ranges, classify)


def product(along: list[TileLists], shape: tuple[int, ...]) -> TileLists:
    """Lists of boxes from those along every axis: a pair attends if it does along all of them."""
    lists = [axis_lists(UNIT, 1, 1)] * (3 - len(along)) + along
    lengths = (1,) * (3 - len(along)) + shape
    strides = (lengths[1] * lengths[2], lengths[2], 1)
    check_enumerable("tokens", math.prod(lengths), 2**31 - 1)
    check_enumerable("visited tiles", math.prod(len(part.key) for part in lists), ENTRIES)
    first, second, third = (np.diff(part.row_start) for part in lists)
    counts = (first[:, None, None] * second[:, None] * third).reshape(-1)
    numbers, patterns = _pattern_products(lists)
    keys, found = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)]
    row = np.stack(np.unravel_index(np.arange(len(counts)), [len(part.query_origin) for part in lists]))
    columns = [len(part.key_origin) for part in lists]
    for some in pieces(counts, ENTRIES_AT_ONCE):
        owner, at = expand(np.zeros(some.stop - some.start, np.int64), counts[some])
        key, pattern = np.zeros(len(at), np.int64), np.zeros(len(at), np.int32)
        # Digits of `at`: which entry along each axis, the last one fastest.
        left = counts[some][owner]
        for part, tile, number, width in zip(lists, row[:, some], numbers, columns, strict=True):
            begin, stop = part.row_start[tile][owner], part.row_start[tile + 1][owner]
            left //= stop - begin
            entry = begin + at // left
            at %= left
            key = key * width + part.key[entry]
            pattern += number[entry]
        keys.append(key.astype(np.int32))
        found.append(np.where(pattern == len(patterns), FULL, pattern).astype(np.int32))
    steps = _triple([part.query_step[2] * stride for part, stride in zip(lists, strides, strict=True)])
    return TileLists(
        _triple([part.query_sides[2] for part in lists]), _triple([part.key_sides[2] for part in lists]), steps, steps,
        *_boxes([(part.query_origin, part.query_extent) for part in lists], strides),
        *_boxes([(part.key_origin, part.key_extent) for part in lists], strides), starts(counts),
        np.concatenate(keys), np.concatenate(found), patterns, math.prod(part.grid for part in lists),
    )  # fmt: skip


def _triple(values: list[int]) -> Triple:
    first, second, third = values
    return first, second, third


def _boxes(along: list[tuple[Ints32, Ints32]], strides: Triple) -> tuple[Ints32, Ints32]:
    """Origins and extents of all boxes from those along the axes."""
    origins = [origin.astype(np.int64) * stride for (origin, _), stride in zip(along, strides, strict=True)]
    total = origins[0][:, None, None] + origins[1][:, None] + origins[2]
    extents = np.meshgrid(*(extent[:, 2] for _, extent in along), indexing="ij")
    return total.reshape(-1).astype(np.int32), np.stack(extents, -1).reshape(-1, 3)


def _pattern_products(lists: list[TileLists]) -> tuple[list[Ints32], Words]:
    """What each entry along an axis adds to the number of a box's pattern, and the patterns of boxes.

    Every combination of per-axis patterns occurs, a full one among them; that of full ones alone is left out, and
    comes last.
    """
    sides = [part.query_sides[2] for part in lists], [part.key_sides[2] for part in lists]
    bm, bn = math.prod(sides[0]), math.prod(sides[1])
    full = [bool((part.pattern == FULL).any()) for part in lists]
    kinds = [len(part.patterns) + some for part, some in zip(lists, full, strict=True)]
    check_enumerable("words of bit patterns", math.prod(kinds) * bm * -(-bn // 32), ENTRIES)
    slots = np.unravel_index(np.arange(bn), sides[1])
    patterns = np.full((1, 1, max(1, -(-bn // 32))), 2**32 - 1, dtype=np.uint32)
    numbers = []
    for axis, part in enumerate(lists):
        flags = unpack(part.patterns, sides[1][axis])
        if full[axis]:
            flags = np.concatenate([flags, np.ones((1, *flags.shape[1:]), dtype=bool)])
        # The bits of a box's keys by their place along this axis: the box's pattern is the "and" of the three.
        words = pack(flags[:, :, slots[axis]])
        patterns = patterns[:, None, :, None] & words[None, :, None, :]
        patterns = patterns.reshape(math.prod(kinds[: axis + 1]), -1, words.shape[-1])
        number = np.where(part.pattern == FULL, len(part.patterns), part.pattern) * math.prod(kinds[axis + 1 :])
        numbers.append(number.astype(np.int32))
    return numbers, patterns[: len(patterns) - all(full)]


def box_lists(box: Box, query: int, key: int) -> TileLists:
    """Lists of tiles of consecutive tokens, row-major, of one dilation group."""
    _, lines, width = box.shape
    line_of = np.arange(min((query - 1) // width + 2, query))
    planes_wide, lines_wide = (key - 1) // (lines * width) + 2, (key - 1) // width + 2

    def attends(i: Ints, j: Ints) -> Flags:
        inside = np.ones(np.broadcast_shapes(i.shape, j.shape), dtype=bool)
        for q, k, start, end in zip(
            np.unravel_index(i, box.shape), np.unravel_index(j, box.shape), box.start, box.end, strict=True
        ):
            inside &= (k >= start[q]) & (k < end[q])
        return inside

    def classify(t: Ints, c: Ints) -> tuple[Flags, Ints]:
        i, j = t * query, c * key
        last_query, last_key = np.minimum(i + query, box.tokens) - 1, np.minimum(j + key, box.tokens) - 1
        # The lines that the queries cover, and their windows relative to the first line and plane of the keys.
        line = np.minimum((i // width)[:, None] + line_of, (last_query // width)[:, None])
        plane, row = line // lines, line % lines
        key_plane, key_row = j // width // lines, j // width % lines
        wraps = last_key // (lines * width) > key_plane
        limit = np.where(wraps, lines, lines_wide)[:, None]
        from_row = np.where(wraps, 0, key_row)[:, None]
        signature = [
            i % width, last_query - i, j % width, last_key - j, np.where(wraps, key_row, -1),
            *np.clip(box.start[1][row] - from_row, 0, limit).T, *np.clip(box.end[1][row] - from_row, 0, limit).T,
            *np.clip(box.start[0][plane] - key_plane[:, None], 0, planes_wide).T,
            *np.clip(box.end[0][plane] - key_plane[:, None], 0, planes_wide).T,
        ]  # fmt: skip
        return np.zeros(len(t), dtype=bool), np.stack(signature, 1).astype(np.int32)

    tokens = (box.tokens, box.tokens)
    return flat_lists(attends, tokens, (query, key), _box_ranges(box, query, key), classify)


def _box_ranges(box: Box, query: int, key: int) -> Ranges:
    """Visited key tiles of every query tile, some query tiles at a time."""
    tiles, columns = -(-box.tokens // query), -(-box.tokens // key)
    lines = min((query - 1) // box.shape[2] + 2, query)
    runs = int((box.end[0] - box.start[0]).max()) * int((box.end[1] - box.start[1]).max())
    block = max(1, RUNS_AT_ONCE // (lines * runs))
    found = []
    for first in range(0, tiles, block):
        t = np.arange(first, min(first + block, tiles))
        owner, begin, count = covered(box, t, query, key, columns)
        some = count > 0
        found.append((owner[some] + first, begin[some], count[some]))
    owner, begin, count = (np.concatenate(part) for part in zip(*found, strict=True))
    return owner, begin, count


def _flattened(mask: NeighbourhoodMask, query: int, key: int) -> TileLists:
    """Dilation groups, one kind after the other; their tokens are gathered where there are several."""
    boxes = list(mask.boxes())
    which = np.repeat(np.arange(len(boxes)), [n for n, _ in boxes])
    sizes = np.array([box.tokens for _, box in boxes])[which]
    begin = starts(sizes)[:-1]
    lists = repeated([box_lists(box, query, key) for _, box in boxes], which, begin, begin)
    return lists if len(which) == 1 else lists.gathered(_group_order(mask))


def _group_order(mask: NeighbourhoodMask) -> Ints:
    """Tokens of the dilation groups in the order of `mask.boxes`."""
    along = []
    for axis, d in enumerate(mask.dilation):
        groups = mask.groups(axis)
        residues = starts(np.array([n for n, _ in groups]))
        places = [np.arange(windows.length) * d for _, windows in groups]
        along.append([(np.arange(a, b), p) for (a, b), p in zip(itertools.pairwise(residues), places, strict=True)])
    order = []
    for kinds in itertools.product(*along):
        # Residues of the groups along all axes first, then the places inside a group.
        tokens = np.zeros(1, dtype=np.int64)
        for axis, part in enumerate([r for r, _ in kinds] + [p for _, p in kinds]):
            stride = math.prod(mask.shape[axis % len(mask.shape) + 1 :])
            tokens = np.add.outer(tokens, part * stride)
        order.append(tokens.reshape(-1))
    return np.concatenate(order)
