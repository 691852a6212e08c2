"""Dilated sliding window: every r-th key around the query (Longformer, 2004.05150)."""

from __future__ import annotations

from dataclasses import dataclass

from ..families.softmax import ragged, softmax_graph
from ..families.window import window_sides
from ..graph import Graph
from ..masks import DilatedMask
from ..problem import Problem, check_size
from . import Variant


@dataclass(frozen=True)
class Dilated(Variant):
    """`window` keys (the query among them) at distance `dilation` from each other; the cache keeps the causal
    reach of dilation x window keys."""

    window: int = 512
    dilation: int = 2

    id = "dilated"
    title = "Dilated sliding-window attention"
    paper = "2004.05150"
    family = "softmax"
    formula = "j = i + dilation t, t in [-left, right]"
    axes = (1,)
    vectorised = False

    def __post_init__(self) -> None:
        check_size("window", self.window)
        check_size("dilation", self.dilation)

    def graph(self, problem: Problem) -> Graph:
        left, right = window_sides(self.window, None, None, problem.causal, 512, problem.kv_len)
        mask = ragged(problem, lambda n, m: DilatedMask(n, m, left, right, self.dilation))
        kept = min(problem.kv_len, self.window * self.dilation) if problem.causal else problem.kv_len
        # Fewer queries than the dilation leave keys that nobody reads.
        return softmax_graph(problem, mask, keys=min(problem.kv_len, mask.pairs()), kept=kept)


VARIANT = Dilated
