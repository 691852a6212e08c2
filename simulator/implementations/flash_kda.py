"""FlashKDA (MoonshotAI): Kimi delta attention in two kernels over chunks of 16 tokens.

The first takes every chunk and head by itself: gates, normalisation, decayed q and k (three tiles of 16 x dk), the
16 x 16 inverse and scores, all through memory; the second passes the state, one block a head with 97 KiB of shared
memory, so two on a compute unit (docs/20260420-flashkda-v1-deep-dive.md, csrc/smxx/fwd_kernel2.cuh). dk = dv = 128.
"""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline, Traffic


class FlashKda(ChunkKernels):
    name = "flash-kda"
    title = "FlashKDA"
    source = "MoonshotAI/FlashKDA, csrc/smxx"
    generations = frozenset({"hopper", "blackwell", "blackwell-consumer"})
    dtypes = ("bf16",)
    head_dims = (128, 128)
    mechanisms = ("kimi delta",)
    pipeline = Pipeline(
        (16,), (16,), parallel=Traffic(depth=6.125, chunk=2), chain=Traffic(depth=3.125, width=2, chunk=2), resident=2
    )


IMPLEMENTATION = FlashKda()
