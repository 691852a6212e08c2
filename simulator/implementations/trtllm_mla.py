"""Prefill of latent attention in TensorRT-LLM: expanded, 192 and 128, contiguous Q, K and V.

Up to Hopper and on consumer Blackwell it is FMHA v2 (cpp/kernels/fmha_v2/setup.py): sm90 has two warpgroups of 64 rows
each and loops over 64 keys (128 of fp8), the others tiles of 64 rows and 128 keys. Data-centre Blackwell runs
trtllm-gen, two 128-row instances a block and 128 keys, as SGLang's `trtllm_mla` does through FlashInfer.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import BANDS, Implementation, largest


class TrtllmMla(Implementation):
    name = "trtllm-mla"
    title = "TensorRT-LLM, latent prefill"
    source = "NVIDIA/TensorRT-LLM, cpp/kernels/fmha_v2 and trtllm-gen"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    directions = ("forward",)
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    head_dims = (192, 192)
    mask_kinds = BANDS

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.width) != 128 or part.shared_kv:
            return f"{self.name} takes values of 128, expanded from their latents"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        if hardware.generation == "blackwell":
            return (Tile((256,), (128,)),)
        if hardware.generation == "hopper":
            return (Tile((128,), (64 if DTYPE_BITS[part.dtype] > 8 else 128,)),)
        return (Tile((64,), (128,)),)


IMPLEMENTATION = TrtllmMla()
