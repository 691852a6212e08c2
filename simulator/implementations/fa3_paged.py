"""FlashAttention-3 over a paged cache, as SGLang runs it: pages that are no multiple of the key tile are gathered by
cp.async (hopper/flash_api.cpp, get_pagedkv_tma).

Tiles: hopper/tile_size.h, tile_size_fwd_sm90 with paged_kv_non_TMA, and tile_size_fwd_sm8x for compute capability 8.0.
The number of splits is left to the heuristic.
"""

from __future__ import annotations

from dataclasses import replace

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import largest
from .fa3 import compiled, is_local
from .fa3_ragged import FlashAttention3Ragged


class FlashAttention3Paged(FlashAttention3Ragged):
    name = "fa3-paged"
    title = "FlashAttention-3, paged cache"
    generations = frozenset({"ampere", "hopper"})
    splits = True
    few_keys = 192, 128, 128, 96

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        if hardware.generation == "ampere":
            return (replace(compiled(part, 128, _ampere_keys(largest(part.depth), is_local(part))), splits=True),)
        return super().tiles(part, hardware)

    def sides(self, part: Part) -> tuple[int, int]:
        d, local = largest(part.depth), is_local(part)
        if DTYPE_BITS[part.dtype] < 16:
            wide = (128, 128 if local else 160) if d <= 192 else (128, 64 if local else 128)
            return (192, 160) if d <= 64 else (192, 128) if d <= 96 else (128, 160) if d <= 128 else wide
        if d <= 128:
            return 192 if d <= 96 else 128, 128
        return 128, 96 if d <= 192 else 64 if local else 80


def _ampere_keys(d: float, local: bool) -> int:
    """Keys of a tile on compute capability 8.0, where keys are not split."""
    if d <= 96:
        return (96 if local else 112) if d <= 64 else 48 if local else 64
    if d <= 192:
        return 48 if local and d <= 128 else 64
    return 64 if local else 96


IMPLEMENTATION = FlashAttention3Paged()
