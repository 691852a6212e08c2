"""Gated DeltaNet: the delta rule with a decay gate (Yang et al., 2412.06464), chunked as in flash-linear-attention."""

from __future__ import annotations

from dataclasses import dataclass

from ..families.linear import chunked_part, recurrent_graph
from ..graph import Graph
from ..problem import DTYPE_BITS, Problem, check_name, check_size
from . import Variant


@dataclass(frozen=True)
class GatedDeltaNet(Variant):
    """Per token and head 6 dk dv + 2C(3dk + 2dv) + C^2/3 FLOPs; decode 6 dk dv. State dk x dv in fp32.

    grouped_values: q and k have kv_heads heads, v and the state more (Qwen3-Next, Qwen3.5); else all have `heads`.
    """

    chunk: int = 64
    grouped_values: bool = False
    state_dtype: str = "fp32"

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
        check_name("state_dtype", self.state_dtype, DTYPE_BITS)

    def graph(self, problem: Problem) -> Graph:
        part = chunked_part(
            problem, features=problem.head_dim, chunk=self.chunk, delta=True, decay="data", map_vector=3,
            key_heads=problem.kv_heads if self.grouped_values else None,
        )  # fmt: skip
        return recurrent_graph(problem, part, gates=2, state_dtype=self.state_dtype)


VARIANT = GatedDeltaNet
