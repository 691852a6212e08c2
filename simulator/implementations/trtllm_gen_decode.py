"""TensorRT-LLM's generated FMHA kernels for datacenter Blackwell, generation phase (cubins; FlashInfer ships them too).

Facts: include/flashinfer/trtllm/fmha/fmhaKernels.cuh of flashinfer-ai/flashinfer. The heads of a kv head fill query
tiles of 8 to 128 rows, keys come in pairs of tiles of 128 (mStepKv). Splits fill the units, at least two pairs each;
with one split alone a persistent grid runs (computeCtaAndClusterConfig). Descriptors load whole pages.
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, ceil_to, clip, floor_div, maximum, minimum, where
from ..graph import Part
from ..hardware import Hardware
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart, key_bytes
from . import BANDS, SplitKV, largest, windowed

KEYS = 128
STEP = 2 * KEYS
LEAST = 2 * STEP
"""Keys of the least split, which makes up for its merging."""
PAGE = 64
"""Keys of a page in the frameworks that run them."""
ROWS = (8, 16, 32, 64, 128)
NARROW = 32
"""Rows up to which they are the narrow side of a matrix instruction."""


class TrtllmGenDecode(SplitKV):
    name = "trtllm-gen-decode"
    title = "TensorRT-LLM generated FMHA, decode"
    source = "flashinfer-ai/flashinfer, include/flashinfer/trtllm/fmha/fmhaKernels.cuh"
    generations = frozenset({"blackwell"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    head_dims = (32, 512)
    mask_kinds = BANDS

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if rows(part) > NARROW:
            return f"{self.name} takes up to {NARROW} queries and heads a kv head, not {rows(part)}"
        return super().refuses_more(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((next((n for n in ROWS if rows(part) <= n), ROWS[-1]),), (KEYS,)),)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        assert tiled.summary is not None
        part, cut = tiled.part, windowed(tiled.part)
        items = tiled.summary.query_tiles * tiled.instances
        left = getattr(part.mask, "left", None)
        seen: Number = part.keys if left is None else minimum(part.keys, left + STEP)
        most = ceil_div(seen, LEAST)
        splits = minimum(most, maximum(floor_div(hardware.sm_count, items), 1))
        attended = part.keys if left is None else minimum(part.keys, left + 1)
        padding = part.batch * part.kv_heads * (ceil_to(attended, PAGE) - attended) * key_bytes(part)
        return SplitPlan(items, splits, ceil_div(tiled.summary.longest_row, splits), splitting=clip(splits - 1, 0, 1),
                         combine_blocks=items * splits, windowed=where(cut > 0, 1, 0), padding=padding)  # fmt: skip


def rows(part: Part) -> int:
    """The most queries times heads a kv head."""
    return int(largest(part.tokens) * largest(part.heads / part.kv_heads))


IMPLEMENTATION = TrtllmGenDecode()
