"""FlashAttention-3 for few queries: packed heads, keys split over the chip.

Facts from hopper/ of Dao-AILab/flash-attention. Tiles: tile_size.h, for keys in pages that no descriptor loads
(flash_api.cpp, get_pagedkv_tma: so few queries never take one). Splits: at most what heuristics.h gives a batch of one
sequence, then as many as share the key tiles out evenly (flash_prepare_scheduler.cu), counted over the whole cache
even where a window cuts it; more than 992 sequences are not split. Heads are packed wherever keys may be split or lie
in such pages (get_pack_gqa). Merging: blocks of 8 rows by 128 columns, or of 16 by 64 (flash_fwd_combine_launch_
template.h). Keys and values of unequal widths cost SGLang 8 us more, whatever their number (public tables).
"""

from __future__ import annotations

from typing import ClassVar

from ..algebra import Number, ceil_div, clip, minimum, where
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..splitting import MAX_SPLITS, SplitPlan, flash_splits, flash_varlen_splits
from ..tiling import Tile, TiledPart
from . import BANDS, SplitKV, largest, windowed

PLANNED = 992
"""Sequences of a batch that one block plans for."""


class FlashAttention3SplitKV(SplitKV):
    name = "fa3-split-kv"
    title = "FlashAttention-3, split-KV"
    source = "Dao-AILab/flash-attention, hopper"
    generations = frozenset({"hopper"})
    dtypes: ClassVar[tuple[str, ...]] = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BANDS

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d, local = largest(part.depth), getattr(part.mask, "left", None) is not None
        if DTYPE_BITS[part.dtype] < 16:
            keys = (128 if local else 160) if 128 < d <= 192 else (64 if local else 128) if d > 192 else 160
        else:
            keys = 128 if d <= 128 else 96 if d <= 192 else 64 if local else 80
        return (Tile((192 if d <= 64 else 128,), (keys,)),)

    def most(self, part: Part, tiles: Number, heads: Number, units: int) -> Number:
        """Bound of the splits of a batch whose sequences have so many key tiles that are attended to."""
        one = flash_splits(heads, tiles, units, MAX_SPLITS, uneven=True)
        whole = flash_splits(part.batch * heads, tiles, units, MAX_SPLITS, uneven=True)
        return where(part.batch <= PLANNED, one, whole)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        assert tiled.summary is not None
        part, units, side = tiled.part, hardware.sm_count, tiled.columns
        items = tiled.summary.query_tiles * tiled.instances
        heads, keys = items / part.batch, part.keys
        left = getattr(part.mask, "left", None)
        seen = keys if left is None else minimum(keys, left + 1 + tiled.rows)
        most = self.most(part, ceil_div(seen, side), heads, units)
        splits = where(part.batch <= PLANNED,
                       flash_varlen_splits(part.batch, heads, ceil_div(keys, side), units, most), most)  # fmt: skip
        columns = where(part.width <= 64, 16, 8)
        blocks = ceil_div(part.heads * part.tokens, columns) * part.batch * ceil_div(part.width, 128)
        return SplitPlan(items, splits, ceil_div(tiled.summary.longest_row, splits), splitting=clip(most - 1, 0, 1),
                         combine_blocks=blocks, windowed=windowed(part),
                         prepared=where(part.depth == part.width, 0, 1))  # fmt: skip


IMPLEMENTATION = FlashAttention3SplitKV()
