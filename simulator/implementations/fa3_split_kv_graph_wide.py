"""FlashAttention-3 split-KV as vLLM builds it, fp8 operands of head_dim 129 to 256: sums in two levels leave their
warpgroups few registers (vllm-project/flash-attention, hopper/tile_size.h). See `fa3-split-kv-graph`."""

from __future__ import annotations

from .fa3_split_kv_graph import FlashAttention3SplitKVGraph


class FlashAttention3SplitKVGraphWide(FlashAttention3SplitKVGraph):
    name = "fa3-split-kv-graph-wide"
    title = "FlashAttention-3, split-KV, vLLM's build in CUDA graphs, fp8 of wide heads"
    dtypes = ("fp8", "fp8_e4m3")
    head_dims = (129, 256)
    fp8_head_dims = 128, 256


IMPLEMENTATION = FlashAttention3SplitKVGraphWide()
