"""Block-sparse attention: every query tile has a list of key tiles, from a static mask or chosen at run time.

FlashAttention-2's loops (2307.08691) over the listed tiles only, as flex_attention does it (2412.05496), forward and
backward. A tile is a box of tokens along up to three axes, so that neighbourhoods of images and videos are lists as
well; or a row of token indices (`gather`, the token lists of DeepSeek sparse attention). Partial tiles carry an index
into a table of bit patterns, full ones none: the mask is evaluated in partial tiles only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable
from typing import Any

import torch
import triton
import triton.language as tl

from ..simulator.config import Config
from ..simulator.problem import Problem
from ..simulator.resources import padded
from ..simulator.variants import Variant
from . import lists as tile_lists
from .bands import LN_2, LOG2_E, softmax_step
from .flash import gradient_step, row_sums_launch, transposed_probabilities
from .launch import Launch, Plan, strides
from .lists import Lists, from_mask, to_device
from .operands import attention_inputs, check_operands, contiguous, output_dtype, precision

NAME = "triton-block-sparse"
BITS = tl.constexpr(tile_lists.EXTENT_BITS)
LIMIT = tl.constexpr((1 << tile_lists.EXTENT_BITS) - 1)
FULL = tl.constexpr(tile_lists.FULL)


@triton.jit
def box_tokens(origin, extents, slot, SIDE_1: tl.constexpr, SIDE_2: tl.constexpr, step_0, step_1, step_2):
    """(token, inside) of the slots of a row-major box, `extents` of it used; its second and third side are given."""
    a, b, c = slot // (SIDE_1 * SIDE_2), slot // SIDE_2 % SIDE_1, slot % SIDE_2
    inside = (a < (extents & LIMIT)) & (b < ((extents >> BITS) & LIMIT)) & (c < (extents >> (2 * BITS)))
    return origin + a * step_0 + b * step_1 + c * step_2, inside


@triton.jit
def pattern_bits(patterns, pattern, row, column, AXIS: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr):
    """Whether the pairs of a tile attend, from its bit pattern: rows along AXIS of the result, columns along the other.

    Every pair does where the tile has none. A row's words are loaded once, not once for each of its pairs.
    """
    words = patterns + tl.maximum(pattern, 0).to(tl.int64) * (ROWS * WORDS)
    at = tl.minimum(row, ROWS - 1) * WORDS
    across = tl.expand_dims(column, AXIS)
    word = tl.expand_dims(tl.load(words + at), 1 - AXIS)
    for index in tl.static_range(1, WORDS):
        word = tl.where(across >= index * 32, tl.expand_dims(tl.load(words + at + index), 1 - AXIS), word)
    return (((word >> (across % 32)) & 1) != 0) | (pattern < 0)


@triton.jit
def forward(
    q, k, v, o, lse, rows, row_start, entries, patterns, slots, scale_log2, tiles, groups,
    list_stride_b, list_stride_h, list_heads,
    q_step_0, q_step_1, q_step_2, k_step_0, k_step_1, k_step_2,
    q_stride_b, q_stride_h, q_stride_n, k_stride_b, k_stride_h, k_stride_n, v_stride_b, v_stride_h, v_stride_n,
    o_stride_b, o_stride_h, o_stride_n, lse_stride_b, lse_stride_h,
    HEAD_DIM: tl.constexpr, V_DIM: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    Q_SIDE_1: tl.constexpr, Q_SIDE_2: tl.constexpr, K_SIDE_1: tl.constexpr, K_SIDE_2: tl.constexpr,
    PACK: tl.constexpr, GROUP: tl.constexpr, WORDS: tl.constexpr, GATHER: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One query tile of PACK heads, over the entries (origin, extents, pattern) of its list."""
    TOKENS: tl.constexpr = BM // PACK
    item = tl.program_id(0)
    tile, group, batch = item % tiles, item // tiles % groups, (item // tiles // groups).to(tl.int64)
    row = tl.arange(0, BM)
    head = (group * PACK + row % PACK).to(tl.int64)
    kv_head = (group * PACK // GROUP).to(tl.int64)
    token, row_in = box_tokens(
        tl.load(rows + tile * 2), tl.load(rows + tile * 2 + 1), row // PACK, Q_SIDE_1, Q_SIDE_2, q_step_0, q_step_1,
        q_step_2,
    )  # fmt: skip
    row_in = row_in & (row < TOKENS * PACK)
    token = token.to(tl.int64)
    depth, width, column = tl.arange(0, D), tl.arange(0, DV), tl.arange(0, BN)
    q_row = batch * q_stride_b + head * q_stride_h + token * q_stride_n
    q_tile = tl.load(q + q_row[:, None] + depth[None, :], mask=row_in[:, None] & (depth < HEAD_DIM)[None, :], other=0.0)
    k_base = k + batch * k_stride_b + kv_head * k_stride_h
    v_base = v + batch * v_stride_b + kv_head * v_stride_h
    list_head = group * PACK * list_heads // (groups * PACK)
    at = batch * list_stride_b + list_head * list_stride_h + tile
    m = tl.full([BM], float("-inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, DV], tl.float32)
    for entry in tl.range(tl.load(row_start + at), tl.load(row_start + at + 1)):
        origin = tl.load(entries + entry * 3)
        extents = tl.load(entries + entry * 3 + 1)
        pattern = tl.load(entries + entry * 3 + 2)
        if GATHER:
            key_in = column < extents
            key = tl.load(slots + origin.to(tl.int64) * BN + column, mask=key_in, other=0)
        else:
            key, key_in = box_tokens(origin, extents, column, K_SIDE_1, K_SIDE_2, k_step_0, k_step_1, k_step_2)
        key = key.to(tl.int64)
        k_tile = tl.load(
            k_base + key[:, None] * k_stride_n + depth[None, :], mask=key_in[:, None] & (depth < HEAD_DIM)[None, :],
            other=0.0,
        )  # fmt: skip
        s = tl.dot(q_tile, k_tile.to(q_tile.dtype).T, input_precision=PRECISION)
        if pattern != FULL:
            seen = pattern_bits(patterns, pattern, row // PACK, column, 0, TOKENS, WORDS)
            s = tl.where(seen & key_in[None, :], s, float("-inf"))
        p, m, rescale = softmax_step(s, m, scale_log2)
        total = total * rescale + tl.sum(p, 1)
        v_tile = tl.load(
            v_base + key[:, None] * v_stride_n + width[None, :], mask=key_in[:, None] & (width < V_DIM)[None, :],
            other=0.0,
        ).to(q_tile.dtype)  # fmt: skip
        acc = tl.dot(p.to(v_tile.dtype), v_tile, acc * rescale[:, None], input_precision=PRECISION)
    total = tl.where(total == 0.0, 1.0, total)
    acc = acc / total[:, None]
    o_row = batch * o_stride_b + head * o_stride_h + token * o_stride_n
    tl.store(
        o + o_row[:, None] + width[None, :], acc.to(o.dtype.element_ty), mask=row_in[:, None] & (width < V_DIM)[None, :]
    )
    if lse is not None:
        tl.store(
            lse + batch * lse_stride_b + head * lse_stride_h + token, (m + tl.math.log2(total)) * LN_2, mask=row_in
        )


@triton.jit
def backward(
    q, k, v, do, lse, delta, dq, dk, dv, columns, column_start, entries, patterns, scale, scale_log2, tiles, kv_heads,
    list_stride_b, list_stride_h, list_heads,
    q_step_0, q_step_1, q_step_2, k_step_0, k_step_1, k_step_2,
    q_stride_b, q_stride_h, q_stride_n, k_stride_b, k_stride_h, k_stride_n, v_stride_b, v_stride_h,
    v_stride_n, do_stride_b, do_stride_h, do_stride_n, dq_stride_b, dq_stride_h, dq_stride_n, dk_stride_b,
    dk_stride_h, dk_stride_n, dv_stride_b, dv_stride_h, dv_stride_n, lse_stride_b, lse_stride_h,
    HEAD_DIM: tl.constexpr, V_DIM: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    Q_SIDE_1: tl.constexpr, Q_SIDE_2: tl.constexpr, K_SIDE_1: tl.constexpr, K_SIDE_2: tl.constexpr,
    GROUP: tl.constexpr, WORDS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One key tile of one kv head, over the query tiles that list it, of all its query heads."""
    item = tl.program_id(0)
    tile, kv_head, batch = item % tiles, item // tiles % kv_heads, (item // tiles // kv_heads).to(tl.int64)
    column, slot = tl.arange(0, BN), tl.arange(0, BM)
    depth, width = tl.arange(0, D), tl.arange(0, DV)
    key, key_in = box_tokens(
        tl.load(columns + tile * 2), tl.load(columns + tile * 2 + 1), column, K_SIDE_1, K_SIDE_2, k_step_0, k_step_1,
        k_step_2,
    )  # fmt: skip
    key = key.to(tl.int64)
    k_in = key_in[:, None] & (depth < HEAD_DIM)[None, :]
    v_in = key_in[:, None] & (width < V_DIM)[None, :]
    k_row = batch * k_stride_b + kv_head.to(tl.int64) * k_stride_h + key * k_stride_n
    v_row = batch * v_stride_b + kv_head.to(tl.int64) * v_stride_h + key * v_stride_n
    k_tile = tl.load(k + k_row[:, None] + depth[None, :], mask=k_in, other=0.0)
    v_tile = tl.load(v + v_row[:, None] + width[None, :], mask=v_in, other=0.0)
    at = batch * list_stride_b + kv_head * list_heads // kv_heads * list_stride_h + tile
    first = tl.load(column_start + at)
    count = tl.load(column_start + at + 1) - first
    dk_acc = tl.zeros([BN, D], tl.float32)
    dv_acc = tl.zeros([BN, DV], tl.float32)
    for visit in tl.range(0, count * GROUP):
        entry = first + visit % count
        head = (kv_head * GROUP + visit // count).to(tl.int64)
        origin = tl.load(entries + entry * 3)
        extents = tl.load(entries + entry * 3 + 1)
        pattern = tl.load(entries + entry * 3 + 2)
        token, row_in = box_tokens(origin, extents, slot, Q_SIDE_1, Q_SIDE_2, q_step_0, q_step_1, q_step_2)
        token = token.to(tl.int64)
        q_in = row_in[:, None] & (depth < HEAD_DIM)[None, :]
        q_row = batch * q_stride_b + head * q_stride_h + token * q_stride_n
        do_row = batch * do_stride_b + head * do_stride_h + token * do_stride_n
        row = batch * lse_stride_b + head * lse_stride_h + token
        q_tile = tl.load(q + q_row[:, None] + depth[None, :], mask=q_in, other=0.0)
        do_tile = tl.load(
            do + do_row[:, None] + width[None, :], mask=row_in[:, None] & (width < V_DIM)[None, :], other=0.0
        )
        lse_row = tl.load(lse + row, mask=row_in, other=float("inf"))
        lse_row = tl.where(lse_row == float("-inf"), float("inf"), lse_row)
        delta_row = tl.load(delta + row, mask=row_in, other=0.0)
        p = transposed_probabilities(k_tile, q_tile, lse_row, scale_log2, PRECISION)
        if pattern != FULL:
            seen = pattern_bits(patterns, pattern, slot, column, 1, BM, WORDS)
            p = tl.where(seen & key_in[:, None], p, 0.0)
        dk_acc, dv_acc, dq_tile = gradient_step(
            p, k_tile, v_tile, q_tile, do_tile, delta_row, dk_acc, dv_acc, scale, PRECISION
        )
        dq_row = batch * dq_stride_b + head * dq_stride_h + token * dq_stride_n
        tl.atomic_add(dq + dq_row[:, None] + depth[None, :], dq_tile, mask=q_in, sem="relaxed")
    dk_row = batch * dk_stride_b + kv_head.to(tl.int64) * dk_stride_h + key * dk_stride_n
    dv_row = batch * dv_stride_b + kv_head.to(tl.int64) * dv_stride_h + key * dv_stride_n
    tl.store(dk + dk_row[:, None] + depth[None, :], (dk_acc * scale).to(dk.dtype.element_ty), mask=k_in)
    tl.store(dv + dv_row[:, None] + width[None, :], dv_acc.to(dv.dtype.element_ty), mask=v_in)


def inputs(variant: Variant, problem: Problem, device: str = "cpu", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random q, k, v (and do) of a problem: see `operands.attention_inputs`."""
    return attention_inputs(variant, problem, device, seed)


def lists_of(variant: Variant, problem: Problem, config: Config, device: torch.device) -> Lists:
    """The lists of the variant's own mask under the config's tile."""
    tokens = math.prod(config.query) // config.packed_heads
    query = config.query if config.packed_heads == 1 else (tokens,)
    mask: Any = variant.graph(problem).main.mask
    return made_lists(mask, query, config.key, config.permuted, device)


@functools.lru_cache(maxsize=32)
def made_lists(
    mask: Hashable, query: tuple[int, ...], key: tuple[int, ...], permuted: bool, device: torch.device
) -> Lists:  # fmt: skip
    """The lists of a mask on a device: made once for the calls of a model, which ask for the same ones again."""
    lists = from_mask(mask, query, key)
    return to_device(lists.permuted() if permuted else lists, device)


def sizes(lists: Lists, config: Config, q: torch.Tensor, v: torch.Tensor, dtype: str) -> dict[str, Any]:
    """Constexpr arguments that forward and backward share."""
    return {
        "HEAD_DIM": q.shape[3], "V_DIM": v.shape[3], "D": padded(q.shape[3]), "DV": padded(v.shape[3]),
        "BM": math.prod(config.query), "BN": math.prod(config.key), "Q_SIDE_1": lists.query_sides[1],
        "Q_SIDE_2": lists.query_sides[2], "K_SIDE_1": lists.key_sides[1], "K_SIDE_2": lists.key_sides[2],
        "GROUP": q.shape[1] // v.shape[1], "WORDS": lists.patterns.shape[-1], "PRECISION": precision(dtype),
    }  # fmt: skip


def steps(lists: Lists) -> dict[str, int]:
    """Tokens between neighbouring slots of query and key tiles along each axis."""
    query = {f"q_step_{axis}": step for axis, step in enumerate(lists.query_step)}
    return query | {f"k_step_{axis}": step for axis, step in enumerate(lists.key_step)}


def plan(
    variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor], config: Config, *,
    scale: float | None = None, lse: bool = False, units: int = 1, lists: Lists | None = None,
    partial: bool = False,
) -> Plan:  # fmt: skip
    """o [B, H, N, dv] and, if asked for, lse [B, H, N] (fp32), over the lists of the variant's mask or those given.

    partial: o is to be merged with others, and is fp32.
    """
    del units  # every tile is a block of its own
    lists = lists_of(variant, problem, config, tensors["q"].device) if lists is None else lists
    check_operands(tensors["q"], tensors["k"], tensors["v"])
    (q,), (k, v) = lists.arrange_queries(tensors["q"]), lists.arrange_keys(tensors["k"], tensors["v"])
    q, k, v = contiguous(q, k, v)
    b, h, n, d = q.shape
    pack, dv = config.packed_heads, v.shape[3]
    o = torch.empty(b, h, n, dv, dtype=torch.float32 if partial else output_dtype(problem.dtype), device=q.device)
    sums = torch.empty(b, h, n, dtype=torch.float32, device=q.device) if lse else None
    tiles = len(lists.rows)
    arguments = {
        "q": q, "k": k, "v": v, "o": o, "lse": sums, "rows": lists.rows, "row_start": lists.row_start,
        "entries": lists.entries, "patterns": lists.patterns, "slots": lists.slots,
        "scale_log2": (d**-0.5 if scale is None else scale) * LOG2_E, "tiles": tiles, "groups": h // pack,
        **lists.strides(lists.row_start), "list_heads": lists.row_start.shape[1], **steps(lists),
        **strides("q", q), **strides("k", k), **strides("v", v), **strides("o", o),
        "lse_stride_b": h * n, "lse_stride_h": n,
    }  # fmt: skip
    constants = {**sizes(lists, config, q, v, problem.dtype), "PACK": pack, "GATHER": lists.slots is not None}
    launch = Launch(forward, (tiles * (h // pack) * b,), arguments, constants, config.warps, config.stages, main=True)
    outputs = {"o": o} if sums is None else {"o": o, "lse": sums}
    return Plan(outputs, [launch], lists.restore(outputs))


def plan_backward(
    variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor], config: Config, *,
    scale: float | None = None, lists: Lists | None = None,
) -> Plan:  # fmt: skip
    """dq [B, H, N, d], dk [B, G, M, d], dv [B, G, M, dv] from q, k, v, do, and the forward's o and lse."""
    lists = lists_of(variant, problem, config, tensors["q"].device) if lists is None else lists
    q, do, o, sums = contiguous(*lists.arrange_queries(*(tensors[name] for name in ("q", "do", "o", "lse"))))
    k, v = contiguous(*lists.arrange_keys(tensors["k"], tensors["v"]))
    b, h, n, d = q.shape
    g, m, dv = k.shape[1], k.shape[2], v.shape[3]
    gradients = {
        "dq": torch.zeros(b, h, n, d, dtype=torch.float32, device=q.device),
        "dk": torch.zeros(b, g, m, d, dtype=k.dtype, device=q.device),
        "dv": torch.zeros(b, g, m, dv, dtype=v.dtype, device=q.device),
    }
    scale = d**-0.5 if scale is None else scale
    delta, rows = row_sums_launch(o, do)
    tiles = len(lists.columns)
    arguments = {
        "q": q, "k": k, "v": v, "do": do, "lse": sums, "delta": delta, **gradients, "columns": lists.columns,
        "column_start": lists.column_start, "entries": lists.column_entries, "patterns": lists.patterns,
        "scale": scale, "scale_log2": scale * LOG2_E, "tiles": tiles, "kv_heads": g,
        **lists.strides(lists.column_start), "list_heads": lists.column_start.shape[1], **steps(lists),
        "lse_stride_b": h * n, "lse_stride_h": n,
    }  # fmt: skip
    for name, tensor in (("q", q), ("k", k), ("v", v), ("do", do), *gradients.items()):
        arguments |= strides(name, tensor)
    constants = sizes(lists, config, q, v, problem.dtype)
    main = Launch(backward, (tiles * g * b,), arguments, constants, config.warps, config.stages, main=True)
    outputs = dict(gradients)
    restore = lists.restore(outputs)

    def finish() -> None:
        outputs["dq"] = gradients["dq"].to(q.dtype)
        restore()

    return Plan(outputs, [rows, main], finish)
