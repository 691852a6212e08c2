"""SGLang's Triton prefill ("extend attention"): one block a query tile of one head, single-staged, every tile masked.

Tiles and warps: python/sglang/kernels/ops/attention/extend_attention.py of sgl-project/sglang (0.5.14),
_get_block_sizes_for_extend_attention: by compute capability and head_dim. Along the grid sequences vary fastest,
then heads, then query tiles, the longest rows last. A window is evaluated on every causal tile, none is skipped.
"""

from __future__ import annotations

from ..config import operand_refusal
from ..graph import Part
from ..hardware import Hardware
from ..tiling import FlashTile, Tile
from . import BANDS, Implementation, largest

TILES = {
    "ampere": ((128, (128, 128)), (256, (64, 64)), (512, (32, 64))),
    "ada": ((128, (64, 128)), (256, (64, 64)), (512, (32, 32))),
    "hopper": ((128, (128, 64)), (256, (64, 64)), (512, (32, 64))),
    "blackwell": ((256, (64, 64)), (512, (16, 64))),
    "blackwell-consumer": ((128, (64, 128)), (256, (64, 64)), (512, (32, 32))),
}  # fmt: skip
"""By generation, up to which head_dim which tile."""


def warps_of(part: Part) -> int:
    """Warps of a block, by head_dim alone."""
    return 4 if largest(part.depth) <= 64 else 8


class SglangTriton(Implementation):
    name = "sglang-triton"
    title = "SGLang's Triton prefill"
    source = "sgl-project/sglang, extend_attention.py"
    generations = frozenset(TILES)
    directions = ("forward",)
    head_dims = (16, 512)
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BANDS
    offered = False

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.depth) != largest(part.width):
            return f"{self.name} takes K and V of the same width; see sglang-triton-unequal"
        return operand_refusal(self.name, part, hardware)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        rows, keys = next(tile for most, tile in TILES[hardware.generation] if largest(part.depth) <= most)
        return (FlashTile((rows,), (keys,), spread=True, warps=warps_of(part)),)

    def masked(self, part: Part, tile: Tile) -> str:
        return "all"


IMPLEMENTATION = SglangTriton()
