"""Lists of masks over one grid of flattened tokens: bands, chunks, global tokens, strides, blocks, pair rules.

Signatures are distances between the first query and the first key of a tile, clipped where they no longer matter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .band import BandMask
from .base import check_enumerable, flat_tile
from .blocks import BlockMask, RuleMask
from .listing import Flags, Ints, TileLists, flat_lists, intervals, matrix_lists
from .patterns import ChunkedMask, GlobalLocalMask, StridedMask


class Tiles:
    """Where tiles (t, c) of a grid lie. position: key position of the first query. first_key: the first key.
    rows, columns: tokens in them (fewer at the end). whole: none is missing."""

    def __init__(self, mask: Any, tile: tuple[int, int], t: Ints, c: Ints) -> None:
        bm, bn = tile
        self.tile = tile
        self.position, self.first_key = t * bm + mask.keys - mask.queries, c * bn
        self.rows, self.columns = np.minimum(mask.queries - t * bm, bm), np.minimum(mask.keys - c * bn, bn)
        self.whole = (self.rows == bm) & (self.columns == bn)

    def edge(self, distance: int) -> Ints:
        """Column that lies `distance` keys after row 0's own position; a row further down has it one column later.
        Past the columns or before the last row's it cuts nothing more."""
        bm, bn = self.tile
        cut: Ints = np.clip(self.position + distance - self.first_key, 1 - bm, bn)
        return cut

    def column(self, key: int) -> Ints:
        """Column of a key, clipped to the tile."""
        column: Ints = np.clip(key - self.first_key, 0, self.tile[1])
        return column


def _band_edges(mask: Any, tiles: Tiles) -> tuple[Ints, Ints]:
    """First column and end of row 0's band; where it has no such side, a value that cuts nothing."""
    bm, bn = tiles.tile
    nothing = np.zeros_like(tiles.position)
    first = nothing + 1 - bm if mask.left is None else tiles.edge(-mask.left)
    end = nothing + bn if mask.right is None else tiles.edge(mask.right + 1)
    return first, end


def _band_intervals(band: BandMask, bm: int, bn: int) -> tuple[list[Ints], list[Ints]]:
    """Begins and ends of the visited key tiles of every query tile: those with sinks, then those of the band."""
    n, m = band.queries, band.keys
    check_enumerable("query tiles", n // bm)
    first = np.arange(0, n, bm)
    position, last = first + m - n, np.minimum(first + bm, n) - 1 + m - n
    end = np.full(len(first), m) if band.right is None else np.clip(last + band.right + 1, 0, m)
    begin = np.zeros_like(first) if band.left is None else np.maximum(position - band.left, 0)
    end, begin = -(-end // bn), begin // bn
    sinks = np.minimum(-(-min(band.sinks, m) // bn), end)
    return [np.zeros_like(first), np.maximum(begin, sinks)], [sinks, end]


def band_lists(mask: BandMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    bm, bn = flat_tile(query_tile), flat_tile(key_tile)

    def classify(t: Ints, c: Ints) -> tuple[Flags, Ints]:
        tiles = Tiles(mask, (bm, bn), t, c)
        (first, end), sinks = _band_edges(mask, tiles), tiles.column(mask.sinks)
        full = tiles.whole & (end >= bn) & ((first + bm - 1 <= sinks) | (sinks >= bn))
        return full, np.stack([first, end, sinks, tiles.rows, tiles.columns], 1)

    ranges = intervals(*_band_intervals(mask, bm, bn))
    return flat_lists(mask.attends, (mask.queries, mask.keys), (bm, bn), ranges, classify)


def global_lists(mask: GlobalLocalMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    bm, bn, n = flat_tile(query_tile), flat_tile(key_tile), mask.n
    tokens = min(mask.tokens, n)

    def classify(t: Ints, c: Ints) -> tuple[Flags, Ints]:
        tiles = Tiles(mask, (bm, bn), t, c)
        (first, end), columns = _band_edges(mask, tiles), tiles.column(tokens)
        rows = np.clip(tokens - t * bm, 0, bm)
        # Rows after the global ones: their band, and the global keys.
        shared = ((first + bm - 1 <= columns) & (end + rows >= bn)) | (columns >= bn) | (rows >= bm)
        return tiles.whole & shared, np.stack([first, end, columns, rows, tiles.rows, tiles.columns], 1)

    begin, end = _band_intervals(BandMask(n, n, mask.left, mask.right, tokens), bm, bn)
    all_keys = np.arange(len(end[1])) * bm < tokens
    end[1] = np.where(all_keys, -(-n // bn), end[1])
    begin[1] = np.where(all_keys, end[0], begin[1])
    return flat_lists(mask.attends, (n, n), (bm, bn), intervals(begin, end), classify)


def chunked_lists(mask: ChunkedMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    bm, bn, chunk, n, m = flat_tile(query_tile), flat_tile(key_tile), mask.chunk, mask.queries, mask.keys

    def classify(t: Ints, c: Ints) -> tuple[Flags, Ints]:
        tiles = Tiles(mask, (bm, bn), t, c)
        # Tokens until the next chunk, on both sides, and how many chunks lie between.
        rows = np.minimum(chunk - tiles.position % chunk, bm)
        columns = np.minimum(chunk - tiles.first_key % chunk, bn)
        apart = tiles.position // chunk - tiles.first_key // chunk
        end = tiles.edge(1) if mask.causal else np.full_like(t, bn)
        full = tiles.whole & (apart == 0) & (rows == bm) & (columns == bn) & (end >= bn)
        return full, np.stack([rows, columns, apart, end, tiles.rows, tiles.columns], 1)

    check_enumerable("query tiles", n // bm)
    first = np.arange(0, n, bm)
    position, last = first + m - n, np.minimum(first + bm, n) - 1 + m - n
    # Chunks follow each other without a gap: what a tile's queries see together is one range of keys.
    end = last + 1 if mask.causal else np.minimum((last // chunk + 1) * chunk, m)
    ranges = intervals([np.maximum(position, 0) // chunk * chunk // bn], [-(-np.maximum(end, 0) // bn)])
    return flat_lists(mask.attends, (n, m), (bm, bn), ranges, classify)


def strided_lists(mask: StridedMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    bm, bn, window, stride = flat_tile(query_tile), flat_tile(key_tile), mask.window, mask.stride
    n, m = mask.queries, mask.keys

    def distances(tiles: Tiles) -> tuple[Ints, Ints]:
        """Between query and key, of the pairs of a tile: every integer from low to high."""
        distance = tiles.position - tiles.first_key
        return distance - tiles.columns + 1, distance + tiles.rows - 1

    def visits(t: Ints, c: Ints) -> Flags:
        return mask.some(*distances(Tiles(mask, (bm, bn), t, c)))

    def classify(t: Ints, c: Ints) -> tuple[Flags, Ints]:
        tiles = Tiles(mask, (bm, bn), t, c)
        low, high = distances(tiles)
        full = tiles.whole & (low >= 0) & ((high < window) | (stride == 1))
        # Before the window the distance matters modulo the stride only.
        distance = tiles.position - tiles.first_key
        far = distance - bn + 1 >= window
        distance = np.where(far, distance % stride, distance)
        return full, np.stack([far, distance, tiles.rows, tiles.columns], 1)

    check_enumerable("query tiles", n // bm)
    last = np.minimum(np.arange(0, n, bm) + bm, n) + m - n
    ranges = intervals([np.zeros_like(last)], [-(-np.clip(last, 0, m) // bn)])
    return flat_lists(mask.attends, (n, m), (bm, bn), ranges, classify, visits)


def block_lists(mask: BlockMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    bm, bn = math.prod(query_tile), math.prod(key_tile)
    (bq, bk), (rows, columns) = mask.block, mask.blocks.shape
    visited, full = mask.grid(bm, bn)
    # Blocks that a tile may touch along a side.
    down, across = np.arange((bm + bq - 2) // bq + 1), np.arange((bn + bk - 2) // bk + 1)

    def classify(t: Ints, c: Ints) -> tuple[Flags, Ints]:
        whole = full[t, c]
        signature = np.zeros((len(t), 5 + -(-len(down) * len(across) // 64)), dtype=np.int64)
        some = np.flatnonzero(~whole)
        t, c = t[some], c[some]
        tiles = Tiles(mask, (bm, bn), t, c)
        r = np.minimum((t * bm // bq)[:, None] + down, rows - 1)
        k = np.minimum((c * bn // bk)[:, None] + across, columns - 1)
        signature[some, 5:] = _bits(mask.blocks[r[:, :, None], k[:, None, :]].reshape(len(t), len(down) * len(across)))
        end = tiles.edge(1) if mask.causal else np.full_like(t, bn)
        signature[some, :5] = np.stack([t * bm % bq, c * bn % bk, end, tiles.rows, tiles.columns], 1)
        return whole, signature

    owner, first = np.nonzero(visited)
    ranges = owner, first, np.ones_like(first)
    return flat_lists(mask.attends, (mask.queries, mask.keys), (bm, bn), ranges, classify)


def _bits(flags: Flags) -> NDArray[np.int64]:
    """Rows of flags as rows of 64-bit numbers."""
    octets = np.packbits(flags, axis=1)
    return np.ascontiguousarray(np.pad(octets, [(0, 0), (0, -octets.shape[1] % 8)])).view(np.int64)


def rule_lists(mask: RuleMask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    return matrix_lists(mask.attends, (mask.queries, mask.keys), (math.prod(query_tile), math.prod(key_tile)))
