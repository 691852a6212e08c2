"""trtllm-gen's decoding over latents on data-centre Blackwell, in TensorRT-LLM.

Tiles of 128 keys; up to 32 heads in groups of 8 or 16, more of them 64 at a time. Which kernel runs and how it splits
is decided call by call (`schedule.mla`).
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS, LatentSplitKV, largest


class TrtllmGenMla(LatentSplitKV):
    name = "trtllm-gen-mla"
    title = "trtllm-gen, latent decoding"
    source = "NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/kernels/trtllmGenKernels/fmha"
    generations = frozenset({"blackwell"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BANDS
    runs_as = "mla-gen"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.tokens) > 1:
            return f"{self.name} is known for single queries"
        return super().refuses_more(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        heads = largest(part.heads / part.kv_heads)
        return (Tile((8 if heads <= 8 else 16 if heads <= 32 else 64,), (128,)),)


IMPLEMENTATION = TrtllmGenMla()
