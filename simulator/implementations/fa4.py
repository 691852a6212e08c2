"""FlashAttention-4 (2603.05451): tcgen05 kernels for datacenter Blackwell, two query tiles of 128 per work item.

Tiles: flash_attn/cute/flash_fwd_sm100.py of Dao-AILab/flash-attention (m_block 128, two stages of queries, n_block 128,
head dimensions padded to 16) and flash_bwd_sm100.py (128 x 128). A share of the exponentials is emulated on the FMA
lanes. Keys are not split, as by default; with splits: `fa4-vllm`.
"""

from __future__ import annotations

from ..algebra import ceil_to
from ..graph import Part
from ..hardware import Hardware
from ..tiling import FlashTile, Tile
from . import BAND_AND_CHUNKS, Implementation, largest, plain_dense

HEAD_DIM_STEP = 16


class FlashAttention4(Implementation):
    name = "fa4"
    title = "FlashAttention-4"
    source = "Dao-AILab/flash-attention, flash_attn/cute"
    generations = frozenset({"blackwell"})
    head_dims = (8, 192)
    mask_kinds = BAND_AND_CHUNKS

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.width) > 128:
            return f"fa4 takes v_dim up to 128, not {int(largest(part.width))}"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((128,), (128,)),) if part.backward else (compiled(part),)

    def masked(self, part: Part, tile: Tile) -> str:
        """Without a mask of the problem's own only the last keys of a row are masked (the first tile it takes); rows
        past the end never."""
        return "none" if plain_dense(part) and not part.backward else "partial"


def compiled(part: Part, *, splits: bool = False) -> FlashTile:
    """The tile of the kernel that is compiled for the part's head dimensions."""
    depth, width = (int(ceil_to(int(largest(d)), HEAD_DIM_STEP)) for d in (part.depth, part.width))
    return FlashTile((256,), (128,), head_dim=depth, v_dim=width, splits=splits, fills=splits)


IMPLEMENTATION = FlashAttention4()
