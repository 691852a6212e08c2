"""FlashAttention-2's split-KV kernel ("flash decoding"): few queries, long caches.

Tiles 64 queries by 256, 128 or 64 keys for head_dim up to 64, 128, 256 (flash_fwd_launch_template.h,
run_mha_fwd_splitkv_dispatch). With one query the heads of a kv head take the place of queries
(seqlenq_ngroups_swapped, flash_api.cpp); the number of splits fills the chip (num_splits_heuristic).
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BANDS, SplitKV, largest


class FlashAttention2SplitKV(SplitKV):
    name = "fa2-split-kv"
    title = "FlashAttention-2, split-KV kernel"
    source = "Dao-AILab/flash-attention, csrc/flash_attn"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mask_kinds = BANDS

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d = largest(part.depth)
        return (Tile((64,), (256 if d <= 64 else 128 if d <= 128 else 64,)),)


IMPLEMENTATION = FlashAttention2SplitKV()
