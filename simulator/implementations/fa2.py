"""FlashAttention-2 (Dao, 2307.08691): mma.sync kernels for compute capability 8.0 and later.

Tiles: csrc/flash_attn/src/flash_fwd_launch_template.h and flash_bwd_launch_template.h of Dao-AILab/flash-attention
(v2.7, no dropout). Query heads of a kv head are packed only for a single query, in the split-KV kernel.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BAND_AND_CHUNKS, Implementation, largest

SMALL_SHARED_MEMORY = 101 * 1024
"""Compute capability 8.6 and 8.9 (and 12.0) have about 100 KB a block, 8.0 and 9.0 more than 160."""


class FlashAttention2(Implementation):
    name = "fa2"
    title = "FlashAttention-2"
    source = "Dao-AILab/flash-attention, csrc/flash_attn"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mask_kinds = BAND_AND_CHUNKS

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d = largest(part.depth)
        small = (hardware.smem_bytes_per_block or 0) <= SMALL_SHARED_MEMORY
        if part.backward:
            if d <= 64:
                return (Tile((64,), (128,)),) if small else (Tile((128,), (128,)),)
            if d <= 96 or (d <= 128 and not small):
                return (Tile((64,), (128,)),)
            return (Tile((64,), (32 if small and d > 192 else 64,)),)
        if d <= 64:
            return (Tile((128,), (128,)),)
        if d <= 128:
            # On the small parts 64 x 64 where causal, 128 x 32 otherwise.
            return (Tile((64,), (64,)), Tile((128,), (32,))) if small else (Tile((128,), (64,)),)
        if d <= 192:
            return (Tile((128,), (64,)),)
        return (Tile((128,), (64,)),) if hardware.generation == "ampere" else (Tile((64,), (64,)),)


IMPLEMENTATION = FlashAttention2()
