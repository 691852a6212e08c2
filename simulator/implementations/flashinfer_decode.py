"""FlashInfer's decode kernels (2501.01005): paged KV, packed heads on tensor cores, keys split by a planner.

The planner cuts every sequence's cache so that the work items fill the chip (include/flashinfer/attention/
scheduler.cuh).
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import BANDS, SplitKV, largest


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
        tile = Tile((q,), (16 * steps * warps,))
        # With few heads a kv head it decodes on CUDA cores, key by key: nothing is padded to a wide key tile.
        return (tile, Tile((16,), (16,))) if rows < 4 else (tile,)


IMPLEMENTATION = FlashInferDecode()
