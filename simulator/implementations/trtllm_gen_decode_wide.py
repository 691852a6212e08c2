"""TensorRT-LLM's generated decode kernels for many query heads a kv head, whose rows fill the wide side of a matrix
instruction (fmhaKernels.cuh, selectGqGenerationKernel: KeepsMmaAbForGeneration). See `trtllm-gen-decode`.

Where items are so few that their keys may be split, the blocks of an item merge its rows among themselves, each a part
of them; with few keys one block merges them all.
"""

from __future__ import annotations

from dataclasses import replace

from ..algebra import Number, ceil_div, clip, floor_div, maximum, minimum, where
from ..graph import Part
from ..hardware import Hardware
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart
from . import SplitKV
from .trtllm_gen_decode import KEYS, NARROW, TrtllmGenDecode, rows


class TrtllmGenDecodeWide(TrtllmGenDecode):
    name = "trtllm-gen-decode-wide"
    title = "TensorRT-LLM generated FMHA, decode, many heads a kv head"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if rows(part) <= NARROW:
            return f"{self.name} takes more than {NARROW} queries and heads a kv head, not {rows(part)}"
        return SplitKV.refuses_more(self, part, hardware, tile)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        plan, part = super().plan(tiled, hardware), tiled.part
        left = getattr(part.mask, "left", None)
        keys: Number = part.keys if left is None else minimum(part.keys, left + 1)
        room = floor_div(hardware.sm_count, plan.items)
        sharing = clip(ceil_div(keys, KEYS), 1, maximum(room, 1))
        merged = minimum(tiled.rows, part.tokens * part.heads / part.kv_heads) * part.width / 128
        return replace(plan, merging=where(room > 1, merged / sharing, 0))


IMPLEMENTATION = TrtllmGenDecodeWide()
