"""TensorRT-LLM's context attention (fmha_v2) on Hopper for head dimensions above 128: see `trtllm-fmha`."""

from __future__ import annotations

from .trtllm_fmha import TrtllmFmha


class TrtllmFmhaLarge(TrtllmFmha):
    name = "trtllm-fmha-large"
    title = "TensorRT-LLM FMHA, head_dim 129 to 256"
    generations = frozenset({"hopper"})
    on_hopper = 129, 256
    keys = 64, 128


IMPLEMENTATION = TrtllmFmhaLarge()
