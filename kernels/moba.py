"""Mixture of block attention (2502.13189): every query attends to its own block and to the past ones it scores highest.

As the paper's efficient form has it (section 2.3): for each block the queries that chose it are gathered into full
tiles, a query's own block is a small causal problem, and the parts are merged by their log-sum-exp. Both kinds of tiles
run in one launch of the block-sparse kernel, over the tokens of all heads and sequences laid end to end.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ..simulator.config import Config
from ..simulator.errors import InputError
from ..simulator.problem import Problem
from . import block_sparse
from .launch import Plan
from .lists import FULL, INSIDE, Lists, causal_patterns, pack_extents
from .operands import attention_inputs, check_operands, output_dtype

NAME = "triton-block-sparse"
VARIANTS = ("moba",)


def inputs(variant: Any, problem: Problem, device: str = "cpu", seed: int = 0) -> dict[str, torch.Tensor]:
    """Random q, k, v of a problem: see `operands.attention_inputs`."""
    return attention_inputs(variant, problem, device, seed)


def choose(q: torch.Tensor, k: torch.Tensor, block: int, top: int) -> torch.Tensor:
    """Past blocks that every query chooses, [B, H, N, top - 1], -1 for none: the highest q . mean(k) (equation 6)."""
    b, h, n, _ = q.shape
    m, g = k.shape[2], k.shape[1]
    blocks = -(-m // block)
    sums = torch.nn.functional.pad(k.float(), (0, 0, 0, blocks * block - m)).reshape(b, g, blocks, block, -1).sum(3)
    sizes = torch.full((blocks,), block, device=k.device).float()
    sizes[-1] = m - (blocks - 1) * block
    means = (sums / sizes[:, None]).repeat_interleave(h // g, 1)
    own = (torch.arange(n, device=q.device) + m - n) // block
    scores = q.float() @ means.transpose(-1, -2)
    scores = scores.masked_fill(torch.arange(blocks, device=q.device) >= own[:, None], float("-inf"))
    found = scores.topk(min(top - 1, blocks), dim=-1)
    return torch.where(torch.isfinite(found.values), found.indices, -1)


def _ranges(count: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(owner, position): for every k the positions 0 .. count[k] - 1."""
    owner = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    return owner, torch.arange(len(owner), device=count.device) - (count.cumsum(0) - count)[owner]


def _gathered(
    chosen: torch.Tensor, blocks: int, bm: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """(token of every filled slot, the slot, segment of every tile, used rows of every tile) of the gathered tiles.

    A segment is a block of one head; tokens are numbered over all heads and sequences.
    """
    b, h, n, _ = chosen.shape
    head = torch.arange(b * h, device=chosen.device)[:, None, None]
    flat = chosen.reshape(b * h, n, -1)
    token = (head * n + torch.arange(n, device=chosen.device)[None, :, None]).expand_as(flat)[flat >= 0]
    segment, order = (head * blocks + flat)[flat >= 0].sort(stable=True)
    counts = torch.bincount(segment, minlength=b * h * blocks)
    tiles = -(-counts // bm)
    owner, position = _ranges(tiles)
    used = (counts[owner] - position * bm).clamp(max=bm)
    first_tile, first_token = tiles.cumsum(0) - tiles, counts.cumsum(0) - counts
    slot = first_tile[segment] * bm + torch.arange(len(segment), device=chosen.device) - first_token[segment]
    return token[order], slot, owner, used


def plan(
    variant: Any, problem: Problem, tensors: dict[str, torch.Tensor], config: Config, *, scale: float | None = None
) -> Plan:
    """o [B, H, N, dv]. The choice has no gradient and this form none either."""
    q, k, v = tensors["q"], tensors["k"], tensors["v"]
    check_operands(q, k, v)
    if q.device.type == "meta":
        raise InputError("moba's tiles follow from the numbers in q and k: it is compiled as block-mask")
    b, h, n, d = q.shape
    m, bm, bn, block = k.shape[2], math.prod(config.query), math.prod(config.key), variant.block
    if n > m or block % bm or block % bn:
        raise InputError(f"tiles of {bm}x{bn} must divide the block of {block}, and {n} queries end with {m} keys")
    chosen = choose(q, k, block, variant.top)
    made, index = _layout(chosen, (b, h, k.shape[1], n, m), block, bm, bn)
    flat_k, flat_v = (t.reshape(1, 1, -1, t.shape[-1]) for t in (k, v))
    gathered = q.reshape(-1, d)[made[1]][None, None]
    parts = block_sparse.plan(
        variant, problem, {"q": gathered, "k": flat_k, "v": flat_v}, config, scale=scale, lse=True, lists=made[0],
        partial=True,
    )  # fmt: skip
    outputs = {"o": torch.empty(b, h, n, v.shape[3], dtype=output_dtype(problem.dtype), device=q.device)}

    def merge() -> None:
        """Weights exp(lse - lse of all) of a query's parts; index -1: no such part."""
        lse = parts.outputs["lse"].flatten()[index.clamp(min=0)].masked_fill(index < 0, float("-inf"))
        part = parts.outputs["o"].reshape(-1, v.shape[3])[index.clamp(min=0)].masked_fill((index < 0)[..., None], 0.0)
        outputs["o"].copy_((torch.softmax(lse, -1)[..., None] * part).sum(1).reshape(outputs["o"].shape))

    return Plan(outputs, parts.launches, merge)


def _layout(
    chosen: torch.Tensor, sizes: tuple[int, int, int, int, int], block: int, bm: int, bn: int
) -> tuple[tuple[Lists, torch.Tensor], torch.Tensor]:
    """((lists, token of every slot), slots [B H N, top] of a token's parts, -1 for none)."""
    b, h, g, n, m = sizes
    device, blocks = chosen.device, -(-m // block)
    token, slot, segment, used = _gathered(chosen, blocks, bm)
    # A head's own tiles: its queries cut at block borders.
    edges = torch.unique(torch.cat([torch.arange(0, m + 1, block), torch.tensor([m - n, m])]))
    edges = edges[edges >= m - n]
    piece, at = _ranges(-(-edges.diff() // bm))
    begin = (edges[piece] + at * bm).to(device)
    own_used = torch.minimum(edges[piece + 1].to(device) - begin, torch.tensor(bm, device=device))
    heads = torch.arange(b * h, device=device).repeat_interleave(len(begin))
    begin, own_used = begin.repeat(b * h), own_used.repeat(b * h)
    tile, row = _ranges(own_used)
    own_token, own_slot = (heads * n + begin - (m - n))[tile] + row, (len(used) + tile) * bm + row
    slots = torch.zeros((len(used) + len(own_used)) * bm, dtype=torch.long, device=device)
    slots[slot], slots[own_slot] = token, own_token
    # Key tiles: whole past blocks, and the own block up to the last query.
    tile_head, tile_block = torch.cat([segment // blocks, heads]), torch.cat([segment % blocks, begin // block])
    last = torch.cat([(segment % blocks + 1) * block, begin + own_used]).clamp(max=m)
    owner, j = _ranges(-(-(last - tile_block * block) // bn))
    key = tile_block[owner] * block + j * bn
    inside = (m - key).clamp(max=bn)
    ahead = torch.cat([torch.full_like(segment, m), begin])[owner] - key
    pattern = torch.where(inside < bn, INSIDE, FULL)
    pattern = torch.where(ahead < bn - 1, (ahead + bm - 1).clamp(0, bm + bn - 2), pattern)
    base = (tile_head // h * g + tile_head % h // (h // g))[owner] * m
    one = torch.ones_like(inside)
    entries = torch.stack([base + key, pack_extents(torch.stack([one, one, inside], -1)), pattern], 1)
    counts = torch.bincount(owner, minlength=len(slots) // bm)
    start = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)
    rows_used = torch.cat([used, own_used])
    ones = torch.ones_like(rows_used)
    rows = torch.stack([torch.arange(len(rows_used), device=device) * bm,
                        pack_extents(torch.stack([ones, ones, rows_used], -1))], 1)  # fmt: skip
    nothing = torch.zeros(0, dtype=torch.int32, device=device)
    lists = Lists(
        (1, 1, bm), (1, 1, bn), (1, 1, 1), (1, 1, 1), rows.to(torch.int32), start[None, None],
        entries.to(torch.int32), causal_patterns(bm, bn, torch.arange(1 - bm, bn, device=device)),
        nothing.reshape(0, 2), nothing.reshape(1, 1, 0), nothing.reshape(0, 3),
    )  # fmt: skip
    every, where = torch.cat([own_token, token]), torch.cat([own_slot, slot])
    by_token = every.argsort(stable=True)
    _, part = _ranges(torch.bincount(every, minlength=b * h * n))
    index = torch.full((b * h * n, chosen.shape[3] + 1), -1, dtype=torch.long, device=device)
    index[every[by_token], part] = where[by_token]
    return (lists, slots), index
