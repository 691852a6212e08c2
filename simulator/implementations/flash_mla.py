"""FlashMLA (deepseek-ai/FlashMLA, csrc/sm90/decode): decoding over latents on Hopper, as TensorRT-LLM runs it there.

64 rows of packed heads by 64 keys, two warpgroups that share the values; TensorRT-LLM takes it for pages of 64 tokens
(cpp/tensorrt_llm/thop/attentionOp.cpp), and computes in fp8 on an fp8 cache.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS, SplitKV, largest


class FlashMla(SplitKV):
    name = "flash-mla"
    title = "FlashMLA"
    source = "deepseek-ai/FlashMLA, csrc/sm90/decode"
    generations = frozenset({"hopper"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    head_dims = (576, 576)
    mask_kinds = BANDS
    runs_as = "mla-flash"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if not part.shared_kv or largest(part.width) != 512:
            return f"{self.name} takes latents of 512 whose values lie in the keys"
        return super().refuses_more(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((64,), (64,)),)


IMPLEMENTATION = FlashMla()
