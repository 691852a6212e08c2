"""One token of the gated delta rule by flash-linear-attention's own recurrent step, as TensorRT-LLM and older versions
of SGLang run it: a block of one warp holds 8 columns of a head's state, and the last one is written elsewhere, in fp32
(fla/ops/gated_delta_rule/fused_recurrent.py).
"""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline


class FlaRecurrent(ChunkKernels):
    name = "fla-recurrent"
    title = "flash-linear-attention, recurrent step"
    source = "fla-org/flash-linear-attention, fla/ops/gated_delta_rule/fused_recurrent.py"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mechanisms = ("gated delta rule",)
    pipeline = Pipeline((1,), (1,), steps=True, in_place=False)


IMPLEMENTATION = FlaRecurrent()
