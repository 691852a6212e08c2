"""FlashInfer's decode kernel for few query heads a kv head, on vector lanes.

Facts: include/flashinfer/attention/decode.cuh and scheduler.cuh. 128 threads: head_dim / 8 of them hold a key, as many
groups as there are heads take each key; with one head a group takes four keys at a time. Blocks that fit on the units
bound the chunks of keys, 128 at least (DecodePlan). SGLang takes it below four heads and for 16-bit keys
(should_use_tensor_core in flashinfer_backend.py).
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, floor_div, maximum, where
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart
from . import BANDS, SplitKV, largest, windowed
from .flashinfer_decode import LEAST

FEW_HEADS = 4
THREADS, VECTOR = 128, 8
STAGES = 2
MOST_BLOCKS = 4
"""A unit, by registers."""


class FlashInferDecodeLanes(SplitKV):
    name = "flashinfer-decode-lanes"
    title = "FlashInfer batch decode on vector lanes"
    source = "flashinfer-ai/flashinfer, include/flashinfer/attention/decode.cuh"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    head_dims = (64, 512)
    mask_kinds = BANDS
    offered = False

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        group = int(largest(part.heads / part.kv_heads))
        if group >= FEW_HEADS or DTYPE_BITS[part.kv_dtype] < 16:
            return f"{self.name} takes fewer than {FEW_HEADS} query heads a kv head and 16-bit keys"
        return super().refuses_more(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        group = int(largest(part.heads / part.kv_heads))
        threads = max(int(largest(part.depth)) // VECTOR, 1)
        groups = max(THREADS // (threads * group), 1)
        return (Tile((group,), (groups * group * (4 if group == 1 else 1),)),)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        assert tiled.summary is not None
        part, side = tiled.part, tiled.columns
        items = part.batch * part.kv_heads
        room = (hardware.smem_bytes_per_sm or 100 * 1024) // (STAGES * largest(part.depth + part.width) * 2 * side)
        blocks = int(max(min(room, MOST_BLOCKS), 1))
        keys: Number = tiled.summary.longest_row * side
        chunks = maximum(floor_div(blocks * hardware.sm_count, items), 1)
        each = maximum(ceil_div(keys, chunks), LEAST)
        splits = ceil_div(keys, each)
        return SplitPlan(items, splits, ceil_div(each, side), blocks, splitting=where(splits > 1, 1, 0),
                         combine_blocks=part.batch * part.heads, windowed=windowed(part))  # fmt: skip


IMPLEMENTATION = FlashInferDecodeLanes()
