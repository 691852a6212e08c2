"""The context kernels of `trtllm-gen` as TensorRT-LLM calls them through FlashInfer, for head_dims 256 and 512 (Gemma).

The same kernels and constants; the call around them is another, and so is its overhead.
"""

from __future__ import annotations

from .trtllm_gen import TrtllmGen


class TrtllmGenFlashinfer(TrtllmGen):
    name = "trtllm-gen-flashinfer"
    title = "TensorRT-LLM generated FMHA, context, called through FlashInfer"
    offered = False
    calibration = "trtllm-gen"


IMPLEMENTATION = TrtllmGenFlashinfer()
