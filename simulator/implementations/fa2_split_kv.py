"""FlashAttention-2's split-KV kernel ("flash decoding"): few queries, long caches.

Tiles 64 queries by 256, 128 or 64 keys for head_dim up to 64, 128, 256 (flash_fwd_launch_template.h,
run_mha_fwd_splitkv_dispatch). With one query the heads of a kv head take the place of queries
(seqlenq_ngroups_swapped, flash_api.cpp); only then, and without a window, are keys in pages split, by
num_splits_heuristic for twice the units, since two blocks fit on one. The exchange copies queries and results where
there are several sequences and kv heads.
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, where
from ..graph import Part
from ..hardware import Hardware
from ..splitting import MAX_SPLITS, SplitPlan, flash_splits
from ..tiling import Tile, TiledPart
from . import BANDS, SplitKV, largest, windowed

MERGED_ROWS = 4
"""Rows of a block of the merging kernel at head_dim 128 (run_flash_splitkv_fwd); 8 at 64."""


class FlashAttention2SplitKV(SplitKV):
    name = "fa2-split-kv"
    title = "FlashAttention-2, split-KV kernel"
    source = "Dao-AILab/flash-attention, csrc/flash_attn"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mask_kinds = BANDS

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d = largest(part.depth)
        return (Tile((64,), (256 if d <= 64 else 128 if d <= 128 else 64,)),)

    def packed_heads(self, part: Part) -> int:
        swapped = largest(part.tokens) == 1 and getattr(part.mask, "left", None) is None
        return super().packed_heads(part) if swapped else 1

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        assert tiled.summary is not None
        part = tiled.part
        items, tiles = tiled.summary.query_tiles * tiled.instances, tiled.summary.longest_row
        splits: Number = 1
        if tiled.tile.packed_heads > 1:
            splits = flash_splits(items, tiles, 2 * hardware.sm_count, MAX_SPLITS, uneven=False)
        each = ceil_div(tiles, splits)
        rows = part.batch * part.heads * part.tokens
        copied = (part.kv_heads > 1) & (part.batch > 1) & (tiled.tile.packed_heads > 1)
        return SplitPlan(items, ceil_div(tiles, each), each, splitting=where(splits > 1, 1, 0),
                         combine_blocks=ceil_div(rows, where(part.width <= 64, 2 * MERGED_ROWS, MERGED_ROWS)),
                         windowed=windowed(part), prepared=where(copied, 1, 0))  # fmt: skip


IMPLEMENTATION = FlashAttention2SplitKV()
