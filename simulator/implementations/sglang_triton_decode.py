"""SGLang's Triton decode kernel: two stages, splits of a fixed number at most.

Facts: python/sglang/srt/layers/attention of sgl-project/sglang, triton_ops/decode_attention.py (16 query heads by 32
keys with matrix instructions, 4 warps, where several heads share a kv head; splits in steps of 32 keys) and
triton_backend.py (get_num_kv_splits_triton: splits for as many units as the chip has times the logarithm of the length,
up to triton_attention_num_kv_splits; a window shortens the list of keys). Keys and values of unequal widths cost 6 us
more, whatever their number (public tables).
"""

from __future__ import annotations

from typing import ClassVar

from ..algebra import Number, ceil_div, ceil_to, floor_div, log2, maximum, minimum, where
from ..graph import Part
from ..hardware import Hardware
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart
from . import BANDS, SplitKV, largest, windowed

HEADS = 16
STEP = 32
MOST = 8
"""Splits (the default of the server's argument)."""


class SglangTritonDecode(SplitKV):
    name = "sglang-triton-decode"
    title = "SGLang's Triton decode kernel"
    source = "sgl-project/sglang, python/sglang/srt/layers/attention/triton_ops/decode_attention.py"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    dtypes = ("fp16", "bf16")
    head_dims = (16, 576)
    mask_kinds = BANDS
    offered = False
    most: ClassVar[int] = MOST
    """Splits of a sequence."""

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((HEADS,), (STEP,)),)

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.heads / part.kv_heads) == 1:
            return f"{self.name} is for query heads that share a kv head"
        return super().refuses_more(part, hardware, tile)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        part = tiled.part
        left = getattr(part.mask, "left", None)
        keys: Number = part.keys if left is None else minimum(part.keys, left + 1)
        items = part.batch * ceil_div(part.heads, minimum(HEADS, part.heads / part.kv_heads))
        units = floor_div(hardware.sm_count * maximum(log2(maximum(keys, 2 * STEP) / (2 * STEP)), 1), 1)
        wanted = minimum(ceil_div(units, items), self.most)
        each = ceil_to(ceil_div(keys, ceil_div(keys, ceil_div(keys, wanted))), STEP)
        return SplitPlan(items, ceil_div(keys, each), ceil_div(each, tiled.columns), RESIDENT, splitting=1,
                         combine_blocks=part.batch * part.heads, windowed=windowed(part),
                         prepared=where(part.depth == part.width, 0, 1))  # fmt: skip


RESIDENT = 4
IMPLEMENTATION = SglangTritonDecode()
