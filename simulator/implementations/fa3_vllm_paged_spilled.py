"""FlashAttention-3 as vLLM builds it, fp8 operands of head_dim 193 to 256 over its paged cache: sums in two levels take
more registers than there are ("FP8 prefill ~0.54x of BF16", hopper/tile_size.h). See `fa3-vllm-paged`."""

from __future__ import annotations

from .fa3_vllm_paged import FlashAttention3VllmPaged


class FlashAttention3VllmPagedSpilled(FlashAttention3VllmPaged):
    name = "fa3-vllm-paged-spilled"
    title = "FlashAttention-3, vLLM's build, paged cache, fp8 of wide heads"
    dtypes = ("fp8", "fp8_e4m3")
    head_dims = (193, 256)
    fp8_head_dims = 192, 256


IMPLEMENTATION = FlashAttention3VllmPagedSpilled()
