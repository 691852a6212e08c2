"""vLLM's Triton attention kernel on decode batches (unified attention, "2D" and "3D").

Facts: vllm/v1/attention of vllm-project/vllm, ops/triton_unified_attention.py and backends/triton_attn.py. Blocks hold
the heads of a kv head, 16 rows at least. Up to 128 / kv_heads sequences the keys are cut into 16 segments, whose tiles
have 16 keys (32 of 8-bit queries), and merged by another kernel, a block a head; more run whole, with 32 keys a tile.
Segments outside a window end at once. Half a block more for every sequence is started in vain.
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, maximum, minimum, where
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart
from . import BANDS, SplitKV, largest, windowed

SEGMENTS = 16
"""NUM_PAR_SOFTMAX_SEGMENTS."""
ENOUGH = 128
"""Blocks that need no segments (MIN_LAUNCH_GRID_SIZE_2D)."""
KEYS = 32


class VllmTritonDecode(SplitKV):
    name = "vllm-triton-decode"
    title = "vLLM's Triton attention, decode"
    source = "vllm-project/vllm, vllm/v1/attention/ops/triton_unified_attention.py"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    head_dims = (16, 512)
    mask_kinds = BANDS
    offered = False

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        group = int(largest(part.heads / part.kv_heads))
        return (Tile((max(16, 1 << (group - 1).bit_length()),), (KEYS,)),)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        assert tiled.summary is not None
        part = tiled.part
        items = part.batch * part.kv_heads
        cut = where(items <= ENOUGH, 1, 0)
        side = KEYS if DTYPE_BITS[part.dtype] < 16 else KEYS // 2
        each = ceil_div(part.keys, SEGMENTS * side)
        tiles: Number = tiled.summary.longest_row
        longest = minimum(each * (side / KEYS), tiles)
        splits = minimum(ceil_div(part.keys, each * side), maximum(ceil_div(tiles, longest), 1))
        return SplitPlan(items, where(cut > 0, splits, 1), where(cut > 0, longest, tiles), RESIDENT, splitting=cut,
                         combine_blocks=part.batch * part.heads * part.tokens, windowed=windowed(part))  # fmt: skip


RESIDENT = 3
IMPLEMENTATION = VllmTritonDecode()
