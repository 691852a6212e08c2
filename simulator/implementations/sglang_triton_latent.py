"""SGLang's Triton prefill over latents (absorbed: 576 and 512): the first values of a key's 512 in one product, the 64
that are rotated in another."""

from __future__ import annotations

from ..config import operand_refusal
from ..graph import Part
from ..hardware import Hardware
from ..tiling import FlashTile, Tile
from . import no_latents
from .sglang_triton import TILES, SglangTriton, warps_of


class SglangTritonLatent(SglangTriton):
    name = "sglang-triton-latent"
    title = "SGLang's Triton prefill over latents"
    head_dims = (576, 576)

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        return no_latents(self.name, part) or operand_refusal(self.name, part, hardware)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        rows, keys = TILES[hardware.generation][-1][1]
        return (FlashTile((rows,), (keys,), spread=True, warps=warps_of(part)),)


IMPLEMENTATION = SglangTritonLatent()
