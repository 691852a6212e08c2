"""attnsim's own Triton block-sparse kernel (kernels/block_sparse.py): any mask, given as a list of key tiles for every
query tile; blocks and tokens selected at run time as well."""

from __future__ import annotations

from typing import ClassVar

from .. import resources
from ..config import Config
from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS
from .triton_flash import Sides, TritonFlash

OWN: dict[tuple[str, int, bool], tuple[Sides, ...]] = {
    ("wgmma", 64, True): ((64, 64, 4, 1), (32, 64, 4, 1)),
    ("wgmma", 128, False): ((128, 64, 8, 3), (128, 64, 8, 2), (64, 64, 4, 3), (64, 64, 4, 2), (64, 32, 4, 3)),
    ("mma", 128, False): ((64, 64, 8, 2), (128, 32, 8, 2), (64, 32, 4, 2)),
    ("mma", 128, True): ((32, 16, 4, 1),),
    ("mfma", 128, True): ((16, 64, 4, 1),),
    ("mfma", 128, False): ((64, 16, 4, 2),),
}  # fmt: skip
"""Default spaces that differ from the flash kernel's, by instruction, head dimension and direction (True: backward):
lists take registers of their own."""


class TritonBlockSparse(TritonFlash):
    name = "triton-block-sparse"
    title = "attnsim Triton block-sparse kernel"
    source = "attnsim.kernels.block_sparse"
    mask_kinds: ClassVar[frozenset[str] | None] = None
    calibration = "triton-flash"
    listed = True

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        kind = type(part.mask).__name__
        if tile is None and kind in BANDS:
            return "triton-flash runs bands without lists; triton-block-sparse does only with a tile given"
        if tile is None and kind == "NeighbourhoodMask" and len(part.mask.shape) > 1:  # type: ignore[union-attr]
            # Tiles along the axes visit less; --tile shows how much.
            return f"{self.name} takes neighbourhoods of several axes only with a tile of flattened tokens given"
        return super().refuses_more(part, hardware, tile)

    def sides(self, generation: str, depth: int, width: int, bits: int, backward: bool) -> tuple[Sides, ...]:
        found = super().sides(generation, depth, width, bits, backward)
        kind = resources.INSTRUCTION_OF.get(generation, "mfma")
        return found if bits > 16 else OWN.get((kind, max(64, depth, width), backward), found)

    def refuses_config(self, part: Part, hardware: Hardware, config: Config) -> str | None:
        if config.tma or config.persistent or config.warp_specialize:
            return f"{self.name} gathers tiles from lists: persistent, tma and warp_specialize do not apply"
        return super().refuses_config(part, hardware, config)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        fits = (c for c in self.candidates(part, hardware) if self.shared_refusal(part, hardware, c) is None)
        return tuple(dict.fromkeys(Tile(c.query, c.key) for c in fits))

    def options(self, first: Config, part: Part, hardware: Hardware) -> list[Config]:
        return [c for c in super().options(first, part, hardware) if c.packed_heads > 1]


IMPLEMENTATION = TritonBlockSparse()
