"""attnsim's own Triton neighbourhood kernel, as its tiles will be: query and key tiles along the axes of the layout,
skipped tiles never loaded, the mask evaluated in partial tiles only."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation
from .triton_flash import GENERATIONS

TILES = {
    1: (((128,), (64,)), ((128,), (128,))),
    2: (((8, 16), (8, 8)), ((16, 8), (8, 8)), ((8, 16), (8, 16)), ((8, 8), (8, 8))),
    3: (
        ((4, 4, 8), (4, 4, 4)), ((2, 8, 8), (2, 8, 4)), ((4, 4, 8), (4, 4, 8)), ((2, 8, 8), (2, 8, 8)),
        ((4, 4, 4), (4, 4, 4)),
    ),
}  # fmt: skip


class TritonNeighbourhood(Implementation):
    name = "triton-neighbourhood"
    title = "attnsim Triton neighbourhood kernel"
    source = "attnsim.kernels"
    generations = GENERATIONS
    head_dims = (16, 128)
    mask_kinds = frozenset({"NeighbourhoodMask"})

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        axes = len(part.mask.shape)  # type: ignore[union-attr]
        return tuple(Tile(q, k) for q, k in TILES[axes])


IMPLEMENTATION = TritonNeighbourhood()
