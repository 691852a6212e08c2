"""TensorRT-LLM's layer of DeepSeek sparse attention in prefill."""

from __future__ import annotations

from .dsa_layer_sglang import SparseLayer


class Trtllm(SparseLayer):
    name = "dsa-layer-trtllm"
    title = "TensorRT-LLM, a layer of DeepSeek sparse attention"
    source = "NVIDIA/TensorRT-LLM, tensorrt_llm/_torch/attention_backend/sparse/dsa.py"
    rows = 16


IMPLEMENTATION = Trtllm()
