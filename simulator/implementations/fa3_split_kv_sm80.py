"""FlashAttention-3's kernels for Ampere and Ada, which SGLang runs for decoding there.

Tiles: hopper/tile_size.h, tile_size_fwd_sm8x; with splits and lengths of their own the key tile grows and takes twice
the warps. Splits as on Hopper (`fa3-split-kv`).
"""

from __future__ import annotations

from dataclasses import replace

from ..algebra import Number, ceil_div, where
from ..graph import Part
from ..hardware import Hardware
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart
from . import largest
from .fa3_split_kv import FlashAttention3SplitKV

SPLIT, WHOLE = {64: 80, 96: 48, 128: 112, 192: 64, 256: 64}, {64: 112, 96: 64, 128: 64, 192: 64, 256: 96}
"""Keys a tile by head_dim, in kernels that may split and in others."""


class FlashAttention3Sm80SplitKV(FlashAttention3SplitKV):
    name = "fa3-split-kv-sm80"
    title = "FlashAttention-3, split-KV kernels of Ampere"
    generations = frozenset({"ampere", "ada"})
    dtypes = ("fp16", "bf16")
    offered = False

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((128,), (SPLIT[_step(part)],)),)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        plan = super().plan(tiled, hardware)
        # What does not split has smaller tiles: as many of the larger ones, in their work.
        whole = WHOLE[_step(tiled.part)]
        each: Number = ceil_div(tiled.part.keys, whole) * (whole / tiled.columns)
        return replace(plan, tiles_each=where(plan.splitting > 0, plan.tiles_each, each))


def _step(part: Part) -> int:
    """The head_dim that a kernel is compiled for."""
    return next(step for step in SPLIT if largest(part.depth) <= step)


IMPLEMENTATION = FlashAttention3Sm80SplitKV()
