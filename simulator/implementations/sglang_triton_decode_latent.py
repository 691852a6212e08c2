"""SGLang's Triton decode kernel over latents (absorbed: 576 and 512), tiles of 16 heads and 32 keys.

Up to 256 splits on chips of 129 to 256 units (triton_backend.py, _mla_decode_kv_splits_cap). Blocks for all of them are
launched, and load their queries before they find that they have no keys (_fwd_grouped_kernel_stage1). Sequences vary
fastest along the grid: groups of heads of one sequence find its keys in the L2 only where they run at the same time.
"""

from __future__ import annotations

from dataclasses import replace

from ..algebra import ceil_div, clip, maximum
from ..graph import Part
from ..hardware import Hardware
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart
from . import SplitKV, largest, no_latents
from .sglang_triton_decode import HEADS, SglangTritonDecode

LATENT_MOST = 256


class SglangTritonDecodeLatent(SglangTritonDecode):
    name = "sglang-triton-decode-latent"
    title = "SGLang's Triton decode kernel over latents"
    head_dims = (576, 576)
    most = LATENT_MOST

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if refusal := no_latents(self.name, part):
            return refusal
        if largest(part.heads / part.kv_heads) == 1:
            return f"{self.name} is for query heads that share a kv head"
        return SplitKV.refuses_more(self, part, hardware, tile)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        plan, part = super().plan(tiled, hardware), tiled.part
        groups = ceil_div(part.heads / part.kv_heads, HEADS)
        together = clip(hardware.sm_count / part.batch, 1, groups)
        read = part.batch * part.keys * tiled.key_bytes / tiled.columns
        return replace(plan, resident=1, prepared=0, combine_blocks=plan.items * self.most,
                       padding=read * maximum(groups / together - 1, 0))  # fmt: skip


IMPLEMENTATION = SglangTritonDecodeLatent()
