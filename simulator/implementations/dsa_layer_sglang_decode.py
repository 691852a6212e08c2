"""SGLang's layer of DeepSeek sparse attention in decoding: FlashAttention-3 over the selected latents or FlashMLA (for
an 8-bit cache) on Hopper, trtllm-gen on Blackwell."""

from __future__ import annotations

from .dsa_layer_sglang import SparseLayer


class SglangDecode(SparseLayer):
    name = "dsa-layer-sglang-decode"
    title = "SGLang, a layer of DeepSeek sparse attention, decoding"
    source = "sgl-project/sglang, python/sglang/srt/layers/attention/dsa"
    rows = 16


IMPLEMENTATION = SglangDecode()
