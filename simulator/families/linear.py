"""Linear attention and its recurrent relatives, computed in chunks with a carried state.

Per head and chunk of C tokens, key features f, values dv (full C x C tiles; a shorter last chunk counts as it
is): scores 2 C^2 f, values 2 C^2 dv, state read 2 C f dv, state update 2 C f dv. The delta rule adds K K^T
2 C^2 f, the triangular solve C^3 / 3, W = T K 2 C^2 f, U = T V 2 C^2 dv and W S 2 C f dv (Yang et al.,
2412.06464; the count equals that of a chunked implementation which equals its recurrence). One token is a
recurrent step: 4 f dv, with the delta rule 6 f dv.
"""

from __future__ import annotations

from ..algebra import Number, floor_div, where
from ..graph import Graph, Op, Part, Tensor
from ..problem import Problem, nbytes, output_dtype


def chunk_sum(tokens: Number, chunk: int, power: int) -> Number:
    """Sum of (chunk length) ** power over the chunks of a sequence, the last one as long as it is."""
    whole = floor_div(tokens, chunk)
    rest = tokens - whole * chunk
    return whole * chunk**power + rest**power


def chunked_part(
    problem: Problem, *, features: Number, chunk: int, delta: bool = False, decay: str = "none",
    map_vector: Number = 0, map_special: Number = 0, recompute: Number = 0, reads: Number | None = None,
    key_heads: Number | None = None, shared_scores: bool = False,
) -> Part:  # fmt: skip
    """A causal chunked kernel. decay: none | fixed | data (exponentials per token and chunk column) | channel (a decay
    for each key feature, taken into q and k: three exponentials per token and feature).

    map_*: feature map work per element of q and k. recompute: times the scores are computed again by the
    kernel. reads: FLOPs of the state reads where they are not 2 N f dv (several states). key_heads: heads of q and k
    where values have more; shared_scores: scores are computed once for each of them.
    """
    f, dv = features, problem.v_dim
    heads = problem.batch * problem.heads
    n = problem.queries
    square = heads * chunk_sum(n, chunk, 2)
    one = n == 1
    key_heads = problem.heads if key_heads is None else key_heads
    scoring = problem.batch * key_heads * chunk_sum(n, chunk, 2) if shared_scores else square
    intra = where(one, 0, 2 * (scoring * f + square * dv))
    inter = 2 * heads * n * f * dv if reads is None else reads
    update = 2 * heads * n * f * dv
    elements = heads * n * 2 * f
    ops = [
        Op("feature_map", ("q", "k"), ("qf", "kf"), vector=map_vector * elements, special=map_special * elements),
        Op("intra", ("qf", "kf", "v"), ("o",), matrix=intra),
        Op("state_read" if reads is None else "level_read", ("qf", "state"), ("o",), matrix=inter),
        Op("state_update", ("kf", "v"), ("state",), matrix=update, vector=heads * n * dv),
    ]
    if recompute:
        ops.append(Op("scores_again", ("qf", "kf"), (), matrix=where(one, 0, 2 * square * f * recompute),
                      recomputed=True))  # fmt: skip
    if decay == "channel":
        exps, scaled = where(one, heads * f, 3 * heads * n * f), where(one, 0, 3 * heads * n * f)
        ops.append(Op("channel_decay", ("state", "gates"), ("state",), vector=scaled + heads * f * dv, special=exps))
    elif decay != "none":
        data = decay == "data"
        exps = where(one, heads, heads * n * (chunk + 2) if data else problem.heads * chunk * chunk)
        read = ("state", "gates") if data else ("state",)
        ops.append(Op("decay", read, ("state",), vector=square + heads * f * dv, special=exps))
    if delta:
        solve = heads * chunk_sum(n, chunk, 3) / 3
        ops += [
            Op("kk", ("kf",), ("a",), matrix=where(one, 0, 2 * square * f)),
            Op("solve", ("a",), ("t",), matrix=where(one, 0, solve)),
            Op("wu", ("t", "kf", "v"), ("w", "u"), matrix=where(one, 0, 2 * square * (f + dv))),
            Op("ws", ("w", "state"), ("u",), matrix=2 * heads * n * f * dv),
        ]
    if problem.direction == "backward":
        # Two products for each one; the inverse's own gradient, -T^T G T^T, is two of C x C x C.
        inverse = where(one, 0, 4 * heads * chunk_sum(n, chunk, 3))
        ops = [
            Op(op.name, op.inputs, op.outputs, inverse if op.name == "solve" else 2 * op.matrix, 2 * op.vector,
               op.special, recomputed=op.recomputed)
            for op in ops
        ]  # fmt: skip
    return Part(
        "chunks", "chunked", tuple(ops), problem.matrix_dtype, problem.kv_dtype, batch=problem.batch,
        heads=problem.heads, kv_heads=key_heads, depth=f, width=dv, chunk=chunk, tokens=n, keys=problem.kv_len,
        backward=problem.direction == "backward", serial=True,
    )  # fmt: skip


def recurrent_graph(
    problem: Problem, part: Part, *, states: Number = 1, gates: Number = 0, gate_dtype: str = "fp32",
    state_dtype: str = "fp32",
) -> Graph:  # fmt: skip
    """Tensors around a chunked part: q, k, v, o of the new tokens, and the state where one exists already.

    states: how many f x dv states a head keeps. gates: further scalars per token and head.
    """
    heads, key_heads = problem.batch * problem.heads, problem.batch * part.kv_heads
    n, d, dv = problem.queries, problem.head_dim, problem.v_dim
    state = heads * part.depth * part.width * states
    carried = where(problem.kv_len > n, state, 0)
    narrow, wide = problem.dtype, output_dtype(problem.dtype)
    tensors = [
        Tensor("q", key_heads * n * d, narrow, "input"),
        Tensor("k", key_heads * n * d, problem.kv_dtype, "input"),
        Tensor("v", heads * n * dv, problem.kv_dtype, "input"),
        Tensor("gates", heads * n * gates, gate_dtype, "input"),
        Tensor("o", heads * n * dv, wide, "output"),
        Tensor("state", carried, state_dtype, "state"),
    ]
    if problem.direction == "backward":
        tensors += [
            Tensor("do", heads * n * dv, wide, "input"),
            Tensor("dq", key_heads * n * d, wide, "output"),
            Tensor("dk", key_heads * n * d, wide, "output"),
            Tensor("dv", heads * n * dv, wide, "output"),
        ]
    return Graph((part,), tuple(tensors), nbytes(state, state_dtype))
