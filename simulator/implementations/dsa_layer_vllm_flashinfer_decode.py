"""vLLM's layer of DeepSeek sparse attention in decoding, on trtllm-gen's sparse kernels by way of FlashInfer."""

from __future__ import annotations

from .dsa_layer_sglang import SparseLayer


class VllmFlashInferDecode(SparseLayer):
    name = "dsa-layer-vllm-flashinfer-decode"
    title = "vLLM, a layer of DeepSeek sparse attention on FlashInfer, decoding"
    source = "vllm-project/vllm, vllm/v1/attention/backends/mla/flashinfer_mla_sparse.py"
    rows = 16


IMPLEMENTATION = VllmFlashInferDecode()
