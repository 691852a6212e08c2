"""FlashAttention-3 split-KV as vLLM builds it and captures it in CUDA graphs.

A graph must do for any lengths, so vLLM bounds the splits by a number and not by the first lengths
(vllm/config/attention.py, flash_attn_max_num_splits_for_cuda_graph; v1/attention/backends/flash_attn.py, up to the
largest batch that is captured). Kernels: hopper/ of vllm-project/flash-attention, of which few queries of usual width
take one with a single warpgroup for matrix work (heuristics.h, use_one_mma_wg; tile_size.h).
"""

from __future__ import annotations

from ..algebra import Number, where
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import largest
from .fa3 import step
from .fa3_split_kv import FlashAttention3SplitKV
from .fa3_vllm_paged import FP8

GRAPH_SPLITS = 32
LARGEST_GRAPH = 512
"""Sequences of the largest batch that vLLM captures by default."""
LONE_ROWS = 64
"""Packed rows that one warpgroup does the matrix work of."""


class FlashAttention3SplitKVGraph(FlashAttention3SplitKV):
    name = "fa3-split-kv-graph"
    title = "FlashAttention-3, split-KV, vLLM's build in CUDA graphs"
    source = "vllm-project/flash-attention, hopper"
    offered = False
    fp8_head_dims = 0, 128
    """Above and up to which head dimensions fp8 operands are this kernel's."""

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        low, high = self.fp8_head_dims
        if DTYPE_BITS[part.dtype] < 16 and not low < largest(part.depth) <= high:
            return f"{self.name} takes fp8 operands of head_dim {low + 1} to {high}, not {int(largest(part.depth))}"
        return super().refuses_more(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        d, local = largest(part.depth), getattr(part.mask, "left", None) is not None
        fp8 = DTYPE_BITS[part.dtype] < 16
        if d in (64, 128) and not local and largest(part.heads / part.kv_heads) <= LONE_ROWS:
            return (Tile((LONE_ROWS,), ((128 if d == 64 else 96) if fp8 else 192 if d == 64 else 128,)),)
        if fp8:
            rows, keys = (128, 64) if local and d > 192 else FP8[step(d)]
            return (Tile((rows,), (keys,)),)
        if d <= 64:
            return (Tile((192,), (160,)),)
        return super().tiles(part, hardware)

    def most(self, part: Part, tiles: Number, heads: Number, units: int) -> Number:
        return where(part.batch <= LARGEST_GRAPH, GRAPH_SPLITS, super().most(part, tiles, heads, units))


IMPLEMENTATION = FlashAttention3SplitKVGraph()
