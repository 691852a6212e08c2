"""TensorRT-LLM's generated decode kernels as TensorRT-LLM itself chooses them.

It leaves more than so many query heads a kv head to `trtllm-mmha` (xqaDispatcher.cpp, XqaDispatcher::shouldUse: 16 in
2025; 1.3.0rc20 runs them up to 32 on B200, beyond which the time is that of a kernel of one head a block).
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import largest
from .trtllm_gen_decode import TrtllmGenDecode

MOST_HEADS = 32


class TrtllmGenDispatched(TrtllmGenDecode):
    name = "trtllm-gen-dispatched"
    title = "TensorRT-LLM generated FMHA, decode, in TensorRT-LLM"
    source = "NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/kernels/xqaDispatcher.cpp"
    calibration = "trtllm-gen-decode"
    offered = False

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        group = int(largest(part.heads / part.kv_heads))
        if group > MOST_HEADS:
            return f"{self.name} takes up to {MOST_HEADS} query heads a kv head, not {group}"
        return super().refuses_more(part, hardware, tile)


IMPLEMENTATION = TrtllmGenDispatched()
