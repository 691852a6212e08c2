"""NATTEN's neighbourhood kernels for Hopper (2504.16922): tiles in backends/configs/cutlass_hopper/__init__.py."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import largest
from .natten_blackwell import Natten

FORWARD = {
    64: (((64,), (128,)), ((8, 8), (16, 8)), ((8, 8), (8, 16)), ((4, 4, 4), (4, 4, 8)), ((4, 4, 4), (2, 8, 8))),
    128: (((128,), (128,)), ((16, 8), (16, 8)), ((4, 4, 8), (4, 4, 8)), ((2, 8, 8), (2, 8, 8))),
    256: (((128,), (64,)), ((16, 8), (8, 8)), ((8, 16), (8, 8)), ((4, 4, 8), (4, 4, 4)), ((2, 8, 8), (4, 4, 4))),
}
"""Tiles for head_dim up to each key."""


class NattenHopper(Natten):
    name = "natten-hopper"
    generations = frozenset({"hopper"})
    head_dims = (8, 256)
    gradient = (
        ((64,), (128,)), ((8, 8), (16, 8)), ((8, 8), (8, 16)), ((4, 4, 4), (4, 4, 8)), ((4, 4, 4), (2, 8, 8)),
    )  # fmt: skip

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        if part.backward:
            return super().tiles(part, hardware)
        axes = len(part.mask.shape)  # type: ignore[union-attr]
        pairs = next(tiles for d, tiles in FORWARD.items() if largest(part.depth) <= d)
        return tuple(Tile(q, k) for q, k in pairs if len(q) == axes)


IMPLEMENTATION = NattenHopper()
