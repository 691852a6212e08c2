"""FlashAttention-4 (2603.05451): tcgen05 kernels for datacenter Blackwell, two query tiles of 128 per work item.

Tiles: flash_attn/cute/flash_fwd_sm100.py of Dao-AILab/flash-attention (m_block 128, two stages of queries, n_block
128) and flash_bwd_sm100.py (128 x 128). A share of the exponentials is emulated on the FMA lanes.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BAND_AND_CHUNKS, Implementation, largest


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
        return (Tile((128,), (128,)),) if part.backward else (Tile((256,), (128,)),)


IMPLEMENTATION = FlashAttention4()
