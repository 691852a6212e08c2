"""Softmax attention over the pairs of a mask: scores, softmax, values; forward and backward.

Per pair and head, forward: 2d FLOPs for q.k, 2dv for p.v, one exponential, 4 vector FLOPs (running maximum 1,
scale and subtract as one FMA 2, row sum 1). FlashAttention (2205.14135, algorithm 1) keeps nothing else.
Backward: four products (dV, dP, dQ, dK), 2 + 2 times the depths, one exponential and 6 vector FLOPs (scale and
subtract 2, dP - D 1, times P 1, scale 2); recomputing the scores (2d) enters with the tiles (algorithm 4).
"""

from __future__ import annotations

from collections.abc import Callable

from ..algebra import Number, ceil_to, maximum, minimum
from ..graph import Graph, Op, Part, Tensor
from ..masks import BandMask, Mask
from ..problem import Problem, nbytes, output_dtype

VECTOR_FORWARD = 4
VECTOR_BACKWARD = 6


def ragged(problem: Problem, make: Callable[[Number, Number], Mask]) -> Mask:
    """`make(queries, keys)`, or one such mask for each document of a ragged batch."""
    if problem.documents is None:
        return make(problem.queries, problem.kv_len)
    from ..masks import DocumentsMask

    return DocumentsMask(problem.documents, lambda n: make(n, n))


def dense_mask(problem: Problem) -> Mask:
    """All pairs, or the causal ones."""
    return ragged(problem, lambda n, m: BandMask(n, m, right=0 if problem.causal else None))


def kept_keys(problem: Problem, window: Number | None = None, sinks: Number = 0) -> Number:
    """Keys that a later query can still reach: all of them, or the causal window and the sinks."""
    if window is None:
        return problem.kv_len
    return minimum(problem.kv_len, window + sinks)


def read_keys(problem: Problem, left: Number | None, right: Number | None, sinks: Number = 0) -> Number:
    """Keys that at least one query of the call attends to, for a band around each query and leading sinks."""
    n, m = problem.queries, problem.kv_len
    first: Number = 0 if left is None else maximum(m - n - left, 0)
    last = m if right is None else minimum(m + right, m)
    return maximum(last - first, 0) + minimum(sinks, first)


def cache_bytes(problem: Problem, keys: Number, kv_heads: Number | None = None, width: Number | None = None) -> Number:
    """K and V of `keys` tokens, whole batch; a paged cache holds whole pages."""
    if problem.page_size is not None:
        keys = ceil_to(keys, problem.page_size)
    width = problem.head_dim + problem.v_dim if width is None else width
    heads = problem.kv_heads if kv_heads is None else kv_heads
    return nbytes(problem.batch * heads * keys * width, problem.kv_dtype)


def attention_part(
    problem: Problem,
    mask: Mask,
    *,
    name: str = "attention",
    heads: Number | None = None,
    kv_heads: Number | None = None,
    depth: Number | None = None,
    width: Number | None = None,
    shared_kv: bool = False,
    extra_vector: Number = 0,
    extra_special: Number = 0,
    row_vector: Number = 0,
    inputs: tuple[str, str, str] = ("q", "k", "v"),
    output: str = "o",
) -> Part:
    """The fused kernel of masked softmax attention for all heads and sequences.

    extra_vector, extra_special: work per pair that a changed score adds. row_vector: vector FLOPs per query
    and head in the epilogue beyond the division by the row sum (dv).
    """
    heads = problem.heads if heads is None else heads
    depth = problem.head_dim if depth is None else depth
    width = problem.v_dim if width is None else width
    rows = problem.batch * heads * problem.queries
    q, k, v = inputs
    s, p = f"{name}.scores", f"{name}.probabilities"
    ops: tuple[Op, ...]
    if problem.direction == "forward":
        ops = (
            Op(f"{name}.qk", (q, k), (s,), matrix=2 * depth, per="pair", role="scores"),
            Op(f"{name}.softmax", (s,), (p,), vector=VECTOR_FORWARD + extra_vector, special=1 + extra_special,
               per="pair"),
            Op(f"{name}.pv", (p, v), (output,), matrix=2 * width, per="pair", role="values"),
            Op(f"{name}.normalise", (output,), (output,), vector=rows * (width + row_vector)),
        )  # fmt: skip
    else:
        ds = f"{name}.score_gradients"
        ops = (
            Op(f"{name}.rowsum", (output, "do"), (), vector=2 * rows * width),
            Op(f"{name}.qk", (q, k), (s,), matrix=2 * depth, per="pair", role="scores", recomputed=True),
            Op(f"{name}.softmax", (s,), (p,), vector=VECTOR_BACKWARD + extra_vector, special=1 + extra_special,
               per="pair"),
            Op(f"{name}.dv", (p, "do"), ("dv",), matrix=2 * width, per="pair", role="values"),
            Op(f"{name}.dp", ("do", v), (ds,), matrix=2 * width, per="pair", role="values"),
            Op(f"{name}.dq", (ds, k), ("dq",), matrix=2 * depth, per="pair", role="scores"),
            Op(f"{name}.dk", (ds, q), ("dk",), matrix=2 * depth, per="pair", role="scores"),
        )  # fmt: skip
    return Part(
        name=name, style="attention", ops=ops, dtype=problem.matrix_dtype, kv_dtype=problem.kv_dtype, mask=mask,
        pairs=mask.pairs(), batch=problem.batch, heads=heads,
        kv_heads=problem.kv_heads if kv_heads is None else kv_heads, depth=depth, width=width, shared_kv=shared_kv,
        tokens=problem.queries, keys=problem.kv_len, backward=problem.direction == "backward",
    )  # fmt: skip


def attention_tensors(
    problem: Problem, part: Part, keys: Number | None = None, *, kv_role: str = "input"
) -> tuple[Tensor, ...]:
    """Q, K, V, O of an attention part (and their gradients backward). keys: those that must be read."""
    keys = problem.kv_len if keys is None else keys
    narrow, wide = problem.dtype, output_dtype(problem.dtype)
    q = part.batch * part.heads * problem.queries * part.depth
    o = part.batch * part.heads * problem.queries * part.width
    k = part.batch * part.kv_heads * keys * part.depth
    v = 0 if part.shared_kv else part.batch * part.kv_heads * keys * part.width
    tensors = (
        Tensor("q", q, narrow, "input"),
        Tensor("k", k, problem.kv_dtype, kv_role),
        Tensor("v", v, problem.kv_dtype, "input" if part.shared_kv else kv_role),
        Tensor("o", o, wide, "output"),
    )
    if problem.direction == "forward":
        return tensors
    rows = part.batch * part.heads * problem.queries
    return (
        *tensors,
        Tensor("do", o, wide, "input"),
        Tensor("lse", rows, "fp32", "input"),
        Tensor("dq", q, wide, "output"),
        Tensor("dk", k, wide, "output"),
        Tensor("dv", v, wide, "output"),
    )


def softmax_graph(problem: Problem, mask: Mask, *, keys: Number | None = None, kept: Number | None = None) -> Graph:
    """Plain masked softmax attention. keys: those read; kept: those the cache holds afterwards."""
    part = attention_part(problem, mask)
    kept = problem.kv_len if kept is None else kept
    return Graph((part,), attention_tensors(problem, part, keys), cache_bytes(problem, kept))
