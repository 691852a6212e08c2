"""FlashInfer's CUTLASS kernel for datacenter Blackwell, ragged prefill: SGLang's flashinfer backend takes it there.

Facts: csrc/fmha_cutlass_sm100.cu of flashinfer-ai/flashinfer (query tiles of 256, key tiles of 128, one head each) and
attention/blackwell/plan.cuh (a persistent grid with the work shared out ahead); the choice: flashinfer_backend.py of
sgl-project/sglang, fmha_backend = "cutlass".
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS, Implementation


class FlashinferCutlass(Implementation):
    name = "flashinfer-cutlass"
    title = "FlashInfer's CUTLASS prefill"
    source = "flashinfer-ai/flashinfer, csrc/fmha_cutlass_sm100.cu"
    generations = frozenset({"blackwell"})
    directions = ("forward",)
    head_dims = (64, 192)
    mask_kinds = BANDS
    offered = False

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((256,), (128,)),)


IMPLEMENTATION = FlashinferCutlass()
