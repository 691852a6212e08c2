"""FlashAttention-3 (Shah et al., 2407.08608): warp-specialised wgmma kernels for Hopper.

Tiles: hopper/tile_size.h of Dao-AILab/flash-attention, tile_size_fwd_sm90; backward: flash_bwd_launch_template.h. Head
dimensions are padded to the next that is compiled (flash_api.cpp, round_up_headdim). Sequences lie in memory whole and
keys are not split, as by default; kernels over a paged cache are `fa3-paged`.
"""

from __future__ import annotations

from typing import ClassVar

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import FlashTile, Tile
from . import BAND_AND_CHUNKS, Implementation, largest, plain_dense


class FlashAttention3(Implementation):
    name = "fa3"
    title = "FlashAttention-3"
    source = "Dao-AILab/flash-attention, hopper"
    generations = frozenset({"hopper"})
    dtypes: ClassVar[tuple[str, ...]] = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BAND_AND_CHUNKS

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if part.backward and DTYPE_BITS[part.dtype] < 16:
            return "fa3 has no fp8 backward pass"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d = largest(part.depth)
        if part.backward:
            sides = BACKWARD[step(d)]
            return (Tile((64 if 96 < d <= 128 and not plain_dense(part) else sides[0],), (sides[1],)),)
        return (compiled(part, *self.sides(part)),)

    def sides(self, part: Part) -> tuple[int, int]:
        """Queries and keys of a tile of the forward pass."""
        d, local = largest(part.depth), is_local(part)
        if DTYPE_BITS[part.dtype] < 16:
            rows, keys = FP8[step(d)]
            return rows, 64 if local and d > 192 else keys
        keys = FORWARD[step(d)][0 if plain_dense(part) else 2 if local else 1]
        if 128 < d <= 192 and largest(part.width) > 128 and not local:
            keys = 112
        return 192 if d <= 96 else 128, keys


FORWARD = {64: (192, 128, 128), 96: (144, 144, 128), 128: (176, 128, 128), 192: (128, 128, 96), 256: (80, 80, 64)}
"""Keys a tile by head_dim: neither causal nor local, causal, local (tile_size_fwd_sm90)."""
FP8 = {64: (192, 160), 96: (192, 128), 128: (128, 224), 192: (128, 160), 256: (128, 128)}
BACKWARD = {64: (128, 128), 96: (64, 128), 128: (80, 128), 192: (64, 96), 256: (64, 80)}
"""Queries and keys a tile; causal at head_dim 128 takes 64 queries (flash_bwd_launch_template.h)."""


def step(d: float) -> int:
    """The head_dim a kernel is compiled for: the next of 64, 96, 128, 192, 256."""
    return next(step for step in FORWARD if d <= step)


def is_local(part: Part) -> bool:
    """Whether a window bounds the keys on the left."""
    return getattr(part.mask, "left", None) is not None


def compiled(part: Part, rows: int, keys: int) -> FlashTile:
    """A tile of the kernel that is compiled for the part's head dimensions."""
    return FlashTile((rows,), (keys,), head_dim=step(largest(part.depth)), v_dim=step(largest(part.width)))


IMPLEMENTATION = FlashAttention3()
