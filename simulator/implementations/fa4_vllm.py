"""FlashAttention-4 as vLLM calls it in its vision encoders: the number of splits is left to the heuristic."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS
from .fa4 import FlashAttention4, compiled


class FlashAttention4Vllm(FlashAttention4):
    name = "fa4-vllm"
    title = "FlashAttention-4, vLLM's build"
    source = "vllm-project/flash-attention, flash_attn/cute"
    directions = ("forward",)
    mask_kinds = BANDS
    offered = False
    calibration = "fa4"

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (compiled(part, splits=True),)


IMPLEMENTATION = FlashAttention4Vllm()
