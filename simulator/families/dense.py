"""Products with weights that belong to a mechanism, and the plain projections that stand apart from it."""

from __future__ import annotations

from ..algebra import Number
from ..graph import Op, Part
from ..problem import Problem


def dense_part(
    problem: Problem, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], *, matrix: Number,
    vector: Number = 0, special: Number = 0,
) -> Part:  # fmt: skip
    """One kernel of matrix products. Backward: two products for each one forward (inputs and weights)."""
    if problem.direction == "backward":
        matrix, vector = 2 * matrix, 2 * vector
    op = Op(name, inputs, outputs, matrix=matrix, vector=vector, special=special)
    return Part(name, "dense", (op,), problem.dtype, problem.kv_dtype, tokens=problem.batch * problem.queries)


def plain_projections(problem: Problem) -> tuple[Number, Number]:
    """FLOPs, and elements of weights and activations, of the Q, K, V and output projections of one layer.

    Model width D = heads x head_dim; new tokens only: 2BND(Hd) + 2BND G(d + dv) + 2BN(H dv)D.
    """
    width = problem.heads * problem.head_dim
    out = problem.heads * problem.v_dim
    kv = problem.kv_heads * (problem.head_dim + problem.v_dim)
    tokens = problem.batch * problem.queries
    weights = width * (width + kv) + out * width
    flops = 2 * tokens * weights
    elements = weights + tokens * (width + width + kv + out + width)
    if problem.direction == "backward":
        return 2 * flops, 2 * elements
    return flops, elements
