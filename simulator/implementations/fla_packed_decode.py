"""One token of the delta rule, packed: SGLang's and vLLM's recurrent steps for decoding.

fused_recurrent_gated_delta_rule_packed_decode and fused_recurrent_kda_packed_decode take q, k and v as the convolution
leaves them, with gates and norms in the kernel; a block holds 32 columns of a head's state, in place
(python/sglang/srt/layers/attention/fla/fused_recurrent.py, vllm/model_executor/layers/fla/ops/fused_recurrent.py).
"""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline


class FlaPackedDecode(ChunkKernels):
    name = "fla-packed-decode"
    title = "packed recurrent step of the delta rule (SGLang, vLLM)"
    source = "sgl-project/sglang and vllm-project/vllm, fla/fused_recurrent.py"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mechanisms = ("gated delta rule", "kimi delta")
    pipeline = Pipeline((1,), (1,), steps=True)


IMPLEMENTATION = FlaPackedDecode()
