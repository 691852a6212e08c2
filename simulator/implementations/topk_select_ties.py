"""`topk-select` on scores that are all equal, its worst case: a benchmark, never chosen for a prediction."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation
from .topk_select import IMPLEMENTATION as RADIX


class TopKSelectTies(Implementation):
    name = "topk-select-ties"
    title = "Radix selection among ties"
    source = RADIX.source
    generations = frozenset()
    part_styles = RADIX.part_styles

    def refuses(self, part: Part, hardware: Hardware, tile: Tile | None = None) -> str | None:
        return RADIX.refuses(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return RADIX.tiles(part, hardware)


IMPLEMENTATION = TopKSelectTies()
