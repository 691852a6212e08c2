"""Linear attention (Katharopoulos et al., 2006.16236): softmax replaced by a product of feature maps."""

from __future__ import annotations

from dataclasses import dataclass

from ..families.linear import chunked_part, recurrent_graph
from ..graph import Graph, Op, Part, Tensor
from ..problem import Problem, check_size, nbytes, output_dtype
from . import Claim, Variant


@dataclass(frozen=True)
class LinearAttention(Variant):
    """Features elu(x) + 1, f = d. Not causal: 2BHMf dv + 2BHNf dv and the normaliser 2BH(M + N)f. Causal: chunks of
    `chunk` tokens, 4f dv + 2C(f + dv) per token and head, state f x dv."""

    chunk: int = 64

    id = "linear-attention"
    title = "Linear attention"
    paper = "2006.16236"
    family = "linear"
    formula = "o_i = phi(q_i) S_i / (phi(q_i) . z_i), S_i = sum_j phi(k_j) v_j^T"
    axes = (1, 2, 3)
    has_pairs = False
    claims = (Claim("cheaper than dense non-causal attention from N = d on", "f = d", "by the formula"),)

    def __post_init__(self) -> None:
        check_size("chunk", self.chunk)

    def graph(self, problem: Problem) -> Graph:
        # A single query is the last token of its sequence: a step of the recurrence, causal or not.
        if problem.causal or (type(problem.queries) is int and problem.queries == 1):
            part = chunked_part(problem, features=problem.head_dim, chunk=self.chunk, map_vector=1, map_special=1)
            return recurrent_graph(problem, part)
        return self.parallel(problem)

    def parallel(self, problem: Problem) -> Graph:
        """The form without causality: one state for all queries."""
        b, h, n, m = problem.batch, problem.heads, problem.queries, problem.kv_len
        f, dv = problem.head_dim, problem.v_dim
        backward = problem.direction == "backward"
        times = 2 if backward else 1
        features = b * h * (n + m) * f
        ops = (
            Op("feature_map", ("q", "k"), ("qf", "kf"), vector=times * features, special=features),
            Op("state", ("kf", "v"), ("s",), matrix=times * 2 * b * h * m * f * dv),
            Op("read", ("qf", "s"), ("o",), matrix=times * 2 * b * h * n * f * dv),
            Op("normaliser", ("qf", "kf"), ("z",), matrix=times * 2 * b * h * (n + m) * f),
            Op("divide", ("o", "z"), ("o",), vector=times * b * h * n * dv),
        )
        part = Part("state", "chunked", ops, problem.matrix_dtype, problem.kv_dtype, batch=b, heads=h,
                    kv_heads=problem.kv_heads, depth=f, width=dv, chunk=self.chunk, tokens=m,
                    keys=m, backward=backward)  # fmt: skip
        kv = b * problem.kv_heads * m
        wide = output_dtype(problem.dtype)
        sizes = (("q", b * h * n * f), ("k", kv * f), ("v", kv * dv), ("o", b * h * n * dv))
        tensors = tuple(
            Tensor(name, size, wide if name == "o" else problem.kv_dtype if name in "kv" else problem.dtype,
                   "output" if name == "o" else "input")
            for name, size in sizes
        )  # fmt: skip
        if backward:
            tensors += tuple(
                Tensor("d" + name, size, wide, "input" if name == "o" else "output") for name, size in sizes
            )
        return Graph((part,), tensors, nbytes(b * h * f * dv, "fp32"))


VARIANT = LinearAttention
