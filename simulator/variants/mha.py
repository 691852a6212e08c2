"""Dense multi-head attention: the baseline (Vaswani et al., 1706.03762)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..families.softmax import dense_mask, softmax_graph
from ..graph import Graph
from ..problem import Problem
from . import Variant


@dataclass(frozen=True)
class MultiHead(Variant):
    """4BHNMd FLOPs, BHNM exponentials; causal self-attention has N(N+1)/2 pairs per head. Fewer kv_heads than
    heads make it grouped-query attention."""

    id = "mha"
    title = "Multi-head attention"
    paper = "1706.03762"
    aliases: ClassVar[tuple[str, ...]] = ("dense", "full")
    family = "softmax"
    formula = "o_i = sum_j softmax_j(q_i . k_j / sqrt(d)) v_j"

    def graph(self, problem: Problem) -> Graph:
        return softmax_graph(problem, dense_mask(problem))


VARIANT = MultiHead
