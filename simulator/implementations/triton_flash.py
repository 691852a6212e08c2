"""attnsim's own Triton flash kernel, as its tiles will be: any mask, given as lists of key tiles per query tile.

Tiles are the ones that Triton's fused-attention tutorial and flex_attention choose from; any tile of powers of two
that the chip's shared memory holds is legal.
"""

from __future__ import annotations

import math
from typing import Any

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import Implementation, largest

GENERATIONS = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer", "cdna3", "cdna4"})
STAGES = 2


def shared_memory_bytes(part: Part, tile: Tile) -> float:
    """Shared memory of a pipelined forward tile: queries once, keys and values for each of two stages."""
    element = DTYPE_BITS[part.dtype] / 8
    q = math.prod(tile.query) * largest(part.depth)
    kv = math.prod(tile.key) * (largest(part.depth) + (0 if part.shared_kv else largest(part.width)))
    return (q + STAGES * kv) * element


class TritonFlash(Implementation):
    name = "triton-flash"
    title = "attnsim Triton flash kernel"
    source = "attnsim.kernels"
    generations = GENERATIONS
    head_dims = (16, 256)
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2", "tf32", "fp32")

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if tile is not None and len(tile.query) > 1:
            return f"{self.name} has tiles of flattened tokens; triton-neighbourhood has tiles along axes"
        mask: Any = part.mask
        if tile is None and type(mask).__name__ == "NeighbourhoodMask" and len(mask.shape) > 1:
            # Tiles along the axes visit less; --tile shows how much.
            return f"{self.name} takes neighbourhoods of several axes only with a tile of flattened tokens given"
        limit = hardware.smem_bytes_per_block
        if tile is not None and limit is not None and part.mask is not None:
            need = shared_memory_bytes(part, tile)
            if need > limit and part.dtype not in ("fp32", "tf32"):
                return (f"tile {tile.query[0]}x{tile.key[0]} needs {need / 1024:.0f} KiB of shared memory; "
                        f"{hardware.name} has {limit / 1024:.0f} KiB a block")  # fmt: skip
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        small = (hardware.smem_bytes_per_block or 0) <= 101 * 1024
        if part.backward:
            return (Tile((64,), (64,)),) if small or largest(part.depth) > 128 else (Tile((128,), (64,)),)
        if largest(part.depth) > 128:
            return (Tile((64,), (32,)),) if small else (Tile((128,), (64,)), Tile((64,), (64,)))
        if small:
            return (Tile((128,), (32,)), Tile((64,), (64,)))
        return (Tile((128,), (128,)), Tile((128,), (64,)), Tile((64,), (64,)))


IMPLEMENTATION = TritonFlash()
