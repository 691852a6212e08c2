"""FlashAttention-3 as vLLM builds it (vllm-project/flash-attention), over ragged batches that lie in memory whole: its
vision encoders. Tiles: hopper/tile_size.h of that repository; vLLM leaves the number of splits to the heuristic."""

from __future__ import annotations

from ..graph import Part
from . import largest
from .fa3_ragged import FlashAttention3Ragged


class FlashAttention3Vllm(FlashAttention3Ragged):
    name = "fa3-vllm"
    title = "FlashAttention-3, vLLM's build"
    source = "vllm-project/flash-attention, hopper"
    dtypes = ("fp16", "bf16")
    splits = True

    def sides(self, part: Part) -> tuple[int, int]:
        d = largest(part.depth)
        return (128, 160) if 96 < d <= 128 else super().sides(part)


IMPLEMENTATION = FlashAttention3Vllm()
