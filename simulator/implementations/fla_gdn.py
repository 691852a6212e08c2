"""flash-linear-attention's chunk kernels of the gated delta rule, as TensorRT-LLM and vLLM carry them.

Six launches (fla/ops/gated_delta_rule/chunk.py): sums of the gates; beta k k^T into fp32 (fla/ops/common/
chunk_scaled_dot_kkt.py); its inverse in blocks of 16 rows, a block a program (fla/ops/utils/solve_tril.py); W and U
(wy_fast.py); the chain of states, which reads W, U and k, keeps blocks of V columns and writes each chunk's state and
new values (fla/ops/common/chunk_delta_h.py); outputs from q, k, states and new values (chunk_o.py).
"""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline, Traffic


class FlaGdn(ChunkKernels):
    name = "fla-gdn"
    title = "flash-linear-attention, chunked gated delta rule"
    source = "fla-org/flash-linear-attention, fla/ops/gated_delta_rule; NVIDIA/TensorRT-LLM, _torch/modules/fla"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mechanisms = ("gated delta rule",)
    pipeline = Pipeline(
        (64,), (64,), parallel=Traffic(depth=1, width=4, chunk=6, keys=4, states=1),
        chain=Traffic(depth=1, width=2, keys=1, states=1),
    )  # fmt: skip


IMPLEMENTATION = FlaGdn()
