"""Kimi delta attention: the gated delta rule with a decay of its own for every key channel (2510.26692)."""

from __future__ import annotations

from dataclasses import dataclass

from ..families.linear import chunked_part, recurrent_graph
from ..graph import Graph
from ..problem import DTYPE_BITS, Problem, check_name, check_size
from . import Variant


@dataclass(frozen=True)
class KimiDeltaAttention(Variant):
    """The products of the gated delta rule: per token and head 6 dk dv + 2C(3dk + 2dv) + C^2/3 FLOPs; decode 6 dk dv.
    Decays enter q and k: 3 dk exponentials a token in place of C. State dk x dv, a gate for each of dk channels."""

    chunk: int = 64
    state_dtype: str = "fp32"

    id = "kda"
    title = "Kimi delta attention"
    paper = "2510.26692"
    aliases = ("kimi-delta-attention",)
    family = "linear"
    formula = "S_i = (I - beta_i k_i k_i^T) Diag(alpha_i) S_(i-1) + beta_i k_i v_i^T, o_i = S_i^T q_i"
    causality = "causal"
    axes = (1,)
    has_pairs = False

    def __post_init__(self) -> None:
        check_size("chunk", self.chunk)
        check_name("state_dtype", self.state_dtype, DTYPE_BITS)

    def graph(self, problem: Problem) -> Graph:
        part = chunked_part(
            problem, features=problem.head_dim, chunk=self.chunk, delta=True, decay="channel", map_vector=3
        )
        gates = problem.head_dim + 1
        return recurrent_graph(problem, part, gates=gates, gate_dtype=problem.dtype, state_dtype=self.state_dtype)


VARIANT = KimiDeltaAttention
