"""2-simplicial attention (2507.02754): softmax over pairs of keys (j, k) of sum_d q_id k_jd k'_kd, values v_j o v'_k.

A block a query tile. The outer loop goes over the second keys k that some query of the tile sees, one at a time: q o k'
is formed on the vector lanes and meets tiles of first keys j in an ordinary flash loop, with one running softmax over
all (j, k). The values of one k are summed as p @ V and multiplied by v'_k once, after its loop: the product of the two
values costs DV a row and k, not DV a triple. Matrix FLOPs are 2d + 2dv a triple, as the model has them. Query heads
that share a kv head may share a tile: the window of k is as long as that of the tile's tokens together, so few tokens
of many heads waste least.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from ..simulator.config import Config
from ..simulator.errors import InputError
from ..simulator.problem import Problem
from ..simulator.resources import padded
from ..simulator.variants.simplicial_2 import TwoSimplicial
from .bands import LN_2, LOG2_E, softmax_step
from .launch import Launch, Plan, strides
from .operands import DTYPES, attention_inputs, check_operands, contiguous, normal, output_dtype, precision

NAME = "triton-simplicial"
VARIANTS = ("simplicial-2",)


@triton.jit
def forward(
    q, k, v, k2, v2, o, lse, scale_log2, queries, keys, window1, window2, tiles, heads,
    q_stride_b, q_stride_h, q_stride_n, k_stride_b, k_stride_h, k_stride_n, v_stride_b, v_stride_h, v_stride_n,
    k2_stride_b, k2_stride_h, k2_stride_n, v2_stride_b, v2_stride_h, v2_stride_n, o_stride_b, o_stride_h, o_stride_n,
    lse_stride_b, lse_stride_h,
    HEAD_DIM: tl.constexpr, V_DIM: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    PACK: tl.constexpr, GROUP: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One query tile: BM rows, BM // PACK tokens of PACK heads each. `heads` counts groups of PACK heads.

    Windows hold the query's own position and those before it.
    """
    TOKENS: tl.constexpr = BM // PACK
    item = tl.program_id(0)
    first = item % tiles * TOKENS
    head = item // tiles % heads
    batch = (item // tiles // heads).to(tl.int64)
    kv_head = (head * PACK // GROUP).to(tl.int64)
    rows, columns, depth, width = tl.arange(0, BM), tl.arange(0, BN), tl.arange(0, D), tl.arange(0, DV)
    token = (first + rows // PACK).to(tl.int64)
    row_head = (head * PACK + rows % PACK).to(tl.int64)
    row_in = (rows < TOKENS * PACK) & (token < queries)
    depth_in, width_in = depth < HEAD_DIM, width < V_DIM
    q_row = batch * q_stride_b + row_head * q_stride_h + token * q_stride_n
    q_tile = tl.load(q + q_row[:, None] + depth[None, :], mask=row_in[:, None] & depth_in[None, :], other=0.0)
    k_base = k + batch * k_stride_b + kv_head * k_stride_h
    v_base = v + batch * v_stride_b + kv_head * v_stride_h
    k2_base = k2 + batch * k2_stride_b + kv_head * k2_stride_h
    v2_base = v2 + batch * v2_stride_b + kv_head * v2_stride_h
    position = first + rows // PACK + (keys - queries)
    low, high = first + keys - queries, tl.minimum(first + TOKENS, queries) - 1 + keys - queries
    m = tl.full([BM], float("-inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, DV], tl.float32)
    for second in tl.range(tl.maximum(low - window2 + 1, 0), high + 1, num_stages=1):
        place = tl.zeros([], tl.int64) + second
        k2_row = tl.load(k2_base + place * k2_stride_n + depth, mask=depth_in, other=0.0)
        v2_row = tl.load(v2_base + place * v2_stride_n + width, mask=width_in, other=0.0)
        product = (q_tile.to(tl.float32) * k2_row.to(tl.float32)[None, :]).to(q_tile.dtype)
        # The queries of the tile that see this second key, and the tiles of first keys that they see.
        low_seen, high_seen = tl.maximum(low, second), tl.minimum(high, second + window2 - 1)
        seen_second = (position >= second) & (position < second + window2)
        begin = tl.maximum(low_seen - window1 + 1, 0) // BN
        before = m
        part = tl.zeros([BM, DV], tl.float32)
        for visit in tl.range(begin, high_seen // BN + 1):
            start = visit * BN
            key = start + columns
            key_in = key < keys
            key_row = key.to(tl.int64)[:, None]
            k_tile = tl.load(
                k_base + key_row * k_stride_n + depth[None, :], mask=key_in[:, None] & depth_in[None, :], other=0.0
            )
            s = tl.dot(product, k_tile.T, input_precision=PRECISION)
            # Some query of the tile sees not all of these keys; keys past the end lie after every query.
            partial = (low_seen > low) | (high_seen < high) | (start + BN - 1 > low) | (start <= high - window1)
            if partial:
                distance = position[:, None] - key[None, :]
                seen = seen_second[:, None] & (distance >= 0) & (distance < window1)
                s = tl.where(seen, s, float("-inf"))
            p, m, rescale = softmax_step(s, m, scale_log2)
            total = total * rescale + tl.sum(p, 1)
            v_tile = tl.load(
                v_base + key_row * v_stride_n + width[None, :], mask=key_in[:, None] & width_in[None, :], other=0.0
            )
            part = part * rescale[:, None]
            part = tl.dot(p.to(v_tile.dtype), v_tile, part, input_precision=PRECISION)
        older = tl.math.exp2(before - tl.where(m == float("-inf"), 0.0, m))
        acc = acc * older[:, None] + part * v2_row.to(tl.float32)[None, :]
    total = tl.where(total == 0.0, 1.0, total)
    acc = acc / total[:, None]
    o_row = batch * o_stride_b + row_head * o_stride_h + token * o_stride_n
    tl.store(o + o_row[:, None] + width[None, :], acc.to(o.dtype.element_ty), mask=row_in[:, None] & width_in[None, :])
    if lse is not None:
        tl.store(
            lse + batch * lse_stride_b + row_head * lse_stride_h + token, (m + tl.math.log2(total)) * LN_2, mask=row_in
        )


def inputs(variant: TwoSimplicial, problem: Problem, device: str = "cpu", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random q [B, H, N, d], first keys and values k [B, G, M, d], v [B, G, M, dv], second ones k2, v2 like them."""
    tensors = attention_inputs(variant, problem, device, seed)
    generator = None if device == "meta" else torch.Generator(device).manual_seed(seed + 1)
    for name, like in (("k2", "k"), ("v2", "v")):
        shape = tensors[like].shape
        tensors[name] = normal(*shape, dtype=DTYPES[problem.kv_dtype], device=device, generator=generator)
    return tensors


def plan(
    variant: TwoSimplicial, problem: Problem, tensors: dict[str, torch.Tensor], config: Config, *,
    scale: float | None = None, lse: bool = False,
) -> Plan:  # fmt: skip
    """o [B, H, N, dv] and, if asked for, the natural log-sum-exp over (j, k) of the scaled scores lse [B, H, N] (fp32).

    scale: of the scores, 1 / sqrt(head_dim) by default, not negative.
    """
    operands = dict(zip(names := ("q", "k", "v", "k2", "v2"), contiguous(*(tensors[n] for n in names)), strict=True))
    q, k, v, k2, v2 = operands.values()
    check_operands(q, k, v)
    check_operands(q, k2, v2)
    if k.shape != k2.shape or v.shape != v2.shape or k.dtype != k2.dtype:
        raise InputError(f"k2 is {tuple(k2.shape)} and v2 {tuple(v2.shape)}; they must be like k and v")
    b, h, n, d = q.shape
    g, m, dv = k.shape[1], k.shape[2], v.shape[3]
    o = torch.empty(b, h, n, dv, dtype=output_dtype(problem.dtype), device=q.device)
    sums = torch.empty(b, h, n, dtype=torch.float32, device=q.device) if lse else None
    pack = config.packed_heads
    tiles = triton.cdiv(n, math.prod(config.query) // pack)
    arguments = {
        **operands, "o": o, "lse": sums, "scale_log2": (d**-0.5 if scale is None else scale) * LOG2_E, "queries": n,
        "keys": m, "window1": variant.window1, "window2": variant.window2, "tiles": tiles, "heads": h // pack,
        "lse_stride_b": h * n, "lse_stride_h": n, **strides("o", o),
    }  # fmt: skip
    for name, tensor in operands.items():
        arguments |= strides(name, tensor)
    constants = {
        "HEAD_DIM": d, "V_DIM": dv, "D": padded(d), "DV": padded(dv), "BM": math.prod(config.query),
        "BN": math.prod(config.key), "PACK": pack, "GROUP": h // g, "PRECISION": precision(problem.dtype),
    }  # fmt: skip
    launch = Launch(forward, (tiles * (h // pack) * b,), arguments, constants, config.warps, config.stages, main=True)
    outputs = {"o": o} if sums is None else {"o": o, "lse": sums}
    return Plan(outputs, [launch])
