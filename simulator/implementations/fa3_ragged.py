"""FlashAttention-3 over ragged batches that lie in memory whole, as SGLang runs it for encoders.

Query heads of a kv head are always packed (hopper/heuristics.h, should_pack_gqa); few rows run on one warpgroup
(use_one_mma_wg of the builds that serve); keys are not split, the default of flash_attn_varlen_func.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import BANDS, largest
from .fa3 import FlashAttention3, compiled, is_local


def few_rows(part: Part) -> bool:
    """Whether one warpgroup computes all rows: up to 64 of a kv head, head_dim 64 or 128, no window
    (vllm-project/flash-attention, hopper/heuristics.h, use_one_mma_wg; the tables of SGLang show the same)."""
    rows = largest(part.tokens) * largest(part.heads / part.kv_heads)
    return rows <= 64 and largest(part.depth) in (64, 128) and not is_local(part)


class FlashAttention3Ragged(FlashAttention3):
    name = "fa3-ragged"
    title = "FlashAttention-3, ragged batches"
    directions = ("forward",)
    packs_heads = True
    mask_kinds = BANDS
    offered = False
    splits = False
    """Whether the number of splits is left to the heuristic."""
    follows = False
    """Whether key tiles start where the window of a query tile does."""
    few_keys = 192, 176, 128, 96
    """Keys of the tile of one warpgroup: head_dim 64, 128, and the same with fp8 operands."""

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d = largest(part.depth)
        if few_rows(part):
            sides = 64, self.few_keys[(d > 64) + 2 * (DTYPE_BITS[part.dtype] < 16)]
        else:
            sides = self.sides(part)
        tile = compiled(part, *sides)
        return (replace(tile, gathers=self.gathers(part), follows=self.follows, splits=self.splits),)

    def gathers(self, part: Part) -> bool:
        """Whether rows of queries are loaded one by one; where all are, that is a part of every tile's prologue."""
        return False


IMPLEMENTATION = FlashAttention3Ragged()
