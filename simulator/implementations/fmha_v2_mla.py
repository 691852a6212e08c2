"""FMHA v2 for decoding over latents (NVIDIA/TensorRT-LLM, cpp/kernels/fmha_v2): where there is neither FlashMLA nor
trtllm-gen. 64 rows of packed heads by 64 keys (setup.py: head sizes 576 and 512, granular tiling); keys are not split.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS, SplitKV, largest


class FmhaV2Mla(SplitKV):
    name = "fmha-v2-mla"
    title = "TensorRT-LLM FMHA v2, latent decoding"
    source = "NVIDIA/TensorRT-LLM, cpp/kernels/fmha_v2"
    generations = frozenset({"ampere", "ada", "blackwell-consumer"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    head_dims = (576, 576)
    mask_kinds = BANDS
    runs_as = "mla-fmha"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if not part.shared_kv or largest(part.width) != 512:
            return f"{self.name} takes latents of 512 whose values lie in the keys"
        return super().refuses_more(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((64,), (64,)),)


IMPLEMENTATION = FmhaV2Mla()
