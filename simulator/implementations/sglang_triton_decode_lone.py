"""SGLang's Triton decode kernel for heads with keys of their own: one head a block, 64 keys a tile, on vector lanes.

Facts: python/sglang/srt/layers/attention/triton_ops/decode_attention.py of sgl-project/sglang (_fwd_kernel_stage1).
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import SplitKV
from .sglang_triton_decode import STEP, SglangTritonDecode


class SglangTritonDecodeLone(SglangTritonDecode):
    name = "sglang-triton-decode-lone"
    title = "SGLang's Triton decode kernel, one head a kv head"

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((1,), (2 * STEP,)),)

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        return SplitKV.refuses_more(self, part, hardware, tile)


IMPLEMENTATION = SglangTritonDecodeLone()
