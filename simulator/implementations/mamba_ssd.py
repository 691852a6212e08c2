"""Mamba-2's chunk kernels (SSD) in Triton: state-spaces/mamba, carried by vLLM, SGLang and TensorRT-LLM.

Five launches (mamba_ssm/ops/triton/ssd_combined.py): sums of the gates; a state for each chunk in fp32
(ssd_chunk_state.py); the chain over chunks, which reads and writes them (ssd_state_passing.py); C B^T of each group
(ssd_bmm.py), fp32; outputs from x, C, the states and these scores (ssd_chunk_scan.py). Chunks as the model has them.
"""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline, Traffic


class MambaSsd(ChunkKernels):
    name = "mamba-ssd"
    title = "Mamba-2 chunk scan"
    source = "state-spaces/mamba, mamba_ssm/ops/triton/ssd_combined.py"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mechanisms = ("ssd",)
    pipeline = Pipeline(
        (256,), (256,), parallel=Traffic(width=3, keys=4, key_chunk=4, states=4), chain=Traffic(states=4)
    )
    any_chunk = True


IMPLEMENTATION = MambaSsd()
