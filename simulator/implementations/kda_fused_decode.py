"""Kimi delta attention's decode step with its convolution and gated norm in one CUDA kernel (SGLang, vLLM).

python/sglang/kernels/ops/attention/kda_fused_decode.py (compiled for 12 heads of 128, from sm_90 on) and vLLM's
fused_kda_decode (CUDA 13), both of branches for Kimi K3.
"""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline


class KdaFusedDecode(ChunkKernels):
    name = "kda-fused-decode"
    title = "fused decode of Kimi delta attention"
    source = "sgl-project/sglang and vllm-project/vllm, branches kimi-k3"
    generations = frozenset({"hopper", "blackwell", "blackwell-consumer"})
    dtypes = ("bf16",)
    head_dims = (128, 128)
    mechanisms = ("kimi delta",)
    pipeline = Pipeline((1,), (1,), steps=True)


IMPLEMENTATION = KdaFusedDecode()
