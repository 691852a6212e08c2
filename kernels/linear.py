"""Chunked linear attention with a decay: o_i = sum of exp(b_i - b_j) (q_i . k_j) v_j over j <= i, b summed log decays.

Sources: lightning attention (Qin et al., 2405.17381: intra and inter chunk parts), gated linear attention (Yang et al.,
2312.06635: chunkwise form), linear attention (Katharopoulos et al., 2006.16236: features elu(x) + 1). One program takes
one head and one block of value columns through all chunks, the state f x dv_block in fp32 registers:

    o = (Q K^T * D) V + e * (Q S),    S <- exp(b_C) S + K^T (kept * V)

D_ij = exp(b_i - b_j) for j <= i, e_i = exp(b_i), kept_j = exp(b_C - b_j), b summed inside the chunk.

The gradients are the same sums with the roles exchanged, so the same kernel computes them:
    dq = forward(q = do, k = v, v = k),    dv = backward in time (q = k, k = q, v = do),
    dk = backward in time (q = v, k = do, v = q),    db_i = q_i . dq_i - k_i . dk_i.
"""

from __future__ import annotations

from typing import Any

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
    chunk_decay,
    places,
    precision,
    random_operands,
    state_like,
)
from .launch import Launch, Plan

NAME = "triton-linear"
VARIANTS = ("linear-attention", "lightning")


@triton.jit
def features(x, inside, MAP: tl.constexpr):
    """elu(x) + 1 where MAP, x itself otherwise; zero outside."""
    if MAP:
        wide = x.to(tl.float32)
        mapped = tl.where(wide > 0, wide + 1, tl.exp2(tl.minimum(wide, 0.0) * LOG2E))
        return tl.where(inside, mapped, 0.0).to(x.dtype)
    else:
        return x


@triton.jit(do_not_specialize=["tokens"])
def chunks_kernel(
    q, k, v, o, log_decay, first, last, x, rows, q_stride_b, q_stride_h, k_stride_b, k_stride_h, v_stride_b, v_stride_h,
    o_stride_b, o_stride_h, x_stride_b, x_stride_h, state_row, state_column, tokens, heads, total_heads,
    q_stride_n: tl.constexpr, k_stride_n: tl.constexpr, v_stride_n: tl.constexpr, o_stride_n: tl.constexpr,
    x_stride_n: tl.constexpr,
    DEPTH: tl.constexpr, VALUES: tl.constexpr, CHUNK: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
    DECAY: tl.constexpr, REVERSE: tl.constexpr, MAP_Q: tl.constexpr, MAP_K: tl.constexpr, MAP_V: tl.constexpr,
    HAS_FIRST: tl.constexpr, HAS_LAST: tl.constexpr, HAS_ROWS: tl.constexpr, MAP_OUT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One head and BLOCK columns of v: all chunks in turn (from the last one with REVERSE, time running backwards).

    DECAY: "none", "fixed" (log_decay [heads]) or "token" (log_decay [B, H, N]). first, last: fp32 states before and
    after. x: what o is the gradient of; rows [blocks, B, H, N]: its products with o, summed over the block's columns.
    """
    BLOCKS: tl.constexpr = (VALUES + BLOCK - 1) // BLOCK
    pid = tl.program_id(0)
    head = (pid // BLOCKS).to(tl.int64)
    block = pid % BLOCKS
    b, h = head // heads, head % heads
    offs = tl.arange(0, CHUNK)
    f = tl.arange(0, FEATURES)
    c = block * BLOCK + tl.arange(0, BLOCK)
    f_inside, c_inside = f < DEPTH, c < VALUES
    chunks = (tokens + CHUNK - 1) // CHUNK
    # Token that the first chunk to be computed starts at; REVERSE begins with the last chunk.
    position = (chunks - 1) * CHUNK if REVERSE else 0
    step = -CHUNK if REVERSE else CHUNK
    origin = head * 0 + position  # int64
    q += b * q_stride_b + h * q_stride_h + origin * q_stride_n
    k += b * k_stride_b + h * k_stride_h + origin * k_stride_n
    v += b * v_stride_b + h * v_stride_h + origin * v_stride_n
    o += b * o_stride_b + h * o_stride_h + origin * o_stride_n
    x += b * x_stride_b + h * x_stride_h + origin * x_stride_n
    rows += (block * total_heads + head) * tokens + origin
    if DECAY == "token":
        log_decay += head * tokens + origin
    if DECAY == "fixed":
        rate = tl.load(log_decay + h) * LOG2E
        apart = offs[None, :] - offs[:, None] if REVERSE else offs[:, None] - offs[None, :]
        tile = tl.exp2(tl.where(apart >= 0, apart * rate, -float("inf")))
        from_start = tl.exp2((offs + 1) * rate)
    state_offs = head * (DEPTH * VALUES) + f[:, None] * state_row + c[None, :] * state_column
    state_inside = f_inside[:, None] & c_inside[None, :]
    if HAS_FIRST:
        state = tl.load(first + state_offs, mask=state_inside, other=0.0)
    else:
        state = tl.zeros((FEATURES, BLOCK), dtype=tl.float32)
    for index in range(0, chunks):
        left = tokens - (chunks - 1 - index) * CHUNK if REVERSE else tokens - index * CHUNK
        inside = offs < left
        deep = inside[:, None] & f_inside[None, :]
        wide = inside[:, None] & c_inside[None, :]
        q_tile = tl.load(q + offs[:, None] * q_stride_n + f[None, :], mask=deep, other=0.0)
        k_tile = tl.load(k + offs[:, None] * k_stride_n + f[None, :], mask=deep, other=0.0)
        v_tile = tl.load(v + offs[:, None] * v_stride_n + c[None, :], mask=wide, other=0.0)
        q_tile = features(q_tile, deep, MAP_Q)
        k_tile = features(k_tile, deep, MAP_K)
        v_tile = features(v_tile, wide, MAP_V)
        acc = tl.dot(q_tile, state.to(q_tile.dtype), input_precision=PRECISION)
        scores = tl.dot(q_tile, tl.trans(k_tile), input_precision=PRECISION)
        if DECAY == "none":
            seen = offs[:, None] <= offs[None, :] if REVERSE else offs[:, None] >= offs[None, :]
            scores = tl.where(seen, scores, 0.0)
            kept = v_tile
        else:
            if DECAY == "token":
                summands = tl.load(log_decay + offs, mask=inside, other=0.0) * LOG2E
                tile, from_start, to_end, whole = chunk_decay(summands, CHUNK, REVERSE)
            else:
                length = tl.minimum(left, CHUNK)
                to_end = tl.exp2(tl.maximum(length - 1 - offs, 0) * rate)
                whole = tl.exp2(length * rate)
            read, keep = (to_end, from_start) if REVERSE else (from_start, to_end)
            acc = acc * read[:, None]
            scores = scores * tile
            kept = (v_tile * keep[:, None]).to(v_tile.dtype)
            state = state * whole
        acc = tl.dot(scores.to(v_tile.dtype), v_tile, acc, input_precision=PRECISION)
        state = tl.dot(tl.trans(k_tile), kept, state, input_precision=PRECISION)
        if HAS_ROWS or MAP_OUT:
            x_tile = tl.load(x + offs[:, None] * x_stride_n + c[None, :], mask=wide, other=0.0)
            x_tile = features(x_tile, wide, MAP_OUT).to(tl.float32)
            if HAS_ROWS:
                tl.store(rows + offs, tl.sum(x_tile * acc, 1), mask=inside)
            if MAP_OUT:
                acc = acc * tl.minimum(x_tile, 1.0)  # the derivative of elu(x) + 1 is exp(x) below zero, 1 above
        tl.store(o + offs[:, None] * o_stride_n + c[None, :], acc.to(o.dtype.element_ty), mask=wide)
        q += step * q_stride_n
        k += step * k_stride_n
        v += step * v_stride_n
        o += step * o_stride_n
        x += step * x_stride_n
        rows += step
        log_decay += step
    if HAS_LAST:
        tl.store(last + state_offs, state, mask=state_inside)


@triton.jit(do_not_specialize=["tokens"])
def sums_kernel(
    k, v, state, total, k_stride_b, k_stride_h, v_stride_b, v_stride_h, tokens, heads,
    k_stride_n: tl.constexpr, v_stride_n: tl.constexpr,
    DEPTH: tl.constexpr, VALUES: tl.constexpr, CHUNK: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Without causality, the keys' part: S = phi(K)^T V of one kv head and BLOCK columns, and z = sum of phi(k)."""
    BLOCKS: tl.constexpr = (VALUES + BLOCK - 1) // BLOCK
    pid = tl.program_id(0)
    head = (pid // BLOCKS).to(tl.int64)
    block = pid % BLOCKS
    b, h = head // heads, head % heads
    offs = tl.arange(0, CHUNK)
    f = tl.arange(0, FEATURES)
    c = block * BLOCK + tl.arange(0, BLOCK)
    k += b * k_stride_b + h * k_stride_h
    v += b * v_stride_b + h * v_stride_h
    sums = tl.zeros((FEATURES, BLOCK), dtype=tl.float32)
    ones = tl.zeros((FEATURES,), dtype=tl.float32)
    for start in range(0, tokens, CHUNK):
        inside = offs < tokens - start
        deep = inside[:, None] & (f < DEPTH)[None, :]
        wide = inside[:, None] & (c < VALUES)[None, :]
        k_tile = tl.load(k + offs[:, None] * k_stride_n + f[None, :], mask=deep, other=0.0)
        v_tile = tl.load(v + offs[:, None] * v_stride_n + c[None, :], mask=wide, other=0.0)
        k_tile = features(k_tile, deep, True)
        sums = tl.dot(tl.trans(k_tile), v_tile, sums, input_precision=PRECISION)
        ones += tl.sum(k_tile.to(tl.float32), 0)
        k += CHUNK * k_stride_n
        v += CHUNK * v_stride_n
    offsets = head * (DEPTH * VALUES) + f[:, None] * VALUES + c[None, :]
    tl.store(state + offsets, sums, mask=(f < DEPTH)[:, None] & (c < VALUES)[None, :])
    if block == 0:
        tl.store(total + head * DEPTH + f, ones, mask=f < DEPTH)


@triton.jit(do_not_specialize=["tokens"])
def read_kernel(
    q, o, state, total, q_stride_b, q_stride_h, o_stride_b, o_stride_h, tokens, heads, group,
    q_stride_n: tl.constexpr, o_stride_n: tl.constexpr,
    DEPTH: tl.constexpr, VALUES: tl.constexpr, CHUNK: tl.constexpr, FEATURES: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Without causality, the queries' part: phi(Q) S / (phi(Q) . z) for CHUNK queries and BLOCK columns."""
    BLOCKS: tl.constexpr = (VALUES + BLOCK - 1) // BLOCK
    pid = tl.program_id(0)
    chunks = (tokens + CHUNK - 1) // CHUNK
    block = pid % BLOCKS
    chunk = (pid // BLOCKS) % chunks
    head = (pid // BLOCKS // chunks).to(tl.int64)
    b, h = head // heads, head % heads
    kv_head = head // group
    offs = tl.arange(0, CHUNK)
    f = tl.arange(0, FEATURES)
    c = block * BLOCK + tl.arange(0, BLOCK)
    start = chunk * CHUNK
    inside = offs < tokens - start
    deep = inside[:, None] & (f < DEPTH)[None, :]
    origin = head * 0 + start  # int64
    q += b * q_stride_b + h * q_stride_h + origin * q_stride_n
    o += b * o_stride_b + h * o_stride_h + origin * o_stride_n
    q_tile = tl.load(q + offs[:, None] * q_stride_n + f[None, :], mask=deep, other=0.0)
    q_tile = features(q_tile, deep, True)
    offsets = kv_head * (DEPTH * VALUES) + f[:, None] * VALUES + c[None, :]
    sums = tl.load(state + offsets, mask=(f < DEPTH)[:, None] & (c < VALUES)[None, :], other=0.0)
    ones = tl.load(total + kv_head * DEPTH + f, mask=f < DEPTH, other=0.0)
    acc = tl.dot(q_tile, sums.to(q_tile.dtype), input_precision=PRECISION)
    below = tl.sum(q_tile.to(tl.float32) * ones[None, :], 1)
    acc = acc / tl.where(below > 0, below, 1.0)[:, None]  # no keys: zero
    tl.store(
        o + offs[:, None] * o_stride_n + c[None, :], acc.to(o.dtype.element_ty),
        mask=inside[:, None] & (c < VALUES)[None, :],
    )  # fmt: skip


def inputs(variant: Variant, problem: Problem, device: str = "cpu", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random operands. lightning's log_decay [H] is the usual -2^(-8 h / H), h = 1 .. H."""
    made = random_operands(problem, device, seed)
    if variant.id == "lightning":
        heads = torch.arange(1, int(problem.heads) + 1, device=device, dtype=torch.float32)
        made["log_decay"] = heads if device == "meta" else -torch.exp2(-8 * heads / int(problem.heads))
    return made


def decay_kind(tensors: dict[str, torch.Tensor]) -> str:
    """How the kernel reads the decay: "none", one rate for each head, or one for each token."""
    if "log_decay" not in tensors:
        return "none"
    return "fixed" if tensors["log_decay"].dim() == 1 else "token"


def checked(variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors as the kernel takes them. Raises InputError where they do not fit together."""
    recurrent = problem.causal or problem.queries == 1
    q, k, v = checked_operands(tensors, causal=recurrent)
    found = tensors | {"q": q, "k": k, "v": v}
    if "do" in tensors:
        found["do"] = tensors["do"].contiguous()
    if "log_decay" in tensors or variant.id == "lightning":
        found["log_decay"] = checked_fp32(tensors, "log_decay", (q.shape[1],), tuple(q.shape[:3]))
    for name in {"initial_state", "final_state", "dfinal_state"} & tensors.keys():
        found[name] = checked_fp32(tensors, name, (*q.shape[:2], q.shape[3], v.shape[3]))
    return found


def chunked_launch(
    problem: Problem, config: Config, block: int, roles: tuple[torch.Tensor, ...], tensors: dict[str, torch.Tensor], *,
    maps: tuple[bool, bool, bool] = (False, False, False), reverse: bool = False, transposed: bool = False,
    first: torch.Tensor | None = None, last: torch.Tensor | None = None, x: torch.Tensor | None = None,
    rows: torch.Tensor | None = None, map_out: bool = False, main: bool = False,
) -> Launch:  # fmt: skip
    """A start of `chunks_kernel`; roles are its q, k, v, o; transposed: states are stored with v's columns first."""
    q, k, v, o = roles
    b, h, n, depth = q.shape
    values = v.shape[-1]
    block = min(block, padded(values))
    kind = decay_kind(tensors)
    arguments, constants = places(q=q, k=k, v=v, o=o, x=o if x is None else x)
    return Launch(
        chunks_kernel,
        (b * h * triton.cdiv(values, block) if n else 0,),
        {
            **arguments, "log_decay": tensors.get("log_decay", o), "first": o if first is None else first,
            "last": o if last is None else last, "rows": o if rows is None else rows,
            "state_row": 1 if transposed else values, "state_column": depth if transposed else 1,
            "tokens": n, "heads": h, "total_heads": b * h,
        },
        {
            **constants, "DEPTH": depth, "VALUES": values, "CHUNK": config.query[0], "FEATURES": padded(depth),
            "BLOCK": block, "DECAY": kind, "REVERSE": reverse, "MAP_Q": maps[0], "MAP_K": maps[1],
            "MAP_V": maps[2], "HAS_FIRST": first is not None, "HAS_LAST": last is not None,
            "HAS_ROWS": rows is not None, "MAP_OUT": map_out, "PRECISION": precision(problem.dtype),
        },
        warps=config.warps, stages=config.stages, main=main,
    )  # fmt: skip


def plan(
    variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor], config: Config, *, final_state: bool = False
) -> Plan:
    """The forward pass: o [B, H, N, dv] and, if asked for, final_state fp32 [B, H, d, dv].

    tensors: q, k, v; optionally log_decay (fp32, [H] or contiguous [B, H, N]) and initial_state (fp32, contiguous).
    """
    block = checked_block(variant, problem, config)
    mapped = variant.id == "linear-attention"
    tensors = checked(variant, problem, tensors)
    q, k, v = (tensors[name] for name in ("q", "k", "v"))
    o = torch.empty(*q.shape[:3], v.shape[-1], dtype=q.dtype, device=q.device)
    if mapped and not problem.causal and problem.queries > 1:
        return _parallel_plan(problem, (q, k, v, o), config, block)
    outputs = {"o": o}
    first = tensors.get("initial_state")
    if final_state:
        outputs["final_state"] = state_like(q, v, first)
    launch = chunked_launch(
        problem, config, block, (q, k, v, o), tensors, maps=(mapped, mapped, False), first=first,
        last=outputs.get("final_state"), main=True,
    )  # fmt: skip
    return Plan(outputs, [launch])


def _parallel_plan(problem: Problem, roles: tuple[torch.Tensor, ...], config: Config, block: int) -> Plan:
    """The form without causality: the keys' sums, then every query reads them."""
    q, k, v, o = roles
    b, h, n, depth = q.shape
    kv_heads, values = k.shape[1], v.shape[-1]
    block = min(block, padded(values))
    blocks = triton.cdiv(values, block)
    state = torch.empty(b, kv_heads, depth, values, dtype=torch.float32, device=q.device)
    total = torch.empty(b, kv_heads, depth, dtype=torch.float32, device=q.device)
    constants = {
        "DEPTH": depth, "VALUES": values, "CHUNK": config.query[0], "FEATURES": padded(depth), "BLOCK": block,
        "PRECISION": precision(problem.dtype),
    }  # fmt: skip
    between = {"state": state, "total": total}
    keys, key_strides = places(k=k, v=v)
    sums = Launch(
        sums_kernel, (b * kv_heads * blocks,), {**keys, **between, "tokens": k.shape[2], "heads": kv_heads},
        {**constants, **key_strides}, config.warps, config.stages, main=True,
    )  # fmt: skip
    queries, query_strides = places(q=q, o=o)
    read = Launch(
        read_kernel, (b * h * blocks * triton.cdiv(n, config.query[0]),),
        {**queries, **between, "tokens": n, "heads": h, "group": h // kv_heads},
        {**constants, **query_strides}, config.warps, config.stages, main=True,
    )  # fmt: skip
    return Plan({"o": o}, [sums, read])


def plan_backward(variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor], config: Config) -> Plan:
    """Gradients dq, dk, dv, and dlog_decay and dinitial_state where there are such inputs.

    tensors: those of the forward pass and do; if the final state was used, also final_state and dfinal_state (fp32).
    Nothing else is kept from the forward pass: states and scores are computed again.
    """
    if variant.id == "linear-attention" and not problem.causal and problem.queries > 1:
        raise InputError("the kernel of linear attention without causality has no backward pass")
    block = checked_block(variant, problem, config)
    mapped = variant.id == "linear-attention"
    tensors = checked(variant, problem, tensors)
    q, k, v, do = (tensors[name] for name in ("q", "k", "v", "do"))
    outputs = {f"d{name}": torch.empty_like(t, memory_format=torch.contiguous_format)
               for name, t in (("q", q), ("k", k), ("v", v))}  # fmt: skip
    first, dlast = tensors.get("initial_state"), tensors.get("dfinal_state")
    if first is not None:
        outputs["dinitial_state"] = state_like(q, v, dlast)
    summed: dict[str, torch.Tensor] = {}
    if "log_decay" in tensors:
        blocks = triton.cdiv(q.shape[-1], min(block, padded(q.shape[-1])))
        for name in ("q", "k"):
            summed[name] = torch.empty(blocks, *q.shape[:3], dtype=torch.float32, device=q.device)

    def start(roles: tuple[torch.Tensor, ...], maps: tuple[bool, bool, bool], **named: Any) -> Launch:
        return chunked_launch(problem, config, block, roles, tensors, maps=maps, main=True, **named)

    launches = [
        start((do, v, k, outputs["dq"]), (False, False, mapped), transposed=True, first=first, x=q,
              rows=summed.get("q"), map_out=mapped),
        start((v, do, q, outputs["dk"]), (False, False, mapped), reverse=True, transposed=True, first=dlast, x=k,
              rows=summed.get("k"), map_out=mapped),
        start((k, q, do, outputs["dv"]), (mapped, mapped, False), reverse=True, first=dlast,
              last=outputs.get("dinitial_state")),
    ]  # fmt: skip
    result = Plan(outputs, launches)
    if summed:
        outputs["dlog_decay"] = torch.empty_like(tensors["log_decay"])
        result.finish = lambda: _decay_gradient(tensors, summed, outputs["dlog_decay"])
    return result


def _decay_gradient(tensors: dict[str, torch.Tensor], summed: dict[str, torch.Tensor], gradient: torch.Tensor) -> None:
    """dlog_decay_t = sum over i >= t of db_i, where b_N also scales the final state (2312.06635, appendix C)."""
    each = summed["q"].sum(0) - summed["k"].sum(0)
    if "dfinal_state" in tensors and each.shape[-1]:
        each[..., -1] += (tensors["final_state"] * tensors["dfinal_state"]).sum((-1, -2))
    suffix = each.flip(-1).cumsum(-1).flip(-1)
    gradient.copy_(suffix if gradient.dim() == 3 else suffix.sum((0, 2)))
