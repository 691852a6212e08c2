"""Lightning attention: linear attention with a fixed decay per head, in IO-aware chunks (2405.17381)."""

from __future__ import annotations

from dataclasses import dataclass

from ..algebra import ceil_div
from ..families.linear import chunked_part, recurrent_graph
from ..graph import Graph
from ..problem import Problem, check_size
from . import Claim, Variant


@dataclass(frozen=True)
class Lightning(Variant):
    """Chunks of 64 (the released kernel's BLOCK); features are q and k themselves. The released kernel computes
    the scores once for every 32 value columns: that enters with the tiles."""

    chunk: int = 64
    value_block: int = 32

    id = "lightning"
    title = "Lightning attention"
    paper = "2405.17381"
    family = "linear"
    formula = "o_i = sum_j<=i lambda^(i-j) (q_i . k_j) v_j"
    causality = "causal"
    axes = (1,)
    has_pairs = False
    claims = (
        Claim("17.66 ms forward, FlashAttention-2 162.9 ms", "B=4, H=32, d=128, N=32768, bf16, GPU unnamed",
              "repository table"),
        Claim("crossover with FlashAttention-2 between N = 2k and 4k", "same setting", "repository table"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_size("chunk", self.chunk)
        check_size("value_block", self.value_block)

    def graph(self, problem: Problem) -> Graph:
        again = ceil_div(problem.v_dim, self.value_block) - 1
        part = chunked_part(problem, features=problem.head_dim, chunk=self.chunk, decay="fixed", recompute=again)
        return recurrent_graph(problem, part)


VARIANT = Lightning
