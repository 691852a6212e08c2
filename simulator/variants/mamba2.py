"""Mamba-2: the state-space dual (SSD), linear attention with a decay for each token (Dao and Gu, 2405.21060)."""

from __future__ import annotations

from dataclasses import dataclass

from ..families.linear import chunked_part, recurrent_graph
from ..graph import Graph
from ..problem import DTYPE_BITS, Problem, check_name, check_size
from . import Variant


@dataclass(frozen=True)
class Mamba2(Variant):
    """q is C and k is B of the paper, both with kv_heads groups and head_dim features (its d_state); v is x, with
    v_dim columns (its head_dim). Chunks: scores 2 G C n a token, once for each group; values 2HCp, reads and updates
    2Hnp each; decode 4Hnp. The convolution before it is not attention."""

    chunk: int = 256
    state_dtype: str = "fp32"

    id = "mamba2"
    title = "Mamba-2 (SSD)"
    paper = "2405.21060"
    aliases = ("ssd", "mamba-2")
    family = "linear"
    formula = "S_i = alpha_i S_(i-1) + B_i x_i^T, y_i = S_i^T C_i"
    causality = "causal"
    axes = (1,)
    has_pairs = False

    def __post_init__(self) -> None:
        check_size("chunk", self.chunk)
        check_name("state_dtype", self.state_dtype, DTYPE_BITS)

    def graph(self, problem: Problem) -> Graph:
        part = chunked_part(
            problem, features=problem.head_dim, chunk=self.chunk, decay="data", key_heads=problem.kv_heads,
            shared_scores=True,
        )  # fmt: skip
        return recurrent_graph(problem, part, gates=1, state_dtype=self.state_dtype)


VARIANT = Mamba2
