"""Chunked gated delta rule: S_i = exp(g_i) S_(i-1) + beta_i k_i (v_i - k_i exp(g_i) S_(i-1)), o_i = q_i S_i.

Source: gated DeltaNet (Yang et al., 2412.06464, section 3.3: the WY form with decay), after DeltaNet (Yang et al.,
2406.06484, section 3.2: T = (I + L)^-1). Two kernels, as in flash-linear-attention:

prepare, one program a chunk: L_ij = beta_i D_ij k_i . k_j for j < i, T = (I + L)^-1, W = T diag(beta e) K,
    U = T diag(beta) V; D and e are those of `linear`. W and U pass through memory in the operands' type.
pass, one program a head and block of value columns, chunks in turn: X = U - W S, O = (Q K^T * D) X + e * (Q S),
    S <- exp(b_C) S + K^T (kept * X).

T: the diagonal blocks of 16 by forward substitution, all at once on the vector lanes; then pairs of blocks of
s = 16, 32, ... are joined by two batched products: [[A, 0], [B, C]]^-1 has C^-1 B A^-1, negated, in its corner.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ..simulator.config import Config
from ..simulator.problem import Problem
from ..simulator.resources import padded
from ..simulator.variants import Variant
from .chunked import (
    LOG2E,
    checked_block,
    checked_fp32,
    checked_operands,
    chunk_decay,
    places,
    precision,
    random_log_decay,
    random_operands,
    random_shares,
    state_like,
)
from .launch import Launch, Plan

NAME = "triton-linear"
VARIANTS = ("gated-deltanet",)


@triton.jit
def join_blocks(inverse, lower, CHUNK: tl.constexpr, SIDE: tl.constexpr, PRECISION: tl.constexpr):
    """Inverses of the diagonal blocks of 2 SIDE from those of SIDE ([C / SIDE, SIDE, SIDE]) and L [C, C]."""
    PAIRS: tl.constexpr = CHUNK // (2 * SIDE)
    pair = tl.arange(0, PAIRS)
    half = tl.arange(0, 2)
    blocks = tl.reshape(lower, (PAIRS, 2 * SIDE, PAIRS, 2 * SIDE))
    diagonal = pair[:, None, None, None] == pair[None, None, :, None]
    square = tl.reshape(tl.sum(tl.where(diagonal, blocks, 0.0), 2), (PAIRS, 2, SIDE, 2 * SIDE))
    below = tl.sum(tl.where(half[None, :, None, None] == 1, square, 0.0), 1)
    left = tl.reshape(below, (PAIRS, SIDE, 2, SIDE))
    corner = tl.sum(tl.where(half[None, None, :, None] == 0, left, 0.0), 2)
    halves = tl.reshape(inverse, (PAIRS, 2, SIDE, SIDE))
    first = tl.sum(tl.where(half[None, :, None, None] == 0, halves, 0.0), 1)
    second = tl.sum(tl.where(half[None, :, None, None] == 1, halves, 0.0), 1)
    corner = -tl.dot(tl.dot(second, corner, input_precision=PRECISION), first, input_precision=PRECISION)
    row = half[None, :, None, None, None]
    column = half[None, None, None, :, None]
    joined = tl.where(row == column, halves[:, :, :, None, :], tl.where(row > column, corner[:, None, :, None, :], 0.0))
    return tl.reshape(joined, (PAIRS, 2 * SIDE, 2 * SIDE))


@triton.jit
def unit_lower_inverse(lower, CHUNK: tl.constexpr, PRECISION: tl.constexpr):
    """(I + L)^-1 [C, C] of a strictly lower triangular L [C, C], fp32."""
    BLOCKS: tl.constexpr = CHUNK // 16
    block = tl.arange(0, BLOCKS)
    rows = tl.arange(0, 16)
    diagonal = block[:, None, None, None] == block[None, None, :, None]
    corner = tl.sum(tl.where(diagonal, tl.reshape(lower, (BLOCKS, 16, BLOCKS, 16)), 0.0), 2)
    # Row r of X = T - I is -L_r - L_r X, which needs the rows above it only.
    inverse = -corner
    for r in range(2, 16):
        here = rows[None, :, None] == r
        row = -tl.sum(tl.where(here, corner, 0.0), 1)
        row = row + tl.sum(row[:, :, None] * inverse, 1)
        inverse = tl.where(here, row[:, None, :], inverse)
    inverse = inverse + tl.where(rows[None, :, None] == rows[None, None, :], 1.0, 0.0)
    if CHUNK >= 32:
        inverse = join_blocks(inverse, lower, CHUNK, 16, PRECISION)
    if CHUNK >= 64:
        inverse = join_blocks(inverse, lower, CHUNK, 32, PRECISION)
    if CHUNK >= 128:
        inverse = join_blocks(inverse, lower, CHUNK, 64, PRECISION)
    return tl.reshape(inverse, (CHUNK, CHUNK))


@triton.jit(do_not_specialize=["tokens"])
def prepare_kernel(
    k, v, w, u, log_decay, beta, k_stride_b, k_stride_h, v_stride_b, v_stride_h, tokens, heads,
    k_stride_n: tl.constexpr, v_stride_n: tl.constexpr,
    DEPTH: tl.constexpr, VALUES: tl.constexpr, CHUNK: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """W [B, H, N, d] and U [B, H, N, dv] of one chunk of one head."""
    pid = tl.program_id(0)
    chunks = (tokens + CHUNK - 1) // CHUNK
    head = (pid // chunks).to(tl.int64)
    start = (pid % chunks) * CHUNK
    b, h = head // heads, head % heads
    offs = tl.arange(0, CHUNK)
    f = tl.arange(0, FEATURES)
    inside = offs < tokens - start
    deep = inside[:, None] & (f < DEPTH)[None, :]
    origin = head * 0 + start  # int64
    flat = head * tokens + start
    k += b * k_stride_b + h * k_stride_h + origin * k_stride_n
    v += b * v_stride_b + h * v_stride_h + origin * v_stride_n
    k_tile = tl.load(k + offs[:, None] * k_stride_n + f[None, :], mask=deep, other=0.0)
    rate = tl.load(beta + flat + offs, mask=inside, other=0.0)
    total = tl.cumsum(tl.load(log_decay + flat + offs, mask=inside, other=0.0) * LOG2E, 0)
    apart = tl.where(offs[:, None] > offs[None, :], total[:, None] - total[None, :], -float("inf"))
    lower = tl.dot(k_tile, tl.trans(k_tile), input_precision=PRECISION) * tl.exp2(apart) * rate[:, None]
    inverse = unit_lower_inverse(lower, CHUNK, PRECISION) * rate[None, :]
    scaled = (inverse * tl.exp2(total)[None, :]).to(k_tile.dtype)
    w_tile = tl.dot(scaled, k_tile, input_precision=PRECISION)
    tl.store(w + (flat + offs)[:, None] * DEPTH + f[None, :], w_tile.to(w.dtype.element_ty), mask=deep)
    plain = inverse.to(k_tile.dtype)
    for column in range(0, VALUES, BLOCK):
        c = column + tl.arange(0, BLOCK)
        wide = inside[:, None] & (c < VALUES)[None, :]
        v_tile = tl.load(v + offs[:, None] * v_stride_n + c[None, :], mask=wide, other=0.0)
        u_tile = tl.dot(plain, v_tile, input_precision=PRECISION)
        tl.store(u + (flat + offs)[:, None] * VALUES + c[None, :], u_tile.to(u.dtype.element_ty), mask=wide)


@triton.jit(do_not_specialize=["tokens"])
def pass_kernel(
    q, k, w, u, o, log_decay, first, last, q_stride_b, q_stride_h, k_stride_b, k_stride_h, tokens, heads,
    q_stride_n: tl.constexpr, k_stride_n: tl.constexpr,
    DEPTH: tl.constexpr, VALUES: tl.constexpr, CHUNK: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
    HAS_FIRST: tl.constexpr, HAS_LAST: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One head and BLOCK columns of v: all chunks in turn. w, u, o are contiguous; first, last: fp32 states."""
    BLOCKS: tl.constexpr = (VALUES + BLOCK - 1) // BLOCK
    pid = tl.program_id(0)
    head = (pid // BLOCKS).to(tl.int64)
    block = pid % BLOCKS
    b, h = head // heads, head % heads
    offs = tl.arange(0, CHUNK)
    f = tl.arange(0, FEATURES)
    c = block * BLOCK + tl.arange(0, BLOCK)
    q += b * q_stride_b + h * q_stride_h
    k += b * k_stride_b + h * k_stride_h
    w += head * tokens * DEPTH
    u += head * tokens * VALUES
    o += head * tokens * VALUES
    log_decay += head * tokens
    state_offs = head * (DEPTH * VALUES) + f[:, None] * VALUES + c[None, :]
    state_inside = (f < DEPTH)[:, None] & (c < VALUES)[None, :]
    if HAS_FIRST:
        state = tl.load(first + state_offs, mask=state_inside, other=0.0)
    else:
        state = tl.zeros((FEATURES, BLOCK), dtype=tl.float32)
    for start in range(0, tokens, CHUNK):
        inside = offs < tokens - start
        deep = inside[:, None] & (f < DEPTH)[None, :]
        wide = inside[:, None] & (c < VALUES)[None, :]
        q_tile = tl.load(q + offs[:, None] * q_stride_n + f[None, :], mask=deep, other=0.0)
        k_tile = tl.load(k + offs[:, None] * k_stride_n + f[None, :], mask=deep, other=0.0)
        w_tile = tl.load(w + offs[:, None] * DEPTH + f[None, :], mask=deep, other=0.0)
        u_tile = tl.load(u + offs[:, None] * VALUES + c[None, :], mask=wide, other=0.0)
        summands = tl.load(log_decay + offs, mask=inside, other=0.0) * LOG2E
        tile, read, keep, whole = chunk_decay(summands, CHUNK, False)
        narrow = state.to(q_tile.dtype)
        new = u_tile.to(tl.float32) - tl.dot(w_tile, narrow, input_precision=PRECISION)
        acc = tl.dot(q_tile, narrow, input_precision=PRECISION) * read[:, None]
        scores = tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION) * tile
        acc = tl.dot(scores.to(u_tile.dtype), new.to(u_tile.dtype), acc, input_precision=PRECISION)
        kept = (new * keep[:, None]).to(u_tile.dtype)
        state = tl.dot(tl.trans(k_tile), kept, state * whole, input_precision=PRECISION)
        tl.store(o + offs[:, None] * VALUES + c[None, :], acc.to(o.dtype.element_ty), mask=wide)
        q += CHUNK * q_stride_n
        k += CHUNK * k_stride_n
        w += CHUNK * DEPTH
        u += CHUNK * VALUES
        o += CHUNK * VALUES
        log_decay += CHUNK
    if HAS_LAST:
        tl.store(last + state_offs, state, mask=state_inside)


def inputs(variant: Variant, problem: Problem, device: str = "cpu", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random operands: keys of length one, log_decay and beta fp32 [B, H, N]."""
    made = random_operands(problem, device, seed)
    if device != "meta":
        made["k"] = torch.nn.functional.normalize(made["k"].float(), dim=-1).to(made["k"].dtype)
    made["log_decay"] = random_log_decay(problem, device, seed)
    made["beta"] = random_shares(*made["q"].shape[:3], device=device, seed=seed)
    return made


def plan(
    variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor], config: Config, *, final_state: bool = False
) -> Plan:
    """The forward pass: o [B, H, N, dv] and, if asked for, final_state fp32 [B, H, d, dv].

    tensors: q, k (of length one for a stable recurrence), v; log_decay and beta (fp32, contiguous [B, H, N]);
    optionally initial_state (fp32, contiguous).
    """
    block = checked_block(variant, problem, config)
    q, k, v = checked_operands(tensors)
    b, h, n, depth = q.shape
    values = v.shape[-1]
    log_decay, beta = (checked_fp32(tensors, name, (b, h, n)) for name in ("log_decay", "beta"))
    block = min(block, padded(values))
    o, w, u = (torch.empty(b, h, n, width, dtype=q.dtype, device=q.device) for width in (values, depth, values))
    outputs = {"o": o}
    first = None
    if "initial_state" in tensors:
        first = checked_fp32(tensors, "initial_state", (b, h, depth, values))
    if final_state:
        outputs["final_state"] = state_like(q, v, first)
    constants = {
        "DEPTH": depth, "VALUES": values, "CHUNK": config.query[0], "FEATURES": padded(depth), "BLOCK": block,
        "PRECISION": precision(problem.dtype),
    }  # fmt: skip
    keys, key_strides = places(k=k, v=v)
    prepare = Launch(
        prepare_kernel, (b * h * triton.cdiv(n, config.query[0]),),
        {**keys, "w": w, "u": u, "log_decay": log_decay, "beta": beta, "tokens": n, "heads": h},
        {**constants, **key_strides}, config.warps, config.stages, main=True,
    )  # fmt: skip
    pairs, pair_strides = places(q=q, k=k)
    chain = Launch(
        pass_kernel, (b * h * triton.cdiv(values, block) if n else 0,),
        {**pairs, "w": w, "u": u, "o": o, "log_decay": log_decay, "first": o if first is None else first,
         "last": outputs.get("final_state", o), "tokens": n, "heads": h},
        {**constants, **pair_strides, "HAS_FIRST": first is not None, "HAS_LAST": final_state},
        config.warps, config.stages, main=True,
    )  # fmt: skip
    return Plan(outputs, [prepare, chain])
