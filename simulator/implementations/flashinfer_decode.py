"""FlashInfer's decode kernels (2501.01005): paged KV, packed heads on tensor cores, keys split by a planner.

The planner cuts every sequence's cache so that the work items fill the chip (include/flashinfer/attention/
scheduler.cuh); query tiles of 16 rows where the packed heads are few, 64 or 128 otherwise.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
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
        rows = largest(part.tokens) * self.packed_heads(part)
        return (Tile((16 if rows <= 16 else 64 if rows <= 64 else 128,), (64 if largest(part.depth) > 256 else 128,)),)


IMPLEMENTATION = FlashInferDecode()
