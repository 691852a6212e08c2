"""FlashAttention-4 (CuTe) on Hopper for head_dims beyond 256, as vLLM calls it for prefill over a paged cache.

Facts: flash_attn/cute/interface.py of vllm-project/flash-attention: tiles of 64 x 64 (_tile_size_fwd_sm90), packed
query heads, splits of the keys on idle units (num_splits_heuristic). Single queries: `fa4-split-kv-graph`.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import FlashTile, Tile
from . import BANDS, Implementation, largest


class FlashAttention4Hopper(Implementation):
    name = "fa4-hopper"
    title = "FlashAttention-4 on Hopper, head_dim 512"
    source = "vllm-project/flash-attention, flash_attn/cute"
    generations = frozenset({"hopper"})
    directions = ("forward",)
    head_dims = (257, 512)
    mask_kinds = BANDS
    packs_heads = True
    offered = False

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.tokens) < 2:
            return f"{self.name} is for two queries or more; single ones go to fa4-split-kv-graph"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (FlashTile((64,), (64,), splits=True, fills=True),)


IMPLEMENTATION = FlashAttention4Hopper()
