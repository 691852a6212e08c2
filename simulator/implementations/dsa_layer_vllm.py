"""vLLM's layer of DeepSeek sparse attention in prefill, on FlashMLA's sparse kernels."""

from __future__ import annotations

from .dsa_layer_sglang import SparseLayer


class Vllm(SparseLayer):
    name = "dsa-layer-vllm"
    title = "vLLM, a layer of DeepSeek sparse attention on FlashMLA"
    source = "vllm-project/vllm, vllm/v1/attention/backends/mla/flashmla_sparse.py"


IMPLEMENTATION = Vllm()
