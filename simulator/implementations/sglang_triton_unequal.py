"""SGLang's Triton prefill for keys and values of different widths (MiMo-V2: 192 and 128): scores in two products, of
128 and of 64 columns. Such K and V are appended to the cache by two indexed copies where equal ones share a kernel
(MHATokenToKVPool.set_kv_buffer), so that the call around it has another overhead too."""

from __future__ import annotations

from ..config import operand_refusal
from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import largest
from .sglang_triton import SglangTriton


class SglangTritonUnequal(SglangTriton):
    name = "sglang-triton-unequal"
    title = "SGLang's Triton prefill, K and V of different widths"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.depth) == largest(part.width):
            return f"{self.name} takes K and V of different widths; see sglang-triton"
        return operand_refusal(self.name, part, hardware)


IMPLEMENTATION = SglangTritonUnequal()
