"""FlashInfer's decode kernels (2501.01005): paged KV, packed heads on tensor cores, keys split by a planner.

The planner takes the smallest chunk of keys, 128 at least, whose blocks fill the units twice (include/flashinfer/
attention/scheduler.cuh, PrefillSplitQOKVIndptr). Fewer than four query heads a kv head of 16-bit keys are decoded on
CUDA cores instead: `flashinfer-decode-lanes`.
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, floor_div, maximum, where
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart
from . import BANDS, SplitKV, largest, windowed

LEAST = 128
"""Keys of a chunk."""
BLOCKS = 2
"""A unit (num_blocks_per_sm)."""


class FlashInferDecode(SplitKV):
    name = "flashinfer-decode"
    title = "FlashInfer batch decode"
    source = "flashinfer-ai/flashinfer, include/flashinfer/attention"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2")
    head_dims = (64, 576)
    mask_kinds = BANDS

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        # include/flashinfer/attention/prefill.cuh: rows by the packed queries, keys by what shared memory holds for
        # two blocks (one if that is all), in 16-key steps for each of four warps where a tile has 16 rows.
        packed = self.packed_heads(part)
        rows = largest(part.tokens) * packed
        depth, width = largest(part.depth), largest(part.width)
        q = 128 if rows > 64 and depth < 256 else 64 if rows > 16 else 16
        warps = 4 if q == 16 else 1
        shared = hardware.smem_bytes_per_sm or 100 * 1024
        queries = q * depth * DTYPE_BITS[part.dtype] / 8
        step = (depth + width) * 16 * warps * DTYPE_BITS[part.kv_dtype] / 8
        blocks = 2 if shared >= 2 * (queries + step) else 1
        steps = min((shared / blocks - queries) // step, 8 // (2 if q == 128 else 1))
        steps = next((n for n in (8, 4, 2) if steps >= n), 1)
        return (Tile((q,), (16 * steps * warps,)),)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        assert tiled.summary is not None
        part, side = tiled.part, tiled.columns
        items = tiled.summary.query_tiles * tiled.instances
        keys: Number = tiled.summary.longest_row * side
        chunks = maximum(floor_div(BLOCKS * hardware.sm_count, items), 1)
        each = maximum(ceil_div(keys, chunks), LEAST)
        splits = ceil_div(keys, each)
        return SplitPlan(items, splits, ceil_div(each, side), BLOCKS, splitting=where(splits > 1, 1, 0),
                         combine_blocks=part.batch * part.heads * part.tokens, windowed=windowed(part))  # fmt: skip


IMPLEMENTATION = FlashInferDecode()
