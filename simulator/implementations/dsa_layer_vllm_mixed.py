"""vLLM's layer of DeepSeek sparse attention in prefill on an 8-bit cache where a chip holds fewer than 32 heads:
FlashMLA's 8-bit kernel; with more heads the selected keys are widened for the 16-bit one (flashmla_sparse.py,
MIN_HEADS_FOR_BF16_PREFILL)."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import largest
from .dsa_layer_sglang import SparseLayer

FEWEST_HEADS = 32


class VllmMixed(SparseLayer):
    name = "dsa-layer-vllm-mixed"
    title = "vLLM, a layer of DeepSeek sparse attention on FlashMLA, few heads"
    source = "vllm-project/vllm, vllm/v1/attention/backends/mla/flashmla_sparse.py"
    runs_on = frozenset({"hopper"})

    def refuses(self, part: Part, hardware: Hardware, tile: Tile | None = None) -> str | None:
        if part.kv_dtype != "fp8" or largest(part.heads) >= FEWEST_HEADS:
            return f"{self.name} is for fewer than {FEWEST_HEADS} heads and an 8-bit cache"
        return super().refuses(part, hardware, tile)


IMPLEMENTATION = VllmMixed()
