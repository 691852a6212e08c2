"""FlashAttention-3 for few queries: packed heads, keys split over the chip (hopper/heuristics.h)."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS, SplitKV, largest


class FlashAttention3SplitKV(SplitKV):
    name = "fa3-split-kv"
    title = "FlashAttention-3, split-KV"
    source = "Dao-AILab/flash-attention, hopper"
    generations = frozenset({"hopper"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BANDS

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d = largest(part.depth)
        return (Tile((64,), (128 if d <= 128 else 96 if d <= 192 else 80,)),)


IMPLEMENTATION = FlashAttention3SplitKV()
