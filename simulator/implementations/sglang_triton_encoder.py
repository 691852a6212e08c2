"""SGLang's Triton attention of vision encoders: without a mask, head_dim padded to a power of two.

Tiles: python/sglang/kernels/ops/attention/prefill_attention.py of sgl-project/sglang, context_attention_fwd: 128 x 128
from compute capability 9 on, else 64 x 64; 4 warps up to head_dim 64, else 8; one stage; every tile is masked.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..resources import padded
from ..tiling import FlashTile, Tile
from . import BANDS, Implementation, largest
from .sglang_triton import warps_of


class SglangTritonEncoder(Implementation):
    name = "sglang-triton-encoder"
    title = "SGLang's Triton attention of vision encoders"
    source = "sgl-project/sglang, prefill_attention.py"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    directions = ("forward",)
    mask_kinds = BANDS
    offered = False

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        side = 64 if hardware.generation in ("ampere", "ada") else 128
        depth, width = (padded(int(largest(d))) for d in (part.depth, part.width))
        warps = warps_of(part)
        return (FlashTile((side,), (side,), head_dim=depth, v_dim=width, spread=True, warps=warps),)

    def masked(self, part: Part, tile: Tile) -> str:
        return "all"


IMPLEMENTATION = SglangTritonEncoder()
