"""FMHA v2 for decoding over latents (NVIDIA/TensorRT-LLM, cpp/kernels/fmha_v2): where there is neither FlashMLA nor
trtllm-gen. 64 rows of packed heads by 64 keys (setup.py: head sizes 576 and 512, granular tiling); keys are not split.
"""

from __future__ import annotations

from . import BANDS, LatentSplitKV


class FmhaV2Mla(LatentSplitKV):
    name = "fmha-v2-mla"
    title = "TensorRT-LLM FMHA v2, latent decoding"
    source = "NVIDIA/TensorRT-LLM, cpp/kernels/fmha_v2"
    generations = frozenset({"ampere", "ada", "blackwell-consumer"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BANDS
    runs_as = "mla-fmha"


IMPLEMENTATION = FmhaV2Mla()
