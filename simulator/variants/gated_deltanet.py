"""Gated DeltaNet: the delta rule with a decay gate (Yang et al., 2412.06464), chunked as in flash-linear-attention."""

from __future__ import annotations

from dataclasses import dataclass

from ..families.linear import chunked_part, recurrent_graph
from ..graph import Graph
from ..problem import Problem, check_size
from . import Variant


@dataclass(frozen=True)
class GatedDeltaNet(Variant):
    """Per token and head 6 dk dv + 2C(3dk + 2dv) + C^2/3 FLOPs; decode 6 dk dv. State dk x dv in fp32."""

    chunk: int = 64

    id = "gated-deltanet"
    title = "Gated DeltaNet"
    paper = "2412.06464"
    aliases = ("gdn",)
    family = "linear"
    formula = "S_i = alpha_i S_(i-1) (I - beta_i k_i k_i^T) + beta_i v_i k_i^T, o_i = S_i q_i"
    causality = "causal"
    axes = (1,)
    has_pairs = False

    def __post_init__(self) -> None:
        check_size("chunk", self.chunk)

    def graph(self, problem: Problem) -> Graph:
        part = chunked_part(
            problem, features=problem.head_dim, chunk=self.chunk, delta=True, decay="data", map_vector=3
        )
        return recurrent_graph(problem, part, gates=2)


VARIANT = GatedDeltaNet
