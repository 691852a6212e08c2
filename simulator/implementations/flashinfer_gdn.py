"""FlashInfer's prefill of the gated delta rule: one kernel, one block a head of v that walks its chunks of 64 tokens.

Everything of a chunk stays in the block; only q, k, v, o and the state move (flashinfer/gdn_prefill.py: C++ and CuTe
DSL on sm_90, flashinfer/gdn_kernels/blackwell/gated_delta_net_chunked.py on sm_100; head_size 128). The newer
context-parallel form, which splits a sequence where heads are few, is left out.
"""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline, Traffic


class FlashInferGdn(ChunkKernels):
    name = "flashinfer-gdn"
    title = "FlashInfer, chunked gated delta rule"
    source = "flashinfer-ai/flashinfer, flashinfer/gdn_prefill.py"
    generations = frozenset({"hopper", "blackwell"})
    head_dims = (128, 128)
    mechanisms = ("gated delta rule",)
    pipeline = Pipeline((64,), (64,), chain=Traffic(width=2, keys=2), resident=1)


IMPLEMENTATION = FlashInferGdn()
