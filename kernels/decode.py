"""Decode attention: a few query tokens against a long KV cache, its keys split over the chip, then combined.

Flash-decoding (Dao, Haziza, Massa and Sizov, 2023) and its packing of the query heads of one kv head into the rows of a
tile. Every block runs the loop of flash attention (2307.08691, algorithm 1) over its share of the key tiles that the
band touches; with one split it writes the output, else a partial result that `combine` merges by the weights
exp(lse_s - lse). The cache is contiguous or paged (PagedAttention, 2309.06180). With absorbed latent attention (MLA,
2405.04434, section 2.1) the values are the first columns of the keys: a key tile is loaded once, for both products.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl

from ..simulator.config import Config
from ..simulator.errors import InputError
from ..simulator.implementations.triton_decode import smallest_side, split_depth
from ..simulator.problem import DTYPE_BITS, Problem
from ..simulator.resources import padded
from ..simulator.variants import Variant
from .bands import LN_2, LOG2_E, band, band_tiles, is_partial, sides, softmax_step, tile_start, visible
from .launch import Launch, Plan, strides
from .operands import NAMES, attention_inputs, check_operands, contiguous, output_dtype, precision

NAME = "triton-decode"


@triton.jit
def cache_rows(table, table_stride, start, columns, inside, batch, BN: tl.constexpr, PAGE: tl.constexpr):
    """(page, slot in it) of the keys start .. start + BN - 1 (int64): without pages, of a sequence's only page."""
    if PAGE == 0:
        return batch, (start + columns).to(tl.int64)
    elif PAGE % BN == 0:  # the tile lies in one page
        return tl.load(table + batch * table_stride + start // PAGE).to(tl.int64), (start % PAGE + columns).to(tl.int64)
    else:
        key = start + columns
        page = tl.load(table + batch * table_stride + key // PAGE, mask=inside, other=0)
        return page.to(tl.int64), (key % PAGE).to(tl.int64)


@triton.jit
def rows_of(base, row, inside, COLUMNS: tl.constexpr, WIDTH: tl.constexpr):
    """Rows of WIDTH columns, the first COLUMNS of which exist; 0 elsewhere."""
    column = tl.arange(0, WIDTH)
    keep = inside[:, None]
    if COLUMNS < WIDTH:
        keep = keep & (column < COLUMNS)[None, :]
    return tl.load(base + row[:, None] + column[None, :], mask=keep, other=0.0)


@triton.jit
def attend(
    q, k, v, o, lse, lengths, table, scale_log2, queries, keys, left, right, sinks, blocks, tiles, packs, splits,
    q_stride_b, q_stride_h, q_stride_n, k_stride_b, k_stride_h, k_stride_n, v_stride_b, v_stride_h, v_stride_n,
    o_stride_s, o_stride_b, o_stride_h, o_stride_n, lse_stride_s, lse_stride_b, lse_stride_h, table_stride,
    HEAD_DIM: tl.constexpr, V_DIM: tl.constexpr, D: tl.constexpr, REST: tl.constexpr, DV: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, PACK: tl.constexpr, GROUP: tl.constexpr, PAGE: tl.constexpr,
    SHARED: tl.constexpr, SPLIT: tl.constexpr, WIDEN: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr,
    SINKS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """One query tile and one split of its keys: BM // PACK tokens of PACK heads each, or one token of BM heads.

    Blocks that read the same keys are neighbours. The depth is held as D + REST columns, both powers of two. SPLIT: o
    and lse (to the base 2) are partial results in fp32.
    """
    HEADS: tl.constexpr = PACK if PACK < BM else BM
    TOKENS: tl.constexpr = BM // HEADS
    FIRST: tl.constexpr = HEAD_DIM if REST == 0 else (V_DIM if SHARED else D)
    item = tl.program_id(0)
    block, item = item % blocks, item // blocks
    tile, item = item % tiles, item // tiles
    split, item = item % splits, item // splits
    pack, batch = item % packs, (item // packs).to(tl.int64)
    m_keys = keys
    if lengths is not None:
        m_keys = tl.minimum(tl.load(lengths + batch), keys)
    first = tile * TOKENS
    kv_head = (pack * PACK // GROUP).to(tl.int64)
    k += kv_head * k_stride_h
    v += kv_head * v_stride_h
    rows = tl.arange(0, BM)
    token = first + rows // HEADS
    member = block * HEADS + rows % HEADS
    row_in = (rows < TOKENS * HEADS) & (token < queries) & (member < PACK)
    row_head = (pack * PACK + member).to(tl.int64)
    columns = tl.arange(0, BN)
    q_row = batch * q_stride_b + row_head * q_stride_h + token * q_stride_n
    q_tile = rows_of(q, q_row, row_in, FIRST, D)
    if WIDEN:
        q_tile = q_tile.to(k.dtype.element_ty)
    if REST > 0:
        q_rest = rows_of(q + FIRST, q_row, row_in, HEAD_DIM - FIRST, REST).to(q_tile.dtype)
    position = token + (m_keys - queries)
    low, high = first + m_keys - queries, tl.minimum(first + TOKENS, queries) - 1 + m_keys - queries
    count, lead, skipped = band_tiles(low, high, m_keys, left, right, sinks, BN, HAS_LEFT, HAS_RIGHT, SINKS)
    count = tl.maximum(count, 0)
    begin, end = count * split // splits, count * (split + 1) // splits
    m = tl.full([BM], float("-inf"), tl.float32)
    total = tl.zeros([BM], tl.float32)
    acc = tl.zeros([BM, DV], tl.float32)
    for visit in tl.range(begin, end):
        start = tile_start(visit, lead, skipped, BN, HAS_LEFT, SINKS)
        key_in = start + columns < m_keys
        page, slot = cache_rows(table, table_stride, start, columns, key_in, batch, BN, PAGE)
        k_row = page * k_stride_b + slot * k_stride_n
        k_tile = rows_of(k, k_row, key_in, FIRST, D).to(q_tile.dtype)
        s = tl.dot(q_tile, k_tile.T, input_precision=PRECISION)
        if REST > 0:
            k_rest = rows_of(k + FIRST, k_row, key_in, HEAD_DIM - FIRST, REST).to(q_tile.dtype)
            s = tl.dot(q_rest, k_rest.T, s, input_precision=PRECISION)
        if is_partial(start, low, high, m_keys, left, right, sinks, BN, HAS_LEFT, HAS_RIGHT):
            seen = visible(position[:, None], (start + columns)[None, :], left, right, sinks, HAS_LEFT, HAS_RIGHT)
            s = tl.where(seen & key_in[None, :], s, float("-inf"))
        p, m, rescale = softmax_step(s, m, scale_log2)
        total = total * rescale + tl.sum(p, 1)
        acc = acc * rescale[:, None]
        if SHARED:
            v_tile = k_tile
        else:
            v_row = page * v_stride_b + slot * v_stride_n
            v_tile = rows_of(v, v_row, key_in, V_DIM, DV).to(q_tile.dtype)
        acc = tl.dot(p.to(v_tile.dtype), v_tile, acc, input_precision=PRECISION)
    total = tl.where(total == 0.0, 1.0, total)
    acc = acc / total[:, None]
    width = tl.arange(0, DV)
    o_row = split.to(tl.int64) * o_stride_s + batch * o_stride_b + row_head * o_stride_h + token * o_stride_n
    out = row_in[:, None] & (width < V_DIM)[None, :]
    tl.store(o + o_row[:, None] + width[None, :], acc.to(o.dtype.element_ty), mask=out)
    if lse is not None:
        found = m + tl.math.log2(total)
        if not SPLIT:
            found = found * LN_2
        row = split.to(tl.int64) * lse_stride_s + batch * lse_stride_b + row_head * lse_stride_h + token
        tl.store(lse + row, found, mask=row_in)


@triton.jit
def combine(
    part, part_lse, o, lse, rows, splits, V_DIM: tl.constexpr, DV: tl.constexpr, AT_ONCE: tl.constexpr,
):  # fmt: skip
    """One row of o [rows, dv] from the partial results part [splits, rows, dv], part_lse [splits, rows] (base 2)."""
    row = tl.program_id(0).to(tl.int64)
    width, some = tl.arange(0, DV), tl.arange(0, AT_ONCE)
    m = tl.full([], float("-inf"), tl.float32)
    total = tl.zeros([], tl.float32)
    acc = tl.zeros([DV], tl.float32)
    for start in range(0, splits, AT_ONCE):
        split = start + some
        inside = split < splits
        at = split.to(tl.int64) * rows + row
        found = tl.load(part_lse + at, mask=inside, other=float("-inf"))
        values = rows_of(part, at * V_DIM, inside, V_DIM, DV)
        new = tl.maximum(m, tl.max(found, 0))
        shift = tl.where(new == float("-inf"), 0.0, new)
        weight, rescale = tl.math.exp2(found - shift), tl.math.exp2(m - shift)
        total = total * rescale + tl.sum(weight, 0)
        acc = acc * rescale + tl.sum(weight[:, None] * values, 0)
        m = new
    total = tl.where(total == 0.0, 1.0, total)
    tl.store(o + row * V_DIM + width, (acc / total).to(o.dtype.element_ty), mask=width < V_DIM)
    if lse is not None:
        tl.store(lse + row, (m + tl.math.log2(total)) * LN_2)


def inputs(variant: Variant, problem: Problem, device: str = "cpu", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random q [B, H, N, d] and a cache: k [B, G, M, d], v [B, G, M, dv]; with latent keys no v.

    With problem.page_size, k and v are pages [B * pages, page_size, G, d] in shuffled order, of which block_table
    [B, pages] (int32) tells each sequence its own.
    """
    tensors = attention_inputs(variant, problem, device, seed)
    if variant.graph(problem).main.shared_kv:
        del tensors["v"]
    if problem.page_size is None:
        return tensors
    size, b, m = problem.page_size, tensors["k"].shape[0], tensors["k"].shape[2]
    pages = triton.cdiv(m, size)
    generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)
    order = torch.randperm(b * pages, generator=generator, device=device)
    for name in tensors.keys() & {"k", "v"}:
        cache = tensors[name].transpose(1, 2)  # [B, M, G, d]
        # What lies past the end of a sequence is never to be read: it is not a number.
        paged = cache.new_empty(b * pages, size, *cache.shape[2:])
        if device != "meta":
            paged.copy_(torch.full_like(paged, float("nan"), dtype=torch.float32))
            for sequence, whole in enumerate(cache):
                for page, tokens in enumerate(whole.split(size)):
                    paged[order[sequence * pages + page], : len(tokens)] = tokens
        tensors[name] = paged
    return tensors | {"block_table": order.reshape(b, pages).to(torch.int32)}


def check(tensors: dict[str, torch.Tensor], shared: bool, page_size: int | None, width: int) -> None:
    """Raises InputError where the operands do not fit together: see `inputs` for their shapes."""
    q, k = tensors["q"], tensors["k"]
    v = k[..., :width] if shared else tensors["v"]
    table, lengths = tensors.get("block_table"), tensors.get("lengths")
    if (table is None) != (page_size is None):
        raise InputError("a paged cache needs both block_table and page_size")
    if table is not None:
        if k.dim() == 4 and k.shape[1] != page_size:
            raise InputError(f"k has pages of {k.shape[1]} tokens; page_size is {page_size}")
        if table.dim() != 2 or table.shape[0] != q.shape[0] or table.dtype != torch.int32:
            raise InputError(f"block_table is {list(table.shape)} of {table.dtype}; it must be [batch, pages] of int32")
        k, v = (t.transpose(1, 2)[:1].expand(q.shape[0], *t.transpose(1, 2).shape[1:]) for t in (k, v))
    check_operands(q, k, v)
    if lengths is not None and (lengths.shape != q.shape[:1] or lengths.dtype != torch.int32):
        raise InputError(f"lengths is {list(lengths.shape)} of {lengths.dtype}; it must be [batch] of int32")


def default_scale(variant: Any, problem: Problem) -> float:
    """1 / sqrt(head_dim); absorbed latent queries keep that of the heads they were absorbed from."""
    part = variant.graph(problem).main
    return float((variant.nope_dim + variant.rope_dim if part.shared_kv else part.depth) ** -0.5)


def plan(
    variant: Variant, problem: Problem, tensors: dict[str, torch.Tensor], config: Config, *,
    scale: float | None = None, lse: bool = False,
) -> Plan:  # fmt: skip
    """o [B, H, N, dv] and, if asked for, the natural log-sum-exp of the scaled scores lse [B, H, N] (fp32).

    tensors: see `inputs`; also lengths [B] (int32), the keys each sequence has (all that the cache holds by default;
    for pages, problem.kv_len). Queries stand at the end of their keys. scale: of the scores, see `default_scale`.
    """
    part: Any = variant.graph(problem).main
    shared, width = bool(part.shared_kv), int(part.width)
    check(tensors, shared, problem.page_size, width)
    q, k = contiguous(tensors["q"], tensors["k"])
    (v,) = (k,) if shared else contiguous(tensors["v"])
    b, h, n, d = q.shape
    dv = width if shared else v.shape[3]
    o = torch.empty(b, h, n, dv, dtype=output_dtype(problem.dtype), device=q.device)
    sums = torch.empty(b, h, n, dtype=torch.float32, device=q.device) if lse else None
    outputs = {"o": o} if sums is None else {"o": o, "lse": sums}
    runtime, constants = sides(band(part))
    bm, pack = math.prod(config.query), config.packed_heads
    heads = min(pack, bm)
    grid = {"blocks": triton.cdiv(pack, heads), "tiles": triton.cdiv(n, bm // heads), "packs": h // pack,
            "splits": config.splits}  # fmt: skip
    arguments = {
        "q": q, "k": k, "v": v, "lengths": tensors.get("lengths"), **runtime, **grid, "queries": n,
        **cache_arguments(problem, tensors, k, v), **strides("q", q),
        "scale_log2": (default_scale(variant, problem) if scale is None else scale) * LOG2_E,
    }  # fmt: skip
    first, rest = split_depth(d, dv if shared else None, smallest_side(problem.matrix_dtype))
    constants |= {
        "HEAD_DIM": d, "V_DIM": dv, "D": first, "REST": rest, "DV": padded(dv), "BM": bm,
        "BN": math.prod(config.key), "PACK": pack, "GROUP": h // problem_kv_heads(problem, k), "SHARED": shared,
        "PAGE": problem.page_size or 0, "SPLIT": config.splits > 1,
        "WIDEN": DTYPE_BITS[NAMES[q.dtype]] < DTYPE_BITS[NAMES[k.dtype]], "PRECISION": precision(problem.dtype),
    }  # fmt: skip
    launches = []
    target, target_lse = o, sums
    if config.splits > 1:
        target = torch.empty(config.splits, b, h, n, dv, dtype=torch.float32, device=q.device)
        target_lse = torch.empty(config.splits, b, h, n, dtype=torch.float32, device=q.device)
        launches.append(combine_launch(target, target_lse, o, sums))
    arguments |= {
        "o": target, "lse": target_lse, **strides("o", o), "o_stride_s": b * h * n * dv, "lse_stride_s": b * h * n,
        "lse_stride_b": h * n, "lse_stride_h": n,
    }  # fmt: skip
    work = math.prod(grid.values()) * b
    # An entry of the page table, on which K and V wait, takes a stage of its own before each of theirs.
    stages = config.stages if problem.page_size is None else 2 * config.stages - 1
    main = Launch(attend, (work,), arguments, constants, config.warps, stages, main=True)
    return Plan(outputs, [main, *launches])


def problem_kv_heads(problem: Problem, k: torch.Tensor) -> int:
    """kv heads of a cache: [B, G, M, d], or pages [P, page_size, G, d]."""
    return k.shape[1] if problem.page_size is None else k.shape[2]


def cache_arguments(
    problem: Problem, tensors: dict[str, torch.Tensor], k: torch.Tensor, v: torch.Tensor
) -> dict[str, Any]:
    """Where keys and values lie; a page takes the place of a sequence of a contiguous cache."""
    table = tensors.get("block_table")
    if table is None:
        return {**strides("k", k), **strides("v", v), "keys": k.shape[2], "table": None, "table_stride": 0}
    capacity = table.shape[1] * k.shape[1]
    keys = capacity if "lengths" in tensors else min(int(problem.kv_len), capacity)
    return {
        **strides("k", k.transpose(1, 2)), **strides("v", v.transpose(1, 2)), "keys": keys,
        "table": table.contiguous(), "table_stride": table.shape[1],
    }  # fmt: skip


def combine_launch(part: torch.Tensor, part_lse: torch.Tensor, o: torch.Tensor, lse: torch.Tensor | None) -> Launch:
    """The second pass: o [B, H, N, dv] from part [splits, B, H, N, dv] and part_lse [splits, B, H, N]."""
    splits, width = part.shape[0], padded(o.shape[3])
    rows = math.prod(o.shape[:3])
    arguments = {"part": part, "part_lse": part_lse, "o": o, "lse": lse, "rows": rows, "splits": splits}
    constants = {"V_DIM": o.shape[3], "DV": width, "AT_ONCE": combined_at_once(width)}
    return Launch(combine, (rows,), arguments, constants, warps=4, stages=1)


def combined_at_once(width: int) -> int:
    """Partial rows of `width` columns that are in flight together: 16 KiB of them."""
    return max(1, 4096 // width)
