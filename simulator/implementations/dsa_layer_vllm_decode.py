"""vLLM's layer of DeepSeek sparse attention in decoding, on FlashMLA's sparse kernels."""

from __future__ import annotations

from .dsa_layer_sglang import SparseLayer


class VllmDecode(SparseLayer):
    name = "dsa-layer-vllm-decode"
    title = "vLLM, a layer of DeepSeek sparse attention on FlashMLA, decoding"
    source = "vllm-project/vllm, vllm/v1/attention/backends/mla/flashmla_sparse.py"


IMPLEMENTATION = VllmDecode()
