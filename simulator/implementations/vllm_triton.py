"""vLLM's Triton attention ("unified attention") for prefill: small tiles of packed heads, every tile masked.

Tiles: vllm/v1/attention/ops/triton_unified_attention.py of vllm-project/vllm, unified_attention: 16 rows, or as many as
a kv head has query heads if those are more, rounded up to a power of two; 32 keys; head_dim padded to a power of two;
4 warps. Tiles left of a window are skipped. A call of single queries runs the kernel that splits keys.
"""

from __future__ import annotations

from ..config import operand_refusal
from ..graph import Part
from ..hardware import Hardware
from ..resources import padded
from ..tiling import Tile
from . import BANDS, Implementation, largest

ROWS, KEYS = 16, 32


class VllmTriton(Implementation):
    name = "vllm-triton"
    title = "vLLM's Triton prefill"
    source = "vllm-project/vllm, triton_unified_attention.py"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    directions = ("forward",)
    head_dims = (16, 512)
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BANDS
    packs_heads = True
    offered = False

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.tokens) < 2:
            return f"{self.name} is a prefill kernel, for two queries or more"
        return operand_refusal(self.name, part, hardware)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        rows = max(ROWS, padded(int(largest(part.heads / part.kv_heads))))
        return (Tile((rows,), (KEYS,)),)

    def masked(self, part: Part, tile: Tile) -> str:
        return "all"


IMPLEMENTATION = VllmTriton()
