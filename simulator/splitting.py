"""How kernels cut the keys of a query tile into splits where query tiles alone leave units idle: decode kernels, whose
items are one query tile each, and FlashAttention's prefill.

The rules are those of the libraries' host code; everything works on ints and on arrays of problems alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .algebra import Number, ceil_div, clip, floor_div, maximum, minimum, where

FEW_KEY_TILES = 4
MAX_SPLITS = 128
"""FlashAttention's limit (csrc/flash_attn/flash_api.cpp); planners of other libraries stay below it too."""


@dataclass(frozen=True, slots=True, eq=False)
class SplitPlan:
    """What is launched for one part.

    items: pairs of a query tile and its keys. splits: parts that the keys of each are cut into. tiles_each: key tiles
    of the longest part. resident: blocks that share a compute unit. splitting: 1 where the kernel is one that may
    split (another epilogue, a second kernel after it), whether it does or not. combine_blocks: blocks of that second
    kernel. windowed: 1 where a window cuts keys off. padding: bytes from memory of keys that no query attends to (tiles
    loaded whole, however few of their keys exist). prepared: 1 where other kernels must ready the operands first.
    searching: 1 where every block passes over the batch until it finds its sequence, 0 where that is planned once.
    merging: rows of 128 columns that a block merges by itself, whether its item is split or only might have been.
    """

    items: Number
    splits: Number
    tiles_each: Number
    resident: Number = 1
    splitting: Number = 0
    combine_blocks: Number = 0
    windowed: Number = 0
    padding: Number = 0
    prepared: Number = 0
    searching: Number = 0
    merging: Number = 0


def fill(items: Number, tiles: Number, units: int, most: int) -> Number:
    """Splits of an item of so many key tiles: enough to fill the chip, at least two tiles each."""
    return clip(floor_div(units, items), 1, maximum(minimum(floor_div(tiles, 2), most), 1))


def flash_splits(items: Number, tiles: Number, units: int, most: int, *, uneven: bool) -> Number:
    """FlashAttention's num_splits_heuristic (hopper/heuristics.h; csrc/flash_attn/flash_api.cpp): none where the items
    almost fill the units, else the fewest of those within 85 % of the best filled last round.

    uneven: version 3, where any number of splits is eligible and up to four key tiles are not split; version 2 passes
    over numbers that leave the longest split as long as one split fewer does.

    >>> flash_splits(48, 64, 108, 128, uneven=False), flash_splits(8, 4, 132, 128, uneven=True)
    (2, 1)
    """
    whole = type(items) is int and type(tiles) is int
    n, k = (np.asarray(x, np.float64)[..., None] for x in (items, tiles))
    counts = np.arange(1.0, most + 1)
    rounds = n * counts / units
    filled = np.where(counts <= np.minimum(units, k), rounds / np.ceil(rounds), 0.0)
    if not uneven:
        filled = np.where((counts > 1) & (np.ceil(k / counts) == np.ceil(k / np.maximum(counts - 1, 1))), 0.0, filled)
    best: Any = counts[np.argmax(filled >= 0.85 * filled.max(axis=-1, keepdims=True), axis=-1)]
    few = np.asarray(tiles) <= 4 if uneven else np.asarray(False)
    best = np.where((np.asarray(items) >= 0.8 * units) | few, 1.0, best)
    return int(best) if whole else best


def flash_varlen_splits(items: Number, heads: Number, tiles: Number, units: int, most: Number) -> Number:
    """Splits that FlashAttention-3 plans on the chip for sequences of their own lengths, `most` at most: as many key
    tiles a unit as there are, and 10 % more (hopper/flash_prepare_scheduler.cu). items: of one head; heads: that a
    sequence is run for, packed ones together."""
    each = ceil_div(items * tiles * 1.1 * heads, units)
    return clip(ceil_div(tiles, each), 1, most)


def filling_splits(query_tiles: Number, longest_row: Number, units: int) -> tuple[Number, Number]:
    """FlashAttention-4's rule: as many splits as all query tiles of the call leave room for on idle units, at most one
    a key tile (flash_attn/cute/interface.py, num_splits_heuristic)."""
    most = minimum(minimum(floor_div(units, query_tiles), MAX_SPLITS), longest_row)
    splits = where(longest_row > FEW_KEY_TILES, maximum(most, 1), 1)
    return splits, where(splits > 1, 1, 0)


def ragged_splits(
    query_tiles: Number, instances: Number, batch: Number, longest_row: Number, key_tiles: Number, units: int
) -> tuple[Number, Number]:
    """FlashAttention-3's rule for ragged batches: splits of each query tile, and whether the kernel runs with its
    merging pass (1 or 0), which the host decides as if one sequence were alone (hopper/flash_api.cpp, get_num_splits).

    query_tiles, longest_row: of one sequence and kv head; instances: of those.
    """
    heads = instances / batch
    most = flash_splits(heads * query_tiles, longest_row, units, MAX_SPLITS, uneven=True)
    return flash_varlen_splits(query_tiles * batch, heads, key_tiles, units, most), where(most > 1, 1, 0)
