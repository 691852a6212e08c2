"""trtllm-gen's decoding over latents as FlashInfer ships it: another build, that merges splits through memory only."""

from __future__ import annotations

from .trtllm_gen_mla import TrtllmGenMla


class FlashInferGenMla(TrtllmGenMla):
    name = "flashinfer-gen-mla"
    title = "FlashInfer, trtllm-gen's latent decoding"
    source = "flashinfer-ai/flashinfer, include/flashinfer/trtllm/fmha/fmhaKernels.cuh"
    runs_as = "mla-gen-apart"


IMPLEMENTATION = FlashInferGenMla()
