"""Flash attention under a band: dense, causal, sliding windows, attention sinks, ragged batches; forward and backward.

FlashAttention-2's loops (2307.08691, algorithms 1 and 2): forward a block a query tile, over the key tiles its band
touches; backward a block a key tile, over the query tiles that see it, adding to dQ atomically. Tiles outside the
band are never loaded and the mask is evaluated in partial tiles only. The query heads of a kv head may share a tile.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from ..simulator.config import Config
from ..simulator.problem import Problem
from ..simulator.resources import padded
from ..simulator.variants import Variant
from .bands import LN_2, LOG2_E, band, band_tiles, is_partial, sides, softmax_step, tile_start, visible
from .launch import Launch, Plan, strides
from .operands import attention_inputs, check_operands, contiguous, output_dtype, precision

NAME = "triton-flash"


@triton.jit
def sequence(cu, index, length, VARLEN: tl.constexpr):
    """(first token, tokens) of a sequence: of a ragged batch, or of a rectangular one."""
    if VARLEN:
        begin = tl.load(cu + index).to(tl.int64)
        return begin, (tl.load(cu + index + 1) - begin).to(tl.int32)
    else:
        return tl.zeros([], tl.int64), length


@triton.jit
def forward_tile(
    tile, head, batch, q, k, v, o, lse, cu_q, cu_k, scale_log2, queries, keys, left, right, sinks,
    q_stride_b, q_stride_h, q_stride_n, k_stride_b, k_stride_h, k_stride_n, v_stride_b, v_stride_h, v_stride_n,
    o_stride_b, o_stride_h, o_stride_n, lse_stride_b, lse_stride_h,
    HEAD_DIM: tl.constexpr, V_DIM: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    PACK: tl.constexpr, GROUP: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, SINKS: tl.constexpr,
    VARLEN: tl.constexpr, TMA: tl.constexpr, WARP_SPECIALIZE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One query tile: BM rows, BM // PACK tokens of PACK heads each. `head` counts groups of PACK heads."""
    TOKENS: tl.constexpr = BM // PACK
    q0, n = sequence(cu_q, batch, queries, VARLEN)
    k0, m_keys = sequence(cu_k, batch, keys, VARLEN)
    row_batch = batch.to(tl.int64)
    if VARLEN:
        row_batch = tl.zeros([], tl.int64)
    first = tile * TOKENS
    kv_head = (head * PACK // GROUP).to(tl.int64)
    rows = tl.arange(0, BM)
    token = first + rows // PACK
    row_head = (head * PACK + rows % PACK).to(tl.int64)
    row_in = (rows < TOKENS * PACK) & (token < n)
    depth, width, columns = tl.arange(0, D), tl.arange(0, DV), tl.arange(0, BN)
    q_row = row_batch * q_stride_b + row_head * q_stride_h + (q0 + token) * q_stride_n
    q_tile = tl.load(q + q_row[:, None] + depth[None, :], mask=row_in[:, None] & (depth < HEAD_DIM)[None, :], other=0.0)
    k_base = k + row_batch * k_stride_b + kv_head * k_stride_h + k0 * k_stride_n
    v_base = v + row_batch * v_stride_b + kv_head * v_stride_h + k0 * v_stride_n
    if TMA:
        k_rows = tl.make_tensor_descriptor(k_base, [m_keys, HEAD_DIM], [k_stride_n, 1], [BN, D])
        v_rows = tl.make_tensor_descriptor(v_base, [m_keys, V_DIM], [v_stride_n, 1], [BN, DV])
    position = token + (m_keys - n)
    low, high = first + m_keys - n, tl.minimum(first + TOKENS, n) - 1 + m_keys - n
    count, lead, skipped = band_tiles(low, high, m_keys, left, right, sinks, BN, HAS_LEFT, HAS_RIGHT, SINKS)
    m = tl.full([BM], float("-inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, DV], tl.float32)
    for visit in tl.range(0, tl.where(first < n, count, 0), warp_specialize=WARP_SPECIALIZE):
        start = tile_start(visit, lead, skipped, BN, HAS_LEFT, SINKS)
        key_in = start + columns < m_keys
        if TMA:
            k_tile = k_rows.load([start, 0])
        else:
            k_tile = tl.load(
                k_base + (start + columns).to(tl.int64)[:, None] * k_stride_n + depth[None, :],
                mask=key_in[:, None] & (depth < HEAD_DIM)[None, :], other=0.0,
            )  # fmt: skip
        s = tl.dot(q_tile, k_tile.to(q_tile.dtype).T, input_precision=PRECISION)
        if is_partial(start, low, high, m_keys, left, right, sinks, BN, HAS_LEFT, HAS_RIGHT):
            seen = visible(position[:, None], (start + columns)[None, :], left, right, sinks, HAS_LEFT, HAS_RIGHT)
            s = tl.where(seen & key_in[None, :], s, float("-inf"))
        p, m, rescale = softmax_step(s, m, scale_log2)
        total = total * rescale + tl.sum(p, 1)
        if TMA:
            v_tile = v_rows.load([start, 0])
        else:
            v_tile = tl.load(
                v_base + (start + columns).to(tl.int64)[:, None] * v_stride_n + width[None, :],
                mask=key_in[:, None] & (width < V_DIM)[None, :], other=0.0,
            )  # fmt: skip
        acc = acc * rescale[:, None]
        v_tile = v_tile.to(q_tile.dtype)
        acc = tl.dot(p.to(v_tile.dtype), v_tile, acc, input_precision=PRECISION)
    total = tl.where(total == 0.0, 1.0, total)
    acc = acc / total[:, None]
    o_row = row_batch * o_stride_b + row_head * o_stride_h + (q0 + token) * o_stride_n
    tl.store(
        o + o_row[:, None] + width[None, :], acc.to(o.dtype.element_ty), mask=row_in[:, None] & (width < V_DIM)[None, :]
    )
    if lse is not None:
        row = row_batch * lse_stride_b + row_head * lse_stride_h + q0 + token
        tl.store(lse + row, (m + tl.math.log2(total)) * LN_2, mask=row_in)


@triton.jit
def forward(
    q, k, v, o, lse, cu_q, cu_k, scale_log2, queries, keys, left, right, sinks, tiles, heads, work,
    q_stride_b, q_stride_h, q_stride_n, k_stride_b, k_stride_h, k_stride_n, v_stride_b, v_stride_h, v_stride_n,
    o_stride_b, o_stride_h, o_stride_n, lse_stride_b, lse_stride_h,
    HEAD_DIM: tl.constexpr, V_DIM: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    PACK: tl.constexpr, GROUP: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, SINKS: tl.constexpr,
    VARLEN: tl.constexpr, TMA: tl.constexpr, WARP_SPECIALIZE: tl.constexpr, PERSISTENT: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Query tiles of all heads and sequences: one a block, or every block takes them in turn (PERSISTENT).

    The last tiles of a sequence come first: under a causal mask they are the longest.
    """
    item = tl.program_id(0)
    if PERSISTENT:
        for one in tl.range(item, work, tl.num_programs(0)):
            forward_tile(
                tiles - 1 - one % tiles, one // tiles % heads, one // tiles // heads,
                q, k, v, o, lse, cu_q, cu_k, scale_log2, queries, keys, left, right, sinks,
                q_stride_b, q_stride_h, q_stride_n, k_stride_b, k_stride_h, k_stride_n,
                v_stride_b, v_stride_h, v_stride_n, o_stride_b, o_stride_h, o_stride_n, lse_stride_b, lse_stride_h,
                HEAD_DIM, V_DIM, D, DV, BM, BN, PACK, GROUP, HAS_LEFT, HAS_RIGHT, SINKS,
                VARLEN, TMA, WARP_SPECIALIZE, PRECISION,
            )  # fmt: skip
    else:
        forward_tile(
            tiles - 1 - item % tiles, item // tiles % heads, item // tiles // heads,
            q, k, v, o, lse, cu_q, cu_k, scale_log2, queries, keys, left, right, sinks,
            q_stride_b, q_stride_h, q_stride_n, k_stride_b, k_stride_h, k_stride_n,
            v_stride_b, v_stride_h, v_stride_n, o_stride_b, o_stride_h, o_stride_n, lse_stride_b, lse_stride_h,
            HEAD_DIM, V_DIM, D, DV, BM, BN, PACK, GROUP, HAS_LEFT, HAS_RIGHT, SINKS,
            VARLEN, TMA, WARP_SPECIALIZE, PRECISION,
        )  # fmt: skip


@triton.jit
def row_sums(
    o, do, delta, rows, heads, queries, o_stride_b, o_stride_h, o_stride_n, do_stride_b, do_stride_h, do_stride_n,
    V_DIM: tl.constexpr, DV: tl.constexpr, BM: tl.constexpr,
):  # fmt: skip
    """delta [B, H, N] = sum over columns of O * dO (2307.08691, algorithm 2, line 4)."""
    row = tl.program_id(0).to(tl.int64) * BM + tl.arange(0, BM)
    token, head, batch = row % queries, row // queries % heads, row // queries // heads
    width = tl.arange(0, DV)
    inside = (row < rows)[:, None] & (width < V_DIM)[None, :]
    o_row = batch * o_stride_b + head * o_stride_h + token * o_stride_n
    do_row = batch * do_stride_b + head * do_stride_h + token * do_stride_n
    o_tile = tl.load(o + o_row[:, None] + width[None, :], mask=inside, other=0.0).to(tl.float32)
    do_tile = tl.load(do + do_row[:, None] + width[None, :], mask=inside, other=0.0).to(tl.float32)
    tl.store(delta + row, tl.sum(o_tile * do_tile, 1), mask=row < rows)


@triton.jit
def transposed_probabilities(k_tile, q_tile, lse_row, scale_log2, PRECISION: tl.constexpr):
    """p [keys, queries] of a tile, from the scores computed again and their log-sum-exp.

    A query without keys has lse = inf here, so that its p is 0.
    """
    s = tl.dot(k_tile, q_tile.T, input_precision=PRECISION)
    return tl.math.exp2(s * scale_log2 - (lse_row * 1.4426950408889634)[None, :])


@triton.jit
def gradient_step(
    p, k_tile, v_tile, q_tile, do_tile, delta_row, dk_acc, dv_acc, scale, PRECISION: tl.constexpr,
):  # fmt: skip
    """dK and dV of a key tile with what one query tile adds, and its dQ. p lies transposed, as dV and dK take it."""
    dv_acc = tl.dot(p.to(do_tile.dtype), do_tile, dv_acc, input_precision=PRECISION)
    dp = tl.dot(v_tile, do_tile.T, input_precision=PRECISION)
    ds = (p * (dp - delta_row[None, :])).to(q_tile.dtype)
    dk_acc = tl.dot(ds, q_tile, dk_acc, input_precision=PRECISION)
    dq = tl.dot(ds.T, k_tile, input_precision=PRECISION) * scale
    return dk_acc, dv_acc, dq


@triton.jit
def backward(
    q, k, v, do, lse, delta, dq, dk, dv, cu_q, cu_k, scale, scale_log2, queries, keys, left, right, sinks, tiles,
    kv_heads, q_stride_b, q_stride_h, q_stride_n, k_stride_b, k_stride_h, k_stride_n, v_stride_b, v_stride_h,
    v_stride_n, do_stride_b, do_stride_h, do_stride_n, dq_stride_b, dq_stride_h, dq_stride_n, dk_stride_b,
    dk_stride_h, dk_stride_n, dv_stride_b, dv_stride_h, dv_stride_n, lse_stride_b, lse_stride_h,
    HEAD_DIM: tl.constexpr, V_DIM: tl.constexpr, D: tl.constexpr, DV: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    GROUP: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr, SINKS: tl.constexpr, VARLEN: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """One key tile of one kv head: dK and dV over the query tiles of all its query heads, dQ added to atomically."""
    item = tl.program_id(0)
    tile, kv_head, batch = item % tiles, item // tiles % kv_heads, item // tiles // kv_heads
    q0, n = sequence(cu_q, batch, queries, VARLEN)
    k0, m_keys = sequence(cu_k, batch, keys, VARLEN)
    row_batch = batch.to(tl.int64)
    if VARLEN:
        row_batch = tl.zeros([], tl.int64)
    start = tile * BN
    key = start + tl.arange(0, BN)
    key_in = key < m_keys
    depth, width = tl.arange(0, D), tl.arange(0, DV)
    k_in = key_in[:, None] & (depth < HEAD_DIM)[None, :]
    v_in = key_in[:, None] & (width < V_DIM)[None, :]
    k_row = row_batch * k_stride_b + kv_head.to(tl.int64) * k_stride_h + (k0 + key) * k_stride_n
    v_row = row_batch * v_stride_b + kv_head.to(tl.int64) * v_stride_h + (k0 + key) * v_stride_n
    k_tile = tl.load(k + k_row[:, None] + depth[None, :], mask=k_in, other=0.0)
    v_tile = tl.load(v + v_row[:, None] + width[None, :], mask=v_in, other=0.0)
    # Queries that see some key of the tile: from low to high, in tokens.
    low, high = 0, n
    if HAS_RIGHT:
        low = tl.maximum(start - (m_keys - n) - right, 0)
    if HAS_LEFT:
        high = tl.minimum(tl.minimum(start + BN, m_keys) - (m_keys - n) + left, n)
        if SINKS:
            high = tl.where(start < sinks, n, high)
    first_tile = low // BM
    count = tl.where((low < high) & (start < m_keys), tl.cdiv(high, BM) - first_tile, 0)
    dk_acc = tl.zeros([BN, D], tl.float32)
    dv_acc = tl.zeros([BN, DV], tl.float32)
    for visit in tl.range(0, count * GROUP):
        first = (first_tile + visit % count) * BM
        head = (kv_head * GROUP + visit // count).to(tl.int64)
        token = first + tl.arange(0, BM)
        row_in = token < n
        q_in = row_in[:, None] & (depth < HEAD_DIM)[None, :]
        q_row = row_batch * q_stride_b + head * q_stride_h + (q0 + token) * q_stride_n
        do_row = row_batch * do_stride_b + head * do_stride_h + (q0 + token) * do_stride_n
        row = row_batch * lse_stride_b + head * lse_stride_h + q0 + token
        q_tile = tl.load(q + q_row[:, None] + depth[None, :], mask=q_in, other=0.0)
        do_tile = tl.load(
            do + do_row[:, None] + width[None, :], mask=row_in[:, None] & (width < V_DIM)[None, :], other=0.0
        )
        lse_row = tl.load(lse + row, mask=row_in, other=float("inf"))
        lse_row = tl.where(lse_row == float("-inf"), float("inf"), lse_row)
        delta_row = tl.load(delta + row, mask=row_in, other=0.0)
        position = token + (m_keys - n)
        before = first + m_keys - n
        masked = is_partial(start, before, before + BM - 1, m_keys, left, right, sinks, BN, HAS_LEFT, HAS_RIGHT)
        p = transposed_probabilities(k_tile, q_tile, lse_row, scale_log2, PRECISION)
        if masked:
            seen = visible(position[None, :], key[:, None], left, right, sinks, HAS_LEFT, HAS_RIGHT)
            p = tl.where(seen & key_in[:, None], p, 0.0)
        dk_acc, dv_acc, dq_tile = gradient_step(
            p, k_tile, v_tile, q_tile, do_tile, delta_row, dk_acc, dv_acc, scale, PRECISION
        )
        dq_row = row_batch * dq_stride_b + head * dq_stride_h + (q0 + token) * dq_stride_n
        tl.atomic_add(dq + dq_row[:, None] + depth[None, :], dq_tile, mask=q_in, sem="relaxed")
    dk_row = row_batch * dk_stride_b + kv_head.to(tl.int64) * dk_stride_h + (k0 + key) * dk_stride_n
    dv_row = row_batch * dv_stride_b + kv_head.to(tl.int64) * dv_stride_h + (k0 + key) * dv_stride_n
    tl.store(dk + dk_row[:, None] + depth[None, :], (dk_acc * scale).to(dk.dtype.element_ty), mask=k_in)
    tl.store(dv + dv_row[:, None] + width[None, :], dv_acc.to(dv.dtype.element_ty), mask=v_in)


def inputs(variant: Variant, problem: Problem, device: str = "cpu", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random q, k, v (and do; cu for a ragged batch) of a problem: see `operands.attention_inputs`."""
    return attention_inputs(variant, problem, device, seed)


def plan(
    variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor], config: Config, *,
    scale: float | None = None, lse: bool = False, units: int = 1,
) -> Plan:  # fmt: skip
    """o [B, H, N, dv] and, if asked for, the natural log-sum-exp of the scaled scores lse [B, H, N] (fp32).

    scale: of the scores, 1 / sqrt(head_dim) by default, not negative. units: compute units of the device, for
    persistent configs.
    """
    q, k, v = contiguous(tensors["q"], tensors["k"], tensors["v"])
    check_operands(q, k, v)
    mask = band(variant.graph(problem).main)
    b, h, n, d = q.shape
    g, m, dv = k.shape[1], k.shape[2], v.shape[3]
    cu = tensors.get("cu")
    sequences = b if cu is None else len(cu) - 1
    longest = n if problem.documents is None else max(problem.documents)
    o = torch.empty(b, h, n, dv, dtype=output_dtype(problem.dtype), device=q.device)
    sums = torch.empty(b, h, n, dtype=torch.float32, device=q.device) if lse else None
    pack = config.packed_heads
    tiles = triton.cdiv(longest, math.prod(config.query) // pack)
    work = tiles * (h // pack) * sequences
    runtime, constants = sides(mask)
    arguments = {
        "q": q, "k": k, "v": v, "o": o, "lse": sums, "cu_q": cu, "cu_k": cu, "queries": n, "keys": m, **runtime,
        "scale_log2": (d**-0.5 if scale is None else scale) * LOG2_E, "tiles": tiles, "heads": h // pack, "work": work,
        **strides("q", q), **strides("k", k), **strides("v", v), **strides("o", o),
        "lse_stride_b": h * n, "lse_stride_h": n,
    }  # fmt: skip
    constants |= {
        "HEAD_DIM": d, "V_DIM": dv, "D": padded(d), "DV": padded(dv), "BM": math.prod(config.query),
        "BN": math.prod(config.key), "PACK": pack, "GROUP": h // g, "VARLEN": cu is not None, "TMA": config.tma,
        "WARP_SPECIALIZE": config.warp_specialize, "PERSISTENT": config.persistent,
        "PRECISION": precision(problem.dtype),
    }  # fmt: skip
    grid = (min(work, units) if config.persistent else work,)
    launch = Launch(forward, grid, arguments, constants, config.warps, config.stages, main=True)
    outputs = {"o": o} if sums is None else {"o": o, "lse": sums}
    return Plan(outputs, [launch])


def plan_backward(
    variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor], config: Config, *,
    scale: float | None = None,
) -> Plan:  # fmt: skip
    """dq [B, H, N, d], dk [B, G, M, d], dv [B, G, M, dv] from q, k, v, do, and the forward's o and lse."""
    q, k, v, do, o = contiguous(*(tensors[name] for name in ("q", "k", "v", "do", "o")))
    mask = band(variant.graph(problem).main)
    b, h, n, d = q.shape
    g, m, dv = k.shape[1], k.shape[2], v.shape[3]
    cu = tensors.get("cu")
    sequences = b if cu is None else len(cu) - 1
    longest = m if problem.documents is None else max(problem.documents)
    tiles = triton.cdiv(longest, math.prod(config.key))
    gradients = {
        "dq": torch.zeros(b, h, n, d, dtype=torch.float32, device=q.device),
        "dk": torch.empty(b, g, m, d, dtype=k.dtype, device=q.device),
        "dv": torch.empty(b, g, m, dv, dtype=v.dtype, device=q.device),
    }
    runtime, constants = sides(mask)
    scale = d**-0.5 if scale is None else scale
    delta, sums = row_sums_launch(o, do)
    arguments = {
        "q": q, "k": k, "v": v, "do": do, "lse": tensors["lse"], "delta": delta, **gradients, "cu_q": cu, "cu_k": cu,
        "scale": scale, "scale_log2": scale * LOG2_E, "queries": n, "keys": m, **runtime, "tiles": tiles, "kv_heads": g,
        "lse_stride_b": h * n, "lse_stride_h": n,
    }  # fmt: skip
    for name, tensor in (("q", q), ("k", k), ("v", v), ("do", do), *gradients.items()):
        arguments |= strides(name, tensor)
    constants |= {
        "HEAD_DIM": d, "V_DIM": dv, "D": padded(d), "DV": padded(dv), "BM": math.prod(config.query),
        "BN": math.prod(config.key), "GROUP": h // g, "VARLEN": cu is not None, "PRECISION": precision(problem.dtype),
    }  # fmt: skip
    main = Launch(backward, (tiles * g * sequences,), arguments, constants, config.warps, config.stages, main=True)
    outputs = dict(gradients)

    def finish() -> None:
        outputs["dq"] = gradients["dq"].to(q.dtype)

    return Plan(outputs, [sums, main], finish)


def row_sums_launch(o: torch.Tensor, do: torch.Tensor) -> tuple[torch.Tensor, Launch]:
    """delta [B, H, N] (fp32) of o and do [B, H, N, dv], and the launch that fills it."""
    b, h, n, dv = o.shape
    delta = torch.empty(b, h, n, dtype=torch.float32, device=o.device)
    rows, width = b * h * n, padded(dv)
    block = max(1, 4096 // width)
    arguments = {"o": o, "do": do, "delta": delta, "rows": rows, "heads": h, "queries": n, **strides("o", o),
                 **strides("do", do)}  # fmt: skip
    return delta, Launch(row_sums, (triton.cdiv(rows, block),), arguments, {"V_DIM": dv, "DV": width, "BM": block})
