"""TensorRT-LLM's layer of DeepSeek sparse attention in decoding."""

from __future__ import annotations

from .dsa_layer_sglang import SparseLayer


class TrtllmDecode(SparseLayer):
    name = "dsa-layer-trtllm-decode"
    title = "TensorRT-LLM, a layer of DeepSeek sparse attention, decoding"
    source = "NVIDIA/TensorRT-LLM, tensorrt_llm/_torch/attention_backend/sparse/dsa.py"
    rows = 16


IMPLEMENTATION = TrtllmDecode()
