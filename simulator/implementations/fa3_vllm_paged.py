"""FlashAttention-3 as vLLM builds it, over its paged cache (vllm-project/flash-attention).

It differs from upstream in tiles (hopper/tile_size.h: windows at head_dim 64; fp8 with sums in two levels), in that key
tiles of a window start at its first key (block.h, get_n_block_min_max), and in that the queries of 4, 8 or 16 heads of
a kv head are loaded by descriptor (static_switch.h, PACK_GQA_BLOCK_SWITCH).
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import largest
from .fa3 import is_local, step
from .fa3_paged import FlashAttention3Paged

BY_DESCRIPTOR = (4, 8, 16)


class FlashAttention3VllmPaged(FlashAttention3Paged):
    name = "fa3-vllm-paged"
    title = "FlashAttention-3, vLLM's build, paged cache"
    source = "vllm-project/flash-attention, hopper"
    generations = frozenset({"hopper"})
    follows = True
    fp8_head_dims = 0, 192
    """Above and up to which head dimensions fp8 operands are this kernel's."""

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        low, high = self.fp8_head_dims
        if DTYPE_BITS[part.dtype] < 16 and not low < largest(part.depth) <= high:
            return f"{self.name} takes fp8 operands of head_dim {low + 1} to {high}, not {int(largest(part.depth))}"
        return super().refuses_more(part, hardware, tile)

    def sides(self, part: Part) -> tuple[int, int]:
        d, local = largest(part.depth), is_local(part)
        if DTYPE_BITS[part.dtype] < 16:
            return (128, 64) if local and d > 192 else FP8[step(d)]
        return (192, 160) if local and d <= 64 else super().sides(part)

    def gathers(self, part: Part) -> bool:
        return largest(part.heads / part.kv_heads) not in BY_DESCRIPTOR or largest(part.depth) != largest(part.width)


FP8 = {64: (192, 128), 96: (128, 128), 128: (128, 192), 192: (128, 96), 256: (128, 128)}
"""Queries and keys a tile by head_dim."""

IMPLEMENTATION = FlashAttention3VllmPaged()
