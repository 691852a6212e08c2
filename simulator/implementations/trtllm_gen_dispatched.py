"""TensorRT-LLM's generated decode kernels as TensorRT-LLM itself chooses them.

It leaves more than so many query heads a kv head to `trtllm-mmha` (xqaDispatcher.cpp, XqaDispatcher::shouldUse: 16 in
2025; 1.3.0rc20 runs them up to 32 on B200, beyond which the time is that of a kernel of one head a block).
"""

from __future__ import annotations

from .trtllm_gen_decode import TrtllmGenDecode


class TrtllmGenDispatched(TrtllmGenDecode):
    name = "trtllm-gen-dispatched"
    title = "TensorRT-LLM generated FMHA, decode, in TensorRT-LLM"
    source = "NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/kernels/xqaDispatcher.cpp"
    calibration = "trtllm-gen-decode"
    offered = False


IMPLEMENTATION = TrtllmGenDispatched()
