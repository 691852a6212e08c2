"""FlashAttention-3 over latents: absorbed latent attention (576 and 512) as SGLang runs it on Hopper, prefill too.

Rotary columns are the head_dim of 64, latents come as `qv` and the values of 512: tiles of 64 packed rows and 64 keys
(hopper/tile_size.h, tile_size_fwd_sm90); ragged queries are always packed (hopper/heuristics.h, should_pack_gqa).
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS, Implementation, no_latents


class FlashAttention3Latent(Implementation):
    name = "fa3-mla"
    title = "FlashAttention-3, absorbed latents"
    source = "Dao-AILab/flash-attention, hopper"
    generations = frozenset({"hopper"})
    directions = ("forward",)
    head_dims = (576, 576)
    packs_heads = True
    mask_kinds = BANDS

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        return no_latents(self.name, part)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((64,), (64,)),)


IMPLEMENTATION = FlashAttention3Latent()
