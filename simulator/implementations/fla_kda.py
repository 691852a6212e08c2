"""flash-linear-attention's chunk kernels of Kimi delta attention, as SGLang and vLLM carry them.

As for the gated delta rule (`fla_gdn`), with a decay for every channel: gates summed into fp32, q and k normalised,
scores of q and of k between and inside blocks of 16 rows into two fp32 matrices cleared before, W, U and decayed keys,
states, outputs (python/sglang/srt/layers/attention/fla/kda.py, fla/ops/kda).
"""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline, Traffic


class FlaKda(ChunkKernels):
    name = "fla-kda"
    title = "flash-linear-attention, chunked Kimi delta attention"
    source = (
        "sgl-project/sglang, python/sglang/srt/layers/attention/fla/kda.py; fla-org/flash-linear-attention, fla/ops/kda"
    )
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mechanisms = ("kimi delta",)
    pipeline = Pipeline(
        (64,), (64,), parallel=Traffic(depth=23, width=4, chunk=14, states=1),
        chain=Traffic(depth=2, width=2, states=1),
    )  # fmt: skip


IMPLEMENTATION = FlaKda()
