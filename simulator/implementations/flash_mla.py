"""FlashMLA (deepseek-ai/FlashMLA, csrc/sm90/decode): decoding over latents on Hopper, as TensorRT-LLM runs it there.

64 rows of packed heads by 64 keys, two warpgroups that share the values; TensorRT-LLM takes it for pages of 64 tokens
(cpp/tensorrt_llm/thop/attentionOp.cpp), and computes in fp8 on an fp8 cache.
"""

from __future__ import annotations

from . import BANDS, LatentSplitKV


class FlashMla(LatentSplitKV):
    name = "flash-mla"
    title = "FlashMLA"
    source = "deepseek-ai/FlashMLA, csrc/sm90/decode"
    generations = frozenset({"hopper"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BANDS
    runs_as = "mla-flash"


IMPLEMENTATION = FlashMla()
