"""The vendor's matrix library, for mechanisms that are products with weights alone."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation


class Library(Implementation):
    name = "library"
    title = "vendor matrix library"
    source = "cuBLAS, hipBLASLt, XLA, ...: no tile of its own is modelled"
    generations = frozenset()
    part_styles = ("dense",)

    def refuses(self, part: Part, hardware: Hardware, tile: Tile | None = None) -> str | None:
        return None if part.style in self.part_styles else "library runs matrix products, not attention"

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((), ()),)


IMPLEMENTATION = Library()
