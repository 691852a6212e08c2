"""FlashInfer's prefill kernels in the style of FlashAttention-2 (`mma.sync`): packed heads, two blocks a compute unit.

Facts: include/flashinfer of flashinfer-ai/flashinfer. Rows of a block by the rows of a sequence and kv head: 128 beyond
64 (with head_dim below 256), 64 beyond 16, else 16 (utils.cuh, FA2DetermineCtaTileQ); keys by what shared memory leaves
to two blocks a unit, 16 for each of at most 8, 4 with 128 rows (attention/prefill.cuh). Idle units take splits of the
keys (attention/scheduler.cuh, PrefillBinarySearchKVChunkSize). No chip that may be calibrated has runs of them: they
take the constants of FlashAttention-2 over a paged cache, whose inner loop is alike.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import FlashTile, Tile
from . import BANDS, Implementation, largest


class FlashinferPrefill(Implementation):
    name = "flashinfer-prefill"
    title = "FlashInfer prefill (FA2 style)"
    source = "flashinfer-ai/flashinfer, include/flashinfer/attention/prefill.cuh"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell-consumer"})
    offered = False
    directions = ("forward",)
    head_dims = (64, 256)
    mask_kinds = BANDS
    packs_heads = True
    calibration = "fa2-paged"

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        packed = largest(part.tokens) * largest(part.heads / part.kv_heads)
        rows = 128 if packed > 64 and largest(part.width) < 256 else 64 if packed > 16 else 16
        return (FlashTile((rows,), (keys_of(part, hardware, rows),), splits=True, fills=True),)


def keys_of(part: Part, hardware: Hardware, rows: int) -> int:
    """Keys of a tile: in steps of 16 for each group of warps that shares them."""
    depth, width = int(largest(part.depth)), int(largest(part.width))
    groups = 4 if rows == 16 else 1
    query = rows * depth * DTYPE_BITS[part.dtype] // 8
    step = (depth + width) * 16 * groups * DTYPE_BITS[part.kv_dtype] // 8
    memory = int(hardware.smem_bytes_per_sm or 0)
    blocks = 2 if memory >= 2 * (query + step) else 1
    fits = (memory // blocks - query) // step
    return 16 * groups * max(1, min(int(fits), 4 if rows == 128 else 8))


IMPLEMENTATION = FlashinferPrefill()
