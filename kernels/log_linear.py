"""Chunked log-linear attention: one state for each power-of-two segment of the past chunks, each with its weight.

Source: log-linear attention (Guo et al., 2506.04761, section 3: Fenwick partition, lambda per level, chunkwise form
with one state pass a level). With chunks of C tokens, chunk t sees its own tokens under weight level 0 (the paper
splits them into levels as well; the simulator's variant does not), and the segments of the binary decomposition of
[0, t), one of 2^l chunks for each set bit l of t, under weight level l + 1:

    o_i = sum over j <= i in the chunk of w_i0 D_ij (q_i . k_j) v_j + sum over l of w_i(l+1) e_i phi_l q_i S_l

phi_l: decay from the segment's end to the chunk's start. A segment that ends with chunk e has 2^z chunks, z the
trailing zero bits of e + 1, and so has one place, e, in the scratch array of states (a Fenwick tree). Two kernels:

states, one program a head and block of value columns, chunks in turn: the chunk's own K^T V and its merged segments;
outputs, one program a chunk and block of columns: the scores, and a walk down the set bits of t.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from ..simulator.config import Config
from ..simulator.errors import InputError
from ..simulator.problem import Problem
from ..simulator.resources import padded
from ..simulator.variants import Variant
from .chunked import (
    LOG2E,
    checked_block,
    checked_fp32,
    checked_operands,
    places,
    precision,
    random_log_decay,
    random_operands,
    random_shares,
)
from .launch import Launch, Plan

NAME = "triton-linear"
VARIANTS = ("log-linear",)


@triton.jit(do_not_specialize=["tokens"])
def states_kernel(
    k, v, log_decay, states, spans, k_stride_b, k_stride_h, v_stride_b, v_stride_h, tokens, heads,
    k_stride_n: tl.constexpr, v_stride_n: tl.constexpr,
    DEPTH: tl.constexpr, VALUES: tl.constexpr, CHUNK: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """states fp32 [B, H, chunks - 1, d, dv] and spans fp32 [B, H, chunks - 1, blocks]: of the segment that ends with
    each chunk but the last, its state at its end, and the log decay (to base 2) across it."""
    BLOCKS: tl.constexpr = (VALUES + BLOCK - 1) // BLOCK
    pid = tl.program_id(0)
    head = (pid // BLOCKS).to(tl.int64)
    block = pid % BLOCKS
    b, h = head // heads, head % heads
    offs = tl.arange(0, CHUNK)
    f = tl.arange(0, FEATURES)
    c = block * BLOCK + tl.arange(0, BLOCK)
    f_inside, c_inside = f < DEPTH, c < VALUES
    segments = (tokens + CHUNK - 1) // CHUNK - 1
    k += b * k_stride_b + h * k_stride_h
    v += b * v_stride_b + h * v_stride_h
    log_decay += head * tokens
    place = states + head * segments * (DEPTH * VALUES) + f[:, None] * VALUES + c[None, :]
    place_inside = f_inside[:, None] & c_inside[None, :]
    spans += head * segments * BLOCKS + block
    for index in range(0, segments):  # all these chunks are whole
        k_tile = tl.load(k + offs[:, None] * k_stride_n + f[None, :], mask=f_inside[None, :], other=0.0)
        v_tile = tl.load(v + offs[:, None] * v_stride_n + c[None, :], mask=c_inside[None, :], other=0.0)
        summands = tl.load(log_decay + offs) * LOG2E
        span = tl.sum(summands, 0)
        kept = (v_tile * tl.exp2(span - tl.cumsum(summands, 0))[:, None]).to(v_tile.dtype)
        state = tl.dot(tl.trans(k_tile), kept, input_precision=PRECISION)
        # The segments that end right before this chunk and are merged with it: of 1, 2, 4, ... chunks.
        size = 1
        while (index & size) != 0:
            before = size * (DEPTH * VALUES)
            earlier = tl.load(place - before, mask=place_inside, other=0.0)
            state += tl.exp2(span) * earlier
            span += tl.load(spans - size * BLOCKS)
            size *= 2
        tl.store(place, state, mask=place_inside)
        tl.store(spans, span)
        tl.debug_barrier()  # other threads of the block may load this state again
        k += CHUNK * k_stride_n
        v += CHUNK * v_stride_n
        log_decay += CHUNK
        place += DEPTH * VALUES
        spans += BLOCKS


@triton.jit(do_not_specialize=["tokens"])
def outputs_kernel(
    q, k, v, o, log_decay, weights, states, spans, q_stride_b, q_stride_h, k_stride_b, k_stride_h, v_stride_b,
    v_stride_h, o_stride_b, o_stride_h, tokens, heads, levels,
    q_stride_n: tl.constexpr, k_stride_n: tl.constexpr, v_stride_n: tl.constexpr, o_stride_n: tl.constexpr,
    DEPTH: tl.constexpr, VALUES: tl.constexpr, CHUNK: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """o of one chunk and BLOCK columns of v. weights fp32 [B, H, N, levels]."""
    BLOCKS: tl.constexpr = (VALUES + BLOCK - 1) // BLOCK
    pid = tl.program_id(0)
    chunks = (tokens + CHUNK - 1) // CHUNK
    block = pid % BLOCKS
    chunk = (pid // BLOCKS) % chunks
    head = (pid // BLOCKS // chunks).to(tl.int64)
    b, h = head // heads, head % heads
    offs = tl.arange(0, CHUNK)
    f = tl.arange(0, FEATURES)
    c = block * BLOCK + tl.arange(0, BLOCK)
    start = chunk * CHUNK
    inside = offs < tokens - start
    deep = inside[:, None] & (f < DEPTH)[None, :]
    wide = inside[:, None] & (c < VALUES)[None, :]
    origin = head * 0 + start  # int64
    flat = head * tokens + start
    q += b * q_stride_b + h * q_stride_h + origin * q_stride_n
    k += b * k_stride_b + h * k_stride_h + origin * k_stride_n
    v += b * v_stride_b + h * v_stride_h + origin * v_stride_n
    o += b * o_stride_b + h * o_stride_h + origin * o_stride_n
    weights += (flat + offs) * levels
    q_tile = tl.load(q + offs[:, None] * q_stride_n + f[None, :], mask=deep, other=0.0)
    k_tile = tl.load(k + offs[:, None] * k_stride_n + f[None, :], mask=deep, other=0.0)
    v_tile = tl.load(v + offs[:, None] * v_stride_n + c[None, :], mask=wide, other=0.0)
    total = tl.cumsum(tl.load(log_decay + flat + offs, mask=inside, other=0.0) * LOG2E, 0)
    apart = tl.where(offs[:, None] >= offs[None, :], total[:, None] - total[None, :], -float("inf"))
    weight = tl.load(weights, mask=inside, other=0.0)
    scores = tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION) * tl.exp2(apart) * weight[:, None]
    acc = tl.dot(scores.to(v_tile.dtype), v_tile, input_precision=PRECISION)
    # Segments from the nearest one to the farthest: `end` chunks lie before the end of the one being read.
    place = states + head * (chunks - 1) * (DEPTH * VALUES) + f[:, None] * VALUES + c[None, :]
    place_inside = (f < DEPTH)[:, None] & (c < VALUES)[None, :]
    spans += head * (chunks - 1) * BLOCKS + block
    faded = 0.0
    end = chunk
    size = 1
    level = 1
    while end > 0:
        if (end & size) != 0:
            state = tl.load(place + (origin * 0 + end - 1) * (DEPTH * VALUES), mask=place_inside, other=0.0)
            weight = tl.load(weights + level, mask=inside, other=0.0)
            scale = weight * tl.exp2(total + faded)
            acc += tl.dot(q_tile, state.to(q_tile.dtype), input_precision=PRECISION) * scale[:, None]
            faded += tl.load(spans + (end - 1) * BLOCKS)
            end -= size
        size *= 2
        level += 1
    tl.store(o + offs[:, None] * o_stride_n + c[None, :], acc.to(o.dtype.element_ty), mask=wide)


def level_count(problem: Problem) -> int:
    """Levels of weights a token has: the chunk's own, and one for each power of two of the past."""
    return int(problem.kv_len).bit_length() + 1


def inputs(variant: Variant, problem: Problem, device: str = "cpu", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random operands; log_decay [B, H, N] and weights [B, H, N, levels] fp32."""
    made = random_operands(problem, device, seed)
    made["log_decay"] = random_log_decay(problem, device, seed)
    made["weights"] = random_shares(*made["q"].shape[:3], level_count(problem), device=device, seed=seed)
    return made


def plan(variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor], config: Config) -> Plan:
    """The forward pass: o [B, H, N, dv].

    tensors: q, k, v; log_decay [B, H, N] and weights [B, H, N, levels] (fp32, contiguous).
    """
    if problem.kv_len != problem.queries:
        raise InputError("the log-linear kernel starts with the first token: kv_len must be seq")
    block = checked_block(variant, problem, config)
    q, k, v = checked_operands(tensors)
    b, h, n, depth = q.shape
    log_decay = checked_fp32(tensors, "log_decay", (b, h, n))
    weights = checked_fp32(tensors, "weights", (b, h, n, level_count(problem)))
    values, chunk = v.shape[-1], config.query[0]
    chunks = triton.cdiv(n, chunk)
    block = min(block, padded(values))
    blocks = triton.cdiv(values, block)
    o = torch.empty(b, h, n, values, dtype=q.dtype, device=q.device)
    segments = max(chunks - 1, 0)
    states = torch.empty(b, h, segments, depth, values, dtype=torch.float32, device=q.device)
    spans = torch.empty(b, h, segments, blocks, dtype=torch.float32, device=q.device)
    constants = {
        "DEPTH": depth, "VALUES": values, "CHUNK": chunk, "FEATURES": padded(depth), "BLOCK": block,
        "PRECISION": precision(problem.dtype),
    }  # fmt: skip
    shared = {"log_decay": log_decay, "states": states, "spans": spans, "tokens": n, "heads": h}
    keys, key_strides = places(k=k, v=v)
    operands, operand_strides = places(q=q, k=k, v=v, o=o)
    return Plan({"o": o}, [
        Launch(states_kernel, (b * h * blocks if segments else 0,), {**keys, **shared}, {**constants, **key_strides},
               config.warps, config.stages, main=True),
        Launch(outputs_kernel, (b * h * chunks * blocks,),
               {**operands, **shared, "weights": weights, "levels": weights.shape[-1]},
               {**constants, **operand_strides}, config.warps, config.stages, main=True),
    ])  # fmt: skip
