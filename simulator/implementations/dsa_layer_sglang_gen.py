"""SGLang's layer of DeepSeek sparse attention in prefill on an 8-bit cache on Blackwell: trtllm-gen attends."""

from __future__ import annotations

from .dsa_layer_sglang import SparseLayer


class SglangGen(SparseLayer):
    name = "dsa-layer-sglang-gen"
    title = "SGLang, a layer of DeepSeek sparse attention on trtllm-gen"
    source = "sgl-project/sglang, python/sglang/srt/layers/attention/dsa"
    runs_on = frozenset({"blackwell"})
    rows = 16


IMPLEMENTATION = SglangGen()
