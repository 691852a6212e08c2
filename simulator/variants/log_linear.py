"""Log-linear attention: a state for every power of two of the past (Guo et al., 2506.04761)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..algebra import Number, floor_div, is_symbol, log2
from ..families.linear import chunked_part, recurrent_graph
from ..graph import Graph
from ..problem import Problem, check_size
from . import Claim, Variant


def ones_below(n: Number) -> Number:
    """Sum of the binary ones of 0, 1, ..., n - 1; for symbols the mean n log2(n) / 2.

    >>> ones_below(8)
    12
    """
    if is_symbol(n):
        return n * log2(n) / 2
    total: Number = 0
    for bit in range(42):
        half = 1 << bit
        whole = floor_div(n, 2 * half)
        rest = n - whole * 2 * half
        total = total + whole * half + (max(rest - half, 0) if type(n) is int else np.maximum(rest - half, 0))
    return total


def ones(n: Number) -> Number:
    """Binary ones of n."""
    return ones_below(n + 1) - ones_below(n)


@dataclass(frozen=True)
class LogLinear(Variant):
    """Chunks of C: intra 2BHNC(dk + dv), chunk states 2BHN dk dv, reads 2BHN dk dv for each live level (binary
    ones of the chunk index, half of log2(N/C) on average). State: floor(log2 N) + 1 levels."""

    chunk: int = 64

    id = "log-linear"
    title = "Log-linear attention"
    paper = "2506.04761"
    family = "linear"
    formula = "o_i = sum_l lambda_i^l q_i S_i^l, one state S^l for each power-of-two segment of the past"
    causality = "causal"
    axes = (1,)
    has_pairs = False
    claims = (Claim("O(N log N) time, O(log N) state", "any", "abstract"),)

    def __post_init__(self) -> None:
        check_size("chunk", self.chunk)

    def graph(self, problem: Problem) -> Graph:
        n, m, c = problem.queries, problem.kv_len, self.chunk
        per_token = 2 * problem.batch * problem.heads * problem.head_dim * problem.v_dim
        first = floor_div(m - n, c)
        whole = floor_div(m, c)
        levels = (
            c * (ones_below(whole) - ones_below(first))
            + (m - whole * c) * ones(whole)
            - (m - n - first * c) * ones(first)
            if not is_symbol(n)
            else n * log2(n / c) / 2
        )
        one = n == 1
        if isinstance(one, np.ndarray):
            levels = np.where(one, ones(m), levels)
        elif one:
            levels = ones(m)
        part = chunked_part(problem, features=problem.head_dim, chunk=c, decay="data", reads=per_token * levels)
        states = (
            np.floor(np.log2(m)) + 1 if isinstance(m, np.ndarray) else log2(m) + 1 if is_symbol(m) else m.bit_length()
        )
        return recurrent_graph(problem, part, states=states, gates=states)


VARIANT = LogLinear
