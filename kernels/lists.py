"""Lists of key tiles for every query tile, as block-sparse kernels read them: of a static mask, or chosen at run time.

Everything is vectorised: no loop over tokens, tiles, heads or sequences.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ..simulator.errors import InputError
from ..simulator.masks.lists import TileLists, tile_lists

EXTENT_BITS = 10
"""Bits that the used slots along an axis of a box take; the first axis of a packed triple has the lowest."""
FULL = -1
"""Pattern of a tile in which every pair attends."""
INSIDE = -2
"""Pattern of a tile in which every pair attends whose key exists."""


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """query_sides, key_sides: boxes of three axes; query_step, key_step: tokens between neighbouring slots.

    rows [T, 2], columns [C, 2]: first token and packed extents of every query and key tile. row_start [b, h, T + 1],
    column_start [b, h, C + 1]: where the list of a tile begins; b and h are 1 where all sequences or heads share it.
    entries, column_entries [E, 3]: first token, packed extents and pattern of the tiles a list visits. patterns
    [U, BM, words]: 32 keys a word. slots [S, BN]: key tokens of gathered tiles, whose entries hold (row of `slots`,
    keys in it, pattern). query_order, key_order [slots]: tokens are first taken in this order; query_back, key_back
    [tokens]: the slot where each token then is. All int32 but these four.
    """

    query_sides: tuple[int, int, int]
    key_sides: tuple[int, int, int]
    query_step: tuple[int, int, int]
    key_step: tuple[int, int, int]
    rows: torch.Tensor
    row_start: torch.Tensor
    entries: torch.Tensor
    patterns: torch.Tensor
    columns: torch.Tensor
    column_start: torch.Tensor
    column_entries: torch.Tensor
    slots: torch.Tensor | None = None
    query_order: torch.Tensor | None = None
    query_back: torch.Tensor | None = None
    key_order: torch.Tensor | None = None
    key_back: torch.Tensor | None = None

    def strides(self, start: torch.Tensor) -> dict[str, int]:
        """Steps of `row_start` or `column_start` from one sequence and head to the next; 0 where they share lists."""
        b, h, _ = start.shape
        return {"list_stride_b": 0 if b == 1 else start.stride(0), "list_stride_h": 0 if h == 1 else start.stride(1)}

    def arrange_queries(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """[B, H, N, ...] tensors with their tokens in the order of the query tiles."""
        return tensors if self.query_order is None else tuple(t.index_select(2, self.query_order) for t in tensors)

    def arrange_keys(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """[B, G, M, ...] tensors with their tokens in the order of the key tiles."""
        return tensors if self.key_order is None else tuple(t.index_select(2, self.key_order) for t in tensors)

    def restore(self, outputs: dict[str, torch.Tensor]) -> Callable[[], None]:
        """A step that puts the tokens of the outputs (dk and dv: keys) back in their own order."""

        def run() -> None:
            for name, tensor in outputs.items():
                back = self.key_back if name in ("dk", "dv") else self.query_back
                outputs[name] = tensor if back is None else tensor.index_select(2, back)

        return run

    def permuted(self) -> Lists:
        """The same lists over tokens laid out tile by tile, so that every tile is contiguous in memory.

        A slot without a token holds some other one; patterns leave it out.
        """
        query_order, query_back = _tile_order(self.rows, self.query_sides, self.query_step)
        key_order, key_back = _tile_order(self.columns, self.key_sides, self.key_step)
        bm, bn = (math.prod(sides) for sides in (self.query_sides, self.key_sides))
        rows, columns = (_boxes(len(t) * side, side, t.device) for t, side in ((self.rows, bm), (self.columns, bn)))
        column_of, row_of = (_tile_of(t) for t in (self.columns, self.rows))
        return Lists(
            (1, 1, bm), (1, 1, bn), (1, 1, 1), (1, 1, 1), rows, self.row_start,
            torch.cat([columns[column_of(self.entries[:, 0])], self.entries[:, 2:]], 1).contiguous(), self.patterns,
            columns, self.column_start,
            torch.cat([rows[row_of(self.column_entries[:, 0])], self.column_entries[:, 2:]], 1).contiguous(), None,
            query_order, query_back, key_order, key_back,
        )  # fmt: skip


def _tile_of(boxes: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Which tile begins at a token."""
    origin, tile = boxes[:, 0].sort()
    return lambda first: tile[torch.searchsorted(origin, first.contiguous())]


def _tile_order(
    boxes: torch.Tensor, sides: tuple[int, int, int], step: tuple[int, int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """(token of every slot, slot of every token) of boxes laid out one after the other; a free slot has token 0."""
    a, b, c = torch.meshgrid(*(torch.arange(side, device=boxes.device) for side in sides), indexing="ij")
    inside = torch.ones(1, dtype=torch.bool, device=boxes.device)
    for axis, slot in enumerate((a, b, c)):
        used = (boxes[:, 1] >> axis * EXTENT_BITS) & ((1 << EXTENT_BITS) - 1)
        inside = inside & (slot.flatten()[None, :] < used[:, None])
    offset = (a * step[0] + b * step[1] + c * step[2]).flatten()
    order = torch.where(inside, boxes[:, :1].long() + offset, -1).flatten()
    filled = (order >= 0).nonzero()[:, 0]
    back = torch.empty(len(filled), dtype=torch.long, device=boxes.device)
    back[order[filled]] = filled
    return order.clamp(min=0), back


def pack_extents(extent: torch.Tensor) -> torch.Tensor:
    """[..., 3] used slots along three axes in one int32 each."""
    a, b, c = extent.to(torch.int32).unbind(-1)
    return a | (b << EXTENT_BITS) | (c << 2 * EXTENT_BITS)


def _signed(words: Any) -> torch.Tensor:
    """uint32 bit patterns as the int32 of the same bits; at least one, since kernels read the first for full tiles."""
    patterns = torch.from_numpy(words.view("int32"))
    return patterns if len(patterns) else torch.zeros(1, *patterns.shape[1:], dtype=torch.int32)


def from_mask(mask: Any, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Lists:
    """The lists of a static mask, on the CPU. Raises InputError for masks that are known at run time only."""
    made: TileLists = tile_lists(mask, query_tile, key_tile)
    starts, queries, patterns = made.transposed()

    def table(origin: Any, extent: Any) -> torch.Tensor:
        return torch.stack([torch.from_numpy(origin), pack_extents(torch.from_numpy(extent))], 1)

    rows, columns = table(made.query_origin, made.query_extent), table(made.key_origin, made.key_extent)

    def entries(boxes: torch.Tensor, index: Any, pattern: Any) -> torch.Tensor:
        return torch.cat([boxes[torch.from_numpy(index).long()], torch.from_numpy(pattern)[:, None]], 1).contiguous()

    def start(values: Any) -> torch.Tensor:
        return torch.from_numpy(values).to(torch.int32)[None, None]

    lists = Lists(
        made.query_sides, made.key_sides, made.query_step, made.key_step, rows, start(made.row_start),
        entries(columns, made.key, made.pattern), _signed(made.patterns), columns, start(starts),
        entries(rows, queries, patterns),
    )  # fmt: skip
    if made.order is not None:
        order = torch.from_numpy(made.order)
        lists = replace(lists, query_order=order, query_back=order.argsort(), key_order=order, key_back=order.argsort())
    return lists


def to_device(lists: Lists, device: torch.device) -> Lists:
    """The same lists with their tensors on a device."""
    tensors: dict[str, Any] = {name: getattr(lists, name) for name in Lists.__slots__}
    moved: dict[str, Any] = {name: t.to(device) for name, t in tensors.items() if isinstance(t, torch.Tensor)}
    return replace(lists, **moved)


def _compressed(visited: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(start [b, h, T + 1], flat index of every visited cell) of a boolean [b, h, T, C] grid, row by row."""
    b, h, rows, _ = visited.shape
    counts = visited.sum(-1).flatten()
    ends = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    at = torch.arange(b * h, device=visited.device)[:, None] * rows + torch.arange(rows + 1, device=visited.device)
    return ends[at].to(torch.int32).reshape(b, h, rows + 1), visited.flatten().nonzero()[:, 0]


def causal_patterns(bm: int, bn: int, ahead: torch.Tensor) -> torch.Tensor:
    """[U, BM, words] patterns of tiles whose first query stands `ahead` [U] keys after their first key."""
    device = ahead.device
    i, j = torch.arange(bm, device=device), torch.arange(-(-bn // 32) * 32, device=device)
    seen = (j <= i[:, None] + ahead[:, None, None]) & (j < bn)
    bits = seen.reshape(len(ahead), bm, -1, 32).to(torch.int64) << torch.arange(32, device=device)
    words = bits.sum(-1)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)


def _boxes(tokens: int, side: int, device: torch.device) -> torch.Tensor:
    """[T, 2] first token and packed extents of tiles of consecutive tokens."""
    origin = torch.arange(0, tokens, side, device=device, dtype=torch.int32)
    used = (tokens - origin).clamp(max=side)
    one = torch.ones_like(used)
    return torch.stack([origin, pack_extents(torch.stack([one, one, used], -1))], 1)


def from_blocks(
    kept: torch.Tensor, block: tuple[int, int], queries: int, keys: int, query_tile: int, key_tile: int, *,
    causal: bool = False,
) -> Lists:  # fmt: skip
    """Lists from blocks chosen at run time: kept [b, h, ceil(N / bq), ceil(M / bk)] bool, b and h 1 or all of them.

    Tiles lie inside blocks: query_tile divides bq and key_tile bk. causal: pairs past the diagonal do not attend.
    Raises InputError otherwise.
    """
    bq, bk = block
    expected = (-(-queries // bq), -(-keys // bk))
    if kept.dim() != 4 or tuple(kept.shape[2:]) != expected or kept.dtype != torch.bool:
        raise InputError(f"kept blocks are {list(kept.shape)} of {kept.dtype}; {queries} queries by {keys} keys in "
                         f"blocks of {bq}x{bk} need [batch, heads, {expected[0]}, {expected[1]}] of bool")  # fmt: skip
    if bq % query_tile or bk % key_tile:
        raise InputError(f"tiles of {query_tile}x{key_tile} do not divide blocks of {bq}x{bk}")
    device = kept.device
    rows, columns = _boxes(queries, query_tile, device), _boxes(keys, key_tile, device)
    visited = kept.repeat_interleave(bq // query_tile, 2)[:, :, : len(rows)]
    visited = visited.repeat_interleave(bk // key_tile, 3)[:, :, :, : len(columns)]
    # Keys that the first query of a tile stands after the first key of another.
    ahead = rows[:, None, 0].long() + (keys - queries) - columns[None, :, 0].long()
    pattern = torch.where((columns[:, 0] + key_tile > keys)[None, :], INSIDE, FULL).expand_as(ahead)
    patterns = torch.zeros(1, query_tile, -(-key_tile // 32), dtype=torch.int32, device=device)
    if causal:
        visited = visited & (ahead + query_tile > 0)
        cut = ahead < key_tile - 1
        first = int(1 - query_tile)
        pattern = torch.where(cut, (ahead - first).clamp(0, key_tile - 2 - first), pattern)
        patterns = causal_patterns(
            query_tile, key_tile, torch.arange(first, max(key_tile - 1, first + 1), device=device)
        )
    return _lists(visited, pattern, rows, columns, patterns, query_tile, key_tile)


def _lists(
    visited: torch.Tensor, pattern: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, patterns: torch.Tensor,
    query_tile: int, key_tile: int,
) -> Lists:  # fmt: skip
    """Lists of a grid of visited tiles [b, h, T, C] with the pattern [T, C] of each."""
    row_start, cells = _compressed(visited)
    column_start, turned = _compressed(visited.transpose(2, 3).contiguous())
    t, c = cells // max(len(columns), 1) % max(len(rows), 1), cells % max(len(columns), 1)
    back_t, back_c = turned % max(len(rows), 1), turned // max(len(rows), 1) % max(len(columns), 1)

    def entries(boxes: torch.Tensor, index: torch.Tensor, at: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return torch.cat([boxes[index], pattern[at][:, None].to(torch.int32)], 1).contiguous()

    return Lists(
        (1, 1, query_tile), (1, 1, key_tile), (1, 1, 1), (1, 1, 1), rows, row_start, entries(columns, c, (t, c)),
        patterns, columns, column_start, entries(rows, back_t, (back_t, back_c)),
    )  # fmt: skip


def from_tokens(chosen: torch.Tensor, key_tile: int) -> Lists:
    """Lists from key tokens chosen for every query: chosen [b, h, N, k] int32, -1 for none; b and h 1 or all of them.

    A query tile is one token, so the heads that share a choice are packed into its rows (DeepSeek sparse attention,
    2512.02556: all heads). The backward lists are empty: gathered tiles have no fixed columns.
    """
    if chosen.dim() != 4:
        raise InputError(f"chosen tokens have {chosen.dim()} axes; allowed: 4, [batch, heads, queries, keys chosen]")
    n, k = chosen.shape[2:]
    device = chosen.device
    # Those chosen come first, so that only the last tile of a query is partial.
    ordered = torch.where(chosen < 0, torch.iinfo(torch.int32).max, chosen).sort(-1).values
    counts = (chosen >= 0).sum(-1)
    per_query = max(-(-k // key_tile), 1)
    slots = torch.nn.functional.pad(ordered, (0, per_query * key_tile - k)).to(torch.int32).reshape(-1, key_tile)
    used = counts[..., None] - torch.arange(0, per_query * key_tile, key_tile, device=device)
    used = used.clamp(0, key_tile)
    row_start, cells = _compressed(used > 0)
    filled = used.flatten()[cells]
    pattern = torch.where(filled == key_tile, FULL, INSIDE)
    entries = torch.stack([cells, filled, pattern], 1).to(torch.int32)
    rows = _boxes(n, 1, device)
    nothing = torch.zeros(0, device=device, dtype=torch.int32)
    return Lists(
        (1, 1, 1), (1, 1, key_tile), (1, 1, 1), (1, 1, 1), rows, row_start, entries,
        torch.zeros(1, 1, -(-key_tile // 32), dtype=torch.int32, device=device), nothing.reshape(0, 2),
        nothing.reshape(1, 1, 0), nothing.reshape(0, 3), slots,
    )  # fmt: skip
