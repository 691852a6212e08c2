"""Into how many pieces FlashAttention cuts the keys of a query tile, where query tiles alone leave units idle."""

from __future__ import annotations

from .algebra import Number, floor_div, maximum, minimum, where
from .splitting import flash_splits, flash_varlen_splits

MOST = 128
FEW_KEY_TILES = 4


def filling_splits(query_tiles: Number, longest_row: Number, units: int) -> tuple[Number, Number]:
    """FlashAttention-4's rule: as many splits as all query tiles of the call leave room for on idle units, at most one
    a key tile (flash_attn/cute/interface.py, num_splits_heuristic)."""
    most = minimum(minimum(floor_div(units, query_tiles), MOST), longest_row)
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
    most = flash_splits(heads * query_tiles, longest_row, units, MOST, uneven=True)
    return flash_varlen_splits(query_tiles * batch, heads, key_tiles, units, most), where(most > 1, 1, 0)
