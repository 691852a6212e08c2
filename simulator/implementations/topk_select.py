"""sgl-kernel's fast_topk_transform_fused (sgl-project/sglang, sgl-kernel/csrc/elementwise/topk.cu): the best 2048
scores of each row, by radix histograms, mapped to places of the cache.

Its time depends on the scores: clear winners are found in one pass, equal scores need all of them (`topk-select-ties`).
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import Implementation


class TopKSelect(Implementation):
    name = "topk-select"
    title = "Radix selection"
    source = "sgl-project/sglang, sgl-kernel/csrc/elementwise/topk.cu"
    generations = frozenset({"hopper", "blackwell"})
    part_styles = ("select",)
    directions = ("forward",)
    dtypes = tuple(DTYPE_BITS)
    head_dims = (1, 1)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((1,), (1024,)),)


IMPLEMENTATION = TopKSelect()
