"""SGLang's Triton decode kernel over latents where a chip holds one head: 64 keys a tile, on vector lanes."""

from __future__ import annotations

from dataclasses import replace

from ..graph import Part
from ..hardware import Hardware
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart
from . import SplitKV, largest
from .sglang_triton_decode_latent import LATENT_MOST
from .sglang_triton_decode_lone import SglangTritonDecodeLone


class SglangTritonDecodeLoneLatent(SglangTritonDecodeLone):
    name = "sglang-triton-decode-lone-latent"
    title = "SGLang's Triton decode kernel over latents, one head"
    head_dims = (576, 576)
    most = LATENT_MOST

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if not part.shared_kv or largest(part.width) != 512 or largest(part.heads) > 1:
            return f"{self.name} takes latents of 512 and one head"
        return SplitKV.refuses_more(self, part, hardware, tile)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        plan = super().plan(tiled, hardware)
        return replace(plan, prepared=0, combine_blocks=plan.items * self.most)


IMPLEMENTATION = SglangTritonDecodeLoneLatent()
