"""One token of Mamba-2: selective_state_update of state-spaces/mamba, the state in place
(mamba_ssm/ops/triton/selective_state_update.py)."""

from __future__ import annotations

from ..pipeline import ChunkKernels, Pipeline


class MambaStep(ChunkKernels):
    name = "mamba-step"
    title = "Mamba-2 state update"
    source = "state-spaces/mamba, mamba_ssm/ops/triton/selective_state_update.py"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    mechanisms = ("ssd",)
    pipeline = Pipeline((1,), (1,), steps=True)


IMPLEMENTATION = MambaStep()
