"""attnsim's own Triton neighbourhood kernel (kernels/neighbourhood.py): query and key tiles along the axes of the
layout, skipped tiles never loaded, the mask evaluated in partial tiles only; tokens in place, or permuted tile by tile
first."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

from ..config import Config
from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import largest
from .triton_block_sparse import TritonBlockSparse

TILES = {
    1: (((128,), (64,)), ((128,), (128,)), ((64,), (64,)), ((64,), (16,))),
    2: (((8, 16), (8, 8)), ((16, 8), (8, 8)), ((8, 16), (8, 16)), ((8, 8), (8, 8)), ((8, 8), (4, 4))),
    3: (
        ((4, 4, 8), (4, 4, 4)), ((2, 8, 8), (2, 8, 4)), ((4, 4, 8), (4, 4, 8)), ((2, 8, 8), (2, 8, 8)),
        ((4, 4, 4), (4, 4, 4)), ((4, 4, 4), (2, 2, 4)),
    ),
}  # fmt: skip
BACKWARD_SIDES = {16: ((16,), (4, 4), (1, 4, 4)), 32: ((32,), (4, 8), (2, 4, 4)), 64: ((64,), (8, 8), (4, 4, 4)),
                  128: ((128,), (8, 16), (4, 4, 8))}  # fmt: skip
"""Tiles of the backward pass by their tokens, for 1, 2 and 3 axes."""


class TritonNeighbourhood(TritonBlockSparse):
    name = "triton-neighbourhood"
    title = "attnsim Triton neighbourhood kernel"
    source = "attnsim.kernels.neighbourhood"
    head_dims = (16, 128)
    dtypes: ClassVar[tuple[str, ...]] = ("fp16", "bf16")
    mask_kinds: ClassVar[frozenset[str] | None] = frozenset({"NeighbourhoodMask"})
    calibration = ""

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if int(largest(part.width)) > self.head_dims[1]:
            return f"{self.name} takes v_dim up to {self.head_dims[1]}, not {int(largest(part.width))}"
        axes = len(part.mask.shape)  # type: ignore[union-attr]
        if not isinstance(tile, Config):
            return None
        if len(tile.query) != axes:
            return f"{self.name} has tiles along the {axes} axes of the layout; triton-block-sparse has flattened ones"
        return self.refuses_config(part, hardware, tile)

    def candidates(self, part: Part, hardware: Hardware) -> tuple[Config, ...]:
        axes = len(part.mask.shape)  # type: ignore[union-attr]
        if part.backward:
            flat = super().candidates(part, hardware)
            return tuple(
                replace(c, query=BACKWARD_SIDES[c.query[0]][axes - 1], key=BACKWARD_SIDES[c.key[0]][axes - 1])
                for c in flat
            )
        found = []
        for query, key in TILES[axes]:
            rows, columns = math.prod(query), math.prod(key)
            # The options that the block-sparse kernel takes tiles of as many tokens with.
            flat = super().candidates(part, hardware)
            found += [replace(c, query=query, key=key) for c in flat if (*c.query, *c.key) == (rows, columns)]
        return (*found, *(replace(c, permuted=True) for c in found[:1]))


IMPLEMENTATION = TritonNeighbourhood()
