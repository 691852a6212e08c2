"""attnsim's own chunked Triton kernels for linear attention and its relatives, as flash-linear-attention has them:
chunks of 64 tokens, one work item for a chunk of a head, the states passed along in a second kernel."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation
from .triton_flash import GENERATIONS


class TritonLinear(Implementation):
    name = "triton-linear"
    title = "attnsim Triton chunked linear attention"
    source = "attnsim.kernels; chunk sizes of fla-org/flash-linear-attention"
    generations = GENERATIONS
    part_styles = ("chunked",)
    dtypes = ("fp16", "bf16", "tf32", "fp32", "fp8", "fp8_e4m3", "fp8_e5m2")
    head_dims = (8, 512)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((part.chunk,), (part.chunk,)),)


IMPLEMENTATION = TritonLinear()
