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
        dense = plain_dense(part)
        local = getattr(part.mask, "left", None) is not None
        if part.backward:
            sides = BACKWARD[_step(d)]
            return (Tile((64 if d > 96 and d <= 128 and not dense else sides[0],), (sides[1],)),)
        if DTYPE_BITS[part.dtype] < 16:
            rows, keys = FP8[_step(d)]
            return (Tile((rows,), (64 if local and d > 192 else keys,)),)
        rows = 192 if d <= 96 else 128
        keys = FORWARD[_step(d)][0 if dense else 2 if local else 1]
        if 128 < d <= 192 and largest(part.width) > 128 and not local:
            keys = 112
        return (Tile((rows,), (keys,)),)


FORWARD = {64: (192, 128, 128), 96: (144, 144, 128), 128: (176, 128, 128), 192: (128, 128, 96), 256: (80, 80, 64)}
"""Keys a tile by head_dim: neither causal nor local, causal, local (tile_size_fwd_sm90)."""
FP8 = {64: (192, 160), 96: (192, 128), 128: (128, 224), 192: (128, 160), 256: (128, 128)}
BACKWARD = {64: (128, 128), 96: (64, 128), 128: (80, 128), 192: (64, 96), 256: (64, 80)}
"""Queries and keys a tile; causal at head_dim 128 takes 64 queries (flash_bwd_launch_template.h)."""


def _step(d: float) -> int:
    """The head_dim a kernel is compiled for: the next of 64, 96, 128, 192, 256."""
    return next(step for step in FORWARD if d <= step)


IMPLEMENTATION = FlashAttention3()
