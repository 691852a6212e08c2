"""FlashAttention-3 over latents for few queries: as `fa3-mla`, with the keys split over the chip.

SGLang keeps no 16-bit copy of an fp8 cache: it widens the whole cache before every call (flashattention_backend.py).
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS, SplitKV, largest


class FlashAttention3LatentSplitKV(SplitKV):
    name = "fa3-mla-split-kv"
    title = "FlashAttention-3, absorbed latents, split-KV"
    source = "Dao-AILab/flash-attention, hopper"
    generations = frozenset({"hopper"})
    head_dims = (576, 576)
    mask_kinds = BANDS
    runs_as = "mla-fa3"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if not part.shared_kv or largest(part.width) != 512:
            return f"{self.name} takes latents of 512 whose values lie in the keys"
        return super().refuses_more(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((64,), (64,)),)


IMPLEMENTATION = FlashAttention3LatentSplitKV()
