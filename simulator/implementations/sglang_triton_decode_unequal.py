"""SGLang's Triton decode kernel for keys and values of different widths (MiMo-V2: 192 and 128): compiled for the next
powers of two, so that a quarter of what it computes of each key is masked (triton_ops/decode_attention.py)."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import largest
from .sglang_triton_decode import SglangTritonDecode


class SglangTritonDecodeUnequal(SglangTritonDecode):
    name = "sglang-triton-decode-unequal"
    title = "SGLang's Triton decode kernel, K and V of different widths"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.depth) == largest(part.width):
            return f"{self.name} takes K and V of different widths; see sglang-triton-decode"
        return super().refuses_more(part, hardware, tile)


IMPLEMENTATION = SglangTritonDecodeUnequal()
