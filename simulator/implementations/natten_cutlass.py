"""NATTEN's CUTLASS 2.x kernels for all NVIDIA chips (FNA, 2403.04690): mma.sync, tiles chosen at run time.

Tiles: the GEMM shapes 64 x 64 (default), 32 x 128, 64 x 128 split over the axes, every side at least 2
(backends/configs/cutlass). Key tiles start at the window's own first key rather than on a fixed grid; they are
counted on the fixed grid here, which can add one tile an axis. Tokens are not permuted.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from .natten_blackwell import Natten


class NattenCutlass(Natten):
    name = "natten-cutlass"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    dtypes = ("fp32", "fp16", "bf16")
    head_dims = (8, 256)
    forward = (
        ((64,), (64,)), ((64,), (128,)), ((32,), (128,)),
        ((8, 8), (8, 8)), ((4, 16), (4, 16)), ((16, 4), (16, 4)), ((8, 8), (8, 16)), ((4, 16), (8, 16)),
        ((4, 4, 4), (4, 4, 4)), ((2, 4, 8), (2, 4, 8)), ((2, 8, 4), (2, 8, 8)), ((2, 4, 8), (4, 4, 8)),
        ((2, 4, 8), (2, 8, 8)), ((4, 4, 4), (4, 4, 8)),
    )  # fmt: skip
    gradient = (
        ((64,), (64,)), ((128,), (128,)), ((8, 8), (8, 8)), ((8, 16), (8, 16)), ((4, 4, 4), (4, 4, 4)),
        ((2, 8, 8), (2, 8, 8)),
    )  # fmt: skip

    def extra_passes(self, part: Part) -> float:
        return 0.0

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        every = super().tiles(part, hardware)
        if part.backward or hardware.generation != "ada":
            return every
        # The 64 x 128 shape does not fit the shared memory of compute capability 8.6 and 8.9.
        return tuple(t for t in every if _size(t.query) * _size(t.key) <= 4096)


def _size(sides: tuple[int, ...]) -> int:
    total = 1
    for side in sides:
        total *= side
    return total


IMPLEMENTATION = NattenCutlass()
