"""TensorRT-LLM's context attention (fmha_v2) on Hopper for head dimensions up to 64: see `trtllm-fmha`."""

from __future__ import annotations

from .trtllm_fmha import TrtllmFmha


class TrtllmFmhaSmall(TrtllmFmha):
    name = "trtllm-fmha-small"
    title = "TensorRT-LLM FMHA, head_dim up to 64"
    generations = frozenset({"hopper"})
    on_hopper = 8, 64
    keys = 256, 256


IMPLEMENTATION = TrtllmFmhaSmall()
