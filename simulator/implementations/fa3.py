"""FlashAttention-3 (Shah et al., 2407.08608): warp-specialised wgmma kernels for Hopper.

Tiles: hopper/tile_size.h of Dao-AILab/flash-attention, tile_size_fwd_sm90; backward: flash_bwd_launch_template.h.
Packing the query heads of a kv head (heuristics.h, should_pack_gqa) matters for few queries, where the split-KV form
is the faster one: it is modelled there.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import BAND_AND_CHUNKS, Implementation, largest, plain_dense


class FlashAttention3(Implementation):
    name = "fa3"
    title = "FlashAttention-3"
    source = "Dao-AILab/flash-attention, hopper"
    generations = frozenset({"hopper"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BAND_AND_CHUNKS

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if part.backward and DTYPE_BITS[part.dtype] < 16:
            return "fa3 has no fp8 backward pass"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d = largest(part.depth)
        if part.backward:
            return (Tile((128,), (128,)),) if d <= 64 else (Tile((80,), (128,)),) if d <= 128 else (Tile((64,), (80,)),)
        masked = not plain_dense(part)
        if DTYPE_BITS[part.dtype] < 16:
            sides = (192, 160) if d <= 64 else (128, 192) if d <= 96 else (128, 224 if not masked else 192)
            if d > 128:
                sides = (128, 160) if d <= 192 else (128, 128)
        elif d <= 64:
            sides = (192, 128 if masked else 192)
        elif d <= 96:
            sides = (192, 128 if masked else 144)
        elif d <= 128:
            sides = (128, 128 if masked else 176)
        elif d <= 192:
            sides = (128, 96 if masked else 112)
        else:
            sides = (128, 64 if masked else 80)
        return (Tile((sides[0],), (sides[1],)),)


IMPLEMENTATION = FlashAttention3()
