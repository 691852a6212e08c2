"""FlashAttention-2 over a paged cache, as vLLM runs it on Ampere and Ada: the split-KV kernel even where keys are not
split (csrc/flash_attn/flash_api.cpp, mha_varlen_fwd: force_split_kernel).

Tiles: csrc/flash_attn/src/flash_fwd_launch_template.h, run_mha_fwd_splitkv_dispatch. Single queries run with their
heads as rows, after copies that transpose them (flash_api.cpp, seqlenq_ngroups_swapped): `fa2-split-kv`.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS, largest
from .fa2 import FlashAttention2


class FlashAttention2Paged(FlashAttention2):
    name = "fa2-paged"
    title = "FlashAttention-2, paged cache"
    directions = ("forward",)
    mask_kinds = BANDS
    offered = False

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.tokens) == 1 and largest(part.heads / part.kv_heads) > 1:
            return f"{self.name} takes several queries, or one of as many heads as kv heads"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d = largest(part.depth)
        return (Tile((64,), (256 if d <= 64 else 128 if d <= 128 else 64,)),)


IMPLEMENTATION = FlashAttention2Paged()
