"""Tiles of flattened tokens over boxes of up to three axes: exact counts from runs of consecutive keys.

A query tile of consecutive tokens covers pieces of rows of the last axis. What one piece attends to is a box; a box
is runs of consecutive tokens, and a run covers a range of key tiles. Query tiles are taken in blocks, so that memory
stays bounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
RUNS_AT_ONCE = 2**19
"""Runs that are held at a time, about 100 bytes each."""


@dataclass(frozen=True, slots=True)
class Box:
    """Windows along three axes: query (a, b, c) attends to the box from start to end along each."""

    start: tuple[Ints, Ints, Ints]
    end: tuple[Ints, Ints, Ints]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.start[0]), len(self.start[1]), len(self.start[2])

    @property
    def tokens(self) -> int:
        a, b, c = self.shape
        return a * b * c


def expand(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """(owner, value): for every k the values first[k] .. first[k] + count[k] - 1."""
    owner = np.repeat(np.arange(len(first)), count)
    offset = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return owner, first[owner] + offset


def flattened_rows(box: Box, query: int, key: int) -> tuple[Ints, Ints, int]:
    """(visited, full) key tiles of every query tile of `query` consecutive tokens, and how many query tiles visit the
    last key tile."""
    tiles = -(-box.tokens // query)
    columns = -(-box.tokens // key)
    width = box.shape[2]
    pieces = min((query - 1) // width + 2, query)
    runs = int((box.end[0] - box.start[0]).max()) * int((box.end[1] - box.start[1]).max())
    block = max(1, RUNS_AT_ONCE // (pieces * runs))
    visited = np.empty(tiles, dtype=np.int64)
    full = np.empty(tiles, dtype=np.int64)
    at_end = 0
    for first in range(0, tiles, block):
        t = np.arange(first, min(first + block, tiles))
        owner, begin, gained = covered(box, t, query, key, columns)
        visited[t] = np.bincount(owner, weights=gained, minlength=len(t))
        full[t] = _full(box, t, query, key)
        at_end += int(np.count_nonzero((gained > 0) & (begin + gained == columns)))
    return visited, full, at_end


def covered(box: Box, t: Ints, query: int, key: int, columns: int) -> tuple[Ints, Ints, Ints]:
    """(index into t, first key tile, how many) of disjoint ranges: the key tiles that the runs of each query tile
    touch, in order."""
    _, rows, width = box.shape
    begin, stop = t * query, np.minimum((t + 1) * query, box.tokens)
    # Pieces: the rows of the last axis that each query tile covers, and the part of them.
    owner, row = expand(begin // width, (stop - 1) // width - begin // width + 1)
    left = np.maximum(begin[owner] - row * width, 0)
    right = np.minimum(stop[owner] - row * width, width) - 1
    low, high = box.start[2][left], box.end[2][right]
    plane, line = row // rows, row % rows
    piece, key_plane = expand(box.start[0][plane], box.end[0][plane] - box.start[0][plane])
    first_line, end_line = box.start[1][line][piece], box.end[1][line][piece]
    low, high, owner = low[piece], high[piece], owner[piece]
    # Runs of neighbouring lines that leave less than a tile between them touch neighbouring tiles: one range.
    joined = width - (high - low) < key
    many = np.where(joined, 1, end_line - first_line)
    which, line_of = expand(first_line, many)
    last_line = np.where(joined[which], end_line[which] - 1, line_of)
    run_begin = (key_plane[which] * rows + line_of) * width + low[which]
    run_end = (key_plane[which] * rows + last_line) * width + high[which]
    # Query tiles are laid end to end, so that one sweep over sorted ranges counts what each of them covers.
    base = owner[which] * columns
    run_begin, run_end = base + run_begin // key, base - (-run_end // key)
    order = np.argsort(run_begin, kind="stable")
    run_begin, run_end = run_begin[order], run_end[order]
    reached = np.maximum.accumulate(np.concatenate(([0], run_end[:-1])))
    gained = np.maximum(run_end - np.maximum(run_begin, reached), 0)
    return owner[which][order], np.maximum(run_begin, reached) - base[order], gained


def _full(box: Box, t: Ints, query: int, key: int) -> Ints:
    """Key tiles inside the box that all queries of a tile share."""
    _, rows, width = box.shape
    begin = t * query
    whole = begin + query <= box.tokens
    last = np.minimum(begin + query, box.tokens) - 1
    a0, a1 = begin // (rows * width), last // (rows * width)
    b0, b1 = begin // width % rows, last // width % rows
    c0, c1 = begin % width, last % width
    one_plane, one_row = a0 == a1, begin // width == last // width
    # Along an axis that wraps inside the tile, both ends of the axis are among its coordinates.
    low = [a1, np.where(one_plane, b1, rows - 1), np.where(one_row, c1, width - 1)]
    high = [a0, np.where(one_plane, b0, 0), np.where(one_row, c0, 0)]
    s = [box.start[axis][low[axis]] for axis in range(3)]
    e = [box.end[axis][high[axis]] for axis in range(3)]
    count = np.zeros(len(t), dtype=np.int64)
    some = whole & (s[0] < e[0]) & (s[1] < e[1]) & (s[2] < e[2])
    wide = some & (s[2] == 0) & (e[2] == width)
    deep = wide & (s[1] == 0) & (e[1] == rows)
    count += np.where(deep, _tiles_between(s[0] * rows * width, e[0] * rows * width, key), 0)
    flat = np.flatnonzero(wide & ~deep)
    if len(flat):
        owner, plane = expand(s[0][flat], e[0][flat] - s[0][flat])
        first, end = plane * rows + s[1][flat][owner], plane * rows + e[1][flat][owner]
        lines = _tiles_between(first * width, end * width, key)
        count[flat] += np.bincount(owner, weights=lines, minlength=len(flat)).astype(np.int64)
    narrow = np.flatnonzero(some & ~wide & (e[2] - s[2] >= key))
    if len(narrow):
        owner, plane = expand(s[0][narrow], e[0][narrow] - s[0][narrow])
        source = narrow[owner]
        line_owner, line = expand(s[1][source], e[1][source] - s[1][source])
        at = (plane[line_owner] * rows + line) * width
        source = source[line_owner]
        found = _tiles_between(at + s[2][source], at + e[2][source], key)
        count += np.bincount(source, weights=found, minlength=len(t)).astype(np.int64)
    return count


def _tiles_between(begin: Ints, end: Ints, key: int) -> Ints:
    """Whole tiles inside [begin, end)."""
    found: Ints = np.maximum(end // key - -(-begin // key), 0)
    return found
