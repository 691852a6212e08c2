"""attnsim's own Triton decode kernel, as its tiles will be: split-KV, packed heads, paged cache, absorbed MLA."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import SplitKV, largest
from .triton_flash import GENERATIONS


class TritonDecode(SplitKV):
    name = "triton-decode"
    title = "attnsim Triton split-KV decode kernel"
    source = "attnsim.kernels"
    generations = GENERATIONS
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2", "tf32", "fp32")
    head_dims = (16, 576)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        rows = largest(part.tokens) * self.packed_heads(part)
        return (Tile((16 if rows <= 16 else 32 if rows <= 32 else 64,), (64 if largest(part.depth) > 128 else 128,)),)


IMPLEMENTATION = TritonDecode()
