"""Gated attention: a sigmoid gate on the output of every head (Qiu et al., 2505.06708, position G1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..families.dense import dense_part
from ..families.softmax import attention_part, attention_tensors, cache_bytes, dense_mask
from ..graph import Graph, Op, Tensor
from ..problem import Problem, check_name
from . import Variant


@dataclass(frozen=True)
class GatedAttention(Variant):
    """mha, a gate projection 2BND(H dv) (elementwise) or 2BNDH (headwise) from the layer's input, the sigmoid of
    each gate and its product with the output."""

    gate: str = "elementwise"

    id = "gated-attention"
    title = "Gated attention"
    paper = "2505.06708"
    family = "softmax"
    formula = "o_i = sigmoid(W_g x_i) * mha(x)_i"

    def __post_init__(self) -> None:
        check_name("gate", self.gate, ("elementwise", "headwise"))

    def graph(self, problem: Problem) -> Graph:
        part = attention_part(problem, dense_mask(problem))
        rows = problem.batch * problem.queries
        width = problem.heads * problem.head_dim
        gates = problem.heads * (problem.v_dim if self.gate == "elementwise" else 1)
        project = dense_part(problem, "gate", ("x", "w_gate"), ("gates",), matrix=2 * rows * width * gates)
        apply = Op("apply_gate", ("o", "gates"), ("o",), vector=rows * problem.heads * problem.v_dim,
                   special=rows * gates)  # fmt: skip
        tensors = (
            *attention_tensors(problem, part),
            Tensor("x", rows * width, problem.dtype, "input"),
            Tensor("w_gate", width * gates, problem.dtype, "weight"),
            Tensor("gates", rows * gates, problem.dtype, "intermediate"),
        )
        part = replace(part, ops=(*part.ops, apply))
        return Graph((project, part), tensors, cache_bytes(problem, problem.kv_len))


VARIANT = GatedAttention
