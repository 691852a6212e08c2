"""FlashMLA's sparse prefill, flash_mla_sparse_fwd (deepseek-ai/FlashMLA, csrc/sm90/prefill/sparse, csrc/sm100).

A block takes the heads of one token, 64 rows of them on Hopper, 128 (a cluster of two) on Blackwell, padded, and walks
the places of its selection in tiles of 64.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation


class FlashMlaSparse(Implementation):
    name = "flash-mla-sparse"
    title = "FlashMLA, sparse"
    source = "deepseek-ai/FlashMLA, csrc"
    generations = frozenset({"hopper", "blackwell"})
    directions = ("forward",)
    head_dims = (576, 576)
    packs_heads = True
    mask_kinds = frozenset({"TopKeysMask"})
    runs_as = "sparse"

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((64 if hardware.generation == "hopper" else 128,), (64,)),)


IMPLEMENTATION = FlashMlaSparse()
