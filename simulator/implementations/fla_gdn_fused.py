"""SGLang's form of flash-linear-attention's gated delta rule: scores and their inverse in one kernel, norms of q and k
in kernels of their own.

python/sglang/srt/layers/attention/fla/chunk_fwd.py (fused kkt and solve: one program a chunk and head inverts its four
blocks of 16 rows one after the other, over a matrix cleared before), l2norm.py (q and k read and written once more),
else as in `fla_gdn`. Triton tunes the fused kernel (32 or 64 columns of k, 1, 2 or 4 warps) on the first call for each
pair of head counts; where that call has one token, all take the same time and the choice is left to chance.
"""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline, Traffic


class FlaGdnFused(ChunkKernels):
    name = "fla-gdn-fused"
    title = "SGLang, chunked gated delta rule"
    source = "sgl-project/sglang, python/sglang/srt/layers/attention/fla"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mechanisms = ("gated delta rule",)
    pipeline = Pipeline(
        (64,), (64,), parallel=Traffic(depth=1, width=4, chunk=3, keys=8, states=1),
        chain=Traffic(depth=1, width=2, keys=1, states=1),
    )  # fmt: skip


IMPLEMENTATION = FlaGdnFused()
