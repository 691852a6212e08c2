"""graph + mask + tile -> tiled Counts and TileSummary: everything that a tile changes is decided here.

What a tile adds to the useful counts (`tiles` rung):
  - whole tiles are computed where only some of their pairs attend, and partial tiles are masked;
  - tile sides and head dimensions are padded to the matrix instruction;
  - keys and values are read again by every query tile (traffic between L2 and the compute units);
  - intermediates between two parts go through memory; pages are moved whole and their table is read;
  - a fused backward computes the scores again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from .algebra import Number, ceil_div, ceil_to, maximum, minimum
from .counts import Counts, part_work
from .graph import Graph, Part
from .hardware import Hardware
from .masks import TileSummary
from .problem import DTYPE_BITS, nbytes, output_dtype
from .splitting import SplitPlan, filling_splits, ragged_splits

MASK_VECTOR_FLOPS = 2
"""A masked pair costs a comparison and a select on the vector lanes."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A block of queries by a block of keys, one side an axis of the token layout or one for flattened
    tokens. packed_heads: query heads of one kv head that share a query tile (1: none)."""

    query: tuple[int, ...]
    key: tuple[int, ...]
    packed_heads: int = 1

    def __str__(self) -> str:
        return "/".join("x".join(map(str, side)) for side in (self.query, self.key))


@dataclass(frozen=True, slots=True)
class PartedTile(Tile):
    """A query tile that `value_parts` work items share, each with all of its scores and some columns of V."""

    value_parts: int = 2


@dataclass(frozen=True, slots=True)
class FlashTile(Tile):
    """A tile as FlashAttention lays its rows out: packed heads fill it without gaps, so that a token's heads may lie
    in two of them.

    head_dim, v_dim: what the kernel is compiled for, at least the problem's. gathers: whether rows of queries are
    loaded one by one, not by a descriptor. follows: whether key tiles start where the window of the query tile does,
    not on a grid. splits: whether key loops are cut where query tiles leave units idle;
    fills: by FlashAttention-4's rule, not FlashAttention-3's. spread: whether blocks that run together are of different
    sequences and heads, so that few of them share keys. warps: that share its rows, where that matters; 0: not stated.
    """

    head_dim: int = 0
    v_dim: int = 0
    gathers: bool = False
    follows: bool = False
    splits: bool = False
    fills: bool = False
    spread: bool = False
    warps: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class TiledPart:
    """One part under a tile. `summary` is of one mask instance; `instances` such instances run.

    rows, columns: tokens of a tile as the kernel computes it (rows include packed heads).
    tile_matrix, tile_pairs: matrix FLOPs (padded) and exponentials of one visited tile.
    key_bytes: K and V of one key tile. counts: the whole part. plan: how a split-KV kernel shares it out.
    filled: rows of a query tile that hold tokens, on average. gathered: those loaded one by one.
    splits: pieces that the keys of a query tile are cut into. merged: 1 where a second pass merges them, else 0.
    windowed: 1 where a window bounds the keys on the left, else 0. spread: 1 where blocks that run together are of
    different sequences and heads, else 0. warps: of a work item, where its tile states them, else 0.
    """

    part: Part
    tile: Tile
    summary: TileSummary | None
    instances: Number
    rows: int
    columns: int
    tile_matrix: Number
    tile_pairs: Number
    key_bytes: Number
    counts: Counts
    filled: Number = 0
    gathered: Number = 0
    splits: Number = 1
    merged: Number = 0
    windowed: Number = 0
    spread: Number = 0
    warps: Number = 0
    plan: SplitPlan | None = None


def key_bytes(part: Part) -> Number:
    """Bytes of K and V of one key of one kv head."""
    width = part.depth if part.shared_kv else part.depth + part.width
    return nbytes(width, part.kv_dtype)


def _padded(op_role: str, amount: Number, part: Part, hardware: Hardware, tile: Tile) -> Number:
    """Matrix FLOPs of one visited tile for an op of `amount` FLOPs a pair, padded to the instruction.

    scores: rows x columns outputs (columns padded to the instruction's n) contracting head_dim (padded to
    its k); values: rows x v_dim outputs (padded to n) contracting the keys (padded to k).
    """
    m, n, k = int(hardware.mma_m or 1), int(hardware.mma_n or 1), hardware.mma_k(part.dtype) or 1
    rows, columns = math.prod(tile.query), math.prod(tile.key)
    depth, width = (tile.head_dim, tile.v_dim) if isinstance(tile, FlashTile) else (0, 0)
    if op_role == "scores":
        return amount * ceil_to(rows, m) * ceil_to(columns, n) * (maximum(ceil_to(part.depth, k), depth) / part.depth)
    return amount * ceil_to(rows, m) * ceil_to(columns, k) * (maximum(ceil_to(part.width, n), width) / part.width)


def with_width(part: Part, width: Number) -> Part:
    """The part with fewer columns of V."""
    ops = tuple(replace(op, matrix=op.matrix * (width / part.width)) if op.role == "values" else op for op in part.ops)
    return replace(part, width=width, ops=ops)


def _backward_bytes(part: Part, passed: Number) -> Number:
    """Traffic of a fused backward: a key tile stays, the query tiles that see it pass by (2307.08691, algorithm 2).

    K, V, dK and dV of every key move once. Every query that passes by is read (Q, dO, and in fp32 its log-sum-exp and
    row sum) and its dQ added to in fp32.
    """
    narrow, wide = DTYPE_BITS[part.dtype] / 8, DTYPE_BITS[output_dtype(part.dtype)] / 8
    keys = part.batch * part.kv_heads * part.keys * (key_bytes(part) + (part.depth + part.width) * wide)
    return keys + passed * (part.depth * (narrow + 4) + part.width * wide + 8)


def tile_attention(part: Part, tile: Tile, hardware: Hardware, page_size: int | None = None) -> TiledPart:
    """Tiled counts of an attention part.

    With packed heads P, a query tile of BM rows holds BM // P tokens of all P heads of one kv head; more
    heads than rows take several tiles. Without gaps between tiles (FlashTile), the rows are P times the tokens.
    """
    mask = part.mask
    assert mask is not None
    rows, columns = math.prod(tile.query), math.prod(tile.key)
    query_tile, key_tile, instances, packed = tile.query, tile.key, part.instances, tile.packed_heads
    repeated = getattr(mask, "repeated", None) if packed > 1 and isinstance(tile, FlashTile) else None
    if packed > 1:
        instances = part.batch * part.heads / packed
    if repeated is not None:
        mask, key_tile = repeated(packed), (columns * packed,)
    elif packed > 1:
        query_tile = (max(1, rows // packed),)
        instances = instances * ceil_div(packed, rows)
    follows = isinstance(tile, FlashTile) and tile.follows and getattr(mask, "left", None) is not None
    counted = getattr(mask, "following", mask.tiles) if follows else mask.tiles
    summary = counted(query_tile, key_tile)
    if isinstance(tile, PartedTile):
        instances = instances * tile.value_parts
        part = with_width(part, part.width / tile.value_parts)
    visits = summary.visited * instances
    area = rows * columns
    pair_vector: Number = 0
    pair_special: Number = 0
    tile_matrix: Number = 0
    other_matrix: Number = 0
    other_vector: Number = 0
    other_special: Number = 0
    for op in part.ops:
        if op.per == "pair":
            pair_vector = pair_vector + op.vector
            pair_special = pair_special + op.special
            tile_matrix = tile_matrix + _padded(op.role, op.matrix, part, hardware, tile)
        else:
            other_matrix = other_matrix + op.matrix
            other_vector = other_vector + op.vector
            other_special = other_special + op.special
    # Tiles are loaded whole, less what of them lies past the end.
    past_keys, past_queries = mask.missing(query_tile, key_tile)
    past_keys = past_keys if repeated is None else past_keys / packed
    if part.backward:
        passed = summary.visited * math.prod(query_tile) - past_queries
        reread = _backward_bytes(part, passed * instances)
    else:
        loaded = summary.visited * columns - past_keys
        query_bytes = (part.depth + part.width) * (DTYPE_BITS[part.dtype] / 8)
        reread = loaded * instances * key_bytes(part) + part.instances * part.tokens * query_bytes
    tiled = Counts(
        {part.dtype: visits * tile_matrix + other_matrix},
        visits * area * pair_vector + summary.partial * instances * area * MASK_VECTOR_FLOPS + other_vector,
        visits * area * pair_special + other_special,
        0,
        reread,
    )
    if page_size is not None:
        pages = ceil_div(part.keys, page_size) * part.batch
        padding = (pages * page_size - part.keys * part.batch) * part.kv_heads * key_bytes(part)
        table = 4 * pages
        tiled = Counts(tiled.matrix, tiled.vector, tiled.special, padding + table, tiled.l2_bytes + table)
    filled = minimum(rows, part.tokens * packed / maximum(summary.query_tiles, 1))
    result = TiledPart(
        part, tile, summary, instances, rows, columns, tile_matrix, area, columns * key_bytes(part), tiled, filled,
        windowed=0 if getattr(mask, "left", None) is None else 1,
    )  # fmt: skip
    return _as_flash(result, tile, hardware) if isinstance(tile, FlashTile) else result


def _as_flash(tiled: TiledPart, tile: FlashTile, hardware: Hardware) -> TiledPart:
    """With what FlashAttention's launch decides: rows gathered one by one, key loops cut into splits."""
    gathered = tiled.filled if tile.gathers else 0
    tiled = replace(tiled, spread=int(tile.spread), warps=tile.warps)
    if not tile.splits or tiled.summary is None:
        return replace(tiled, gathered=gathered)
    summary, units = tiled.summary, hardware.sm_count
    if tile.fills:
        splits, merged = filling_splits(summary.query_tiles * tiled.instances, summary.longest_row, units)
    else:
        keys = ceil_div(tiled.part.keys, tiled.columns)
        splits, merged = ragged_splits(
            summary.query_tiles, tiled.instances, tiled.part.batch, summary.longest_row, keys, units
        )
    return replace(tiled, gathered=gathered, splits=splits, merged=merged)


def tile_other(part: Part, hardware: Hardware) -> TiledPart:
    """A part without pairs: its work padded to the matrix instruction along the chunk or token axis."""
    work = part_work(part)
    ratio: Number = 1
    if part.chunk:
        m, k = int(hardware.mma_m or 1), hardware.mma_k(part.dtype) or 1
        side = maximum(minimum(part.tokens, part.chunk), 1)
        ratio = ceil_to(side, m) / side * (ceil_to(part.depth, k) / part.depth)
    matrix = {dtype: flops * ratio for dtype, flops in work.matrix.items()}
    tiled = Counts(matrix, work.vector, work.special, 0, 0)
    tile = Tile((part.chunk,), (part.chunk,)) if part.chunk else Tile((), ())
    return TiledPart(part, tile, None, part.instances, part.chunk, part.chunk, 0, 0, 0, tiled)


def crossing_bytes(graph: Graph, index: int) -> Number:
    """Bytes that part `index` reads and writes in memory: everything that is not inside it alone."""
    part = graph.parts[index]
    total: Number = 0
    for tensor in graph.tensors:
        name = tensor.name
        used = any(name in op.inputs or name in op.outputs for op in part.ops)
        if not used:
            continue
        if tensor.role == "intermediate":
            outside = any(
                name in op.inputs or name in op.outputs
                for other, other_part in enumerate(graph.parts)
                if other != index
                for op in other_part.ops
            )
            if outside:
                total = total + tensor.bytes
        else:
            total = total + tensor.bytes * (2 if tensor.role == "state" else 1)
    return total


def tile_parts(graph: Graph, tile: Tile, hardware: Hardware, page_size: int | None = None) -> tuple[TiledPart, ...]:
    """Every part of the graph under one tile, each with the bytes it moves on its own."""
    result = []
    for index, part in enumerate(graph.parts):
        own = tile if part.tile is None else Tile(part.tile[:1], part.tile[1:2], part.tile[2])
        attends = part.mask is not None
        tiled = tile_attention(part, own, hardware, page_size) if attends else tile_other(part, hardware)
        moved = tiled.counts.hbm_bytes + crossing_bytes(graph, index)
        names = {name for op in part.ops for name in op.outputs}
        states = sum(tensor.bytes for tensor in graph.tensors if tensor.role == "state" and tensor.name in names)
        l2_bytes = maximum(tiled.counts.l2_bytes, moved)
        whole = replace(tiled.counts, hbm_bytes=moved, l2_bytes=l2_bytes, rewritten=states)
        result.append(replace(tiled, counts=whole))
    return tuple(result)


def total_counts(parts: tuple[TiledPart, ...], useful: Counts) -> Counts:
    """Tiled counts of the whole operator; never below the useful ones, entry by entry."""
    total = Counts({})
    for tiled in parts:
        total = total + tiled.counts
    return Counts(
        {dtype: maximum(total.matrix.get(dtype, 0), flops) for dtype, flops in useful.matrix.items()},
        maximum(total.vector, useful.vector),
        maximum(total.special, useful.special),
        maximum(total.hbm_bytes, useful.hbm_bytes),
        maximum(total.l2_bytes, useful.l2_bytes),
        useful.rewritten,
    )


def default_tile() -> Tile:
    """The tile assumed where no implementation is known for a chip: 128 queries by 128 keys."""
    return Tile((128,), (128,))


def stack(parts: Sequence[TiledPart], sizes: Sequence[int]) -> TiledPart:
    """Tiled parts of like kernels as one whose numbers are arrays, part after part; `sizes`: the points of each.

    What is the same in all of them stays as it is; the tile and names are the first one's, and the mask is gone.
    """
    bare = [replace(tiled, part=replace(tiled.part, mask=None), tile=parts[0].tile) for tiled in parts]
    joined: TiledPart = _joined(bare, sizes)
    return joined


def _joined(values: Sequence[Any], sizes: Sequence[int]) -> Any:
    """Numbers as one array, objects and collections field by field; anything else is the first one's."""
    first = values[0]
    if isinstance(first, Tile) or first is None or isinstance(first, (str, bool)):
        return first
    if is_dataclass(first) and not isinstance(first, type):
        own = {f.name: _joined([getattr(v, f.name) for v in values], sizes) for f in fields(first) if f.init}
        return replace(first, **own)
    if isinstance(first, dict):
        return {key: _joined([v.get(key, 0) for v in values], sizes) for key in first}
    if isinstance(first, tuple):
        return tuple(_joined(list(each), sizes) for each in zip(*values, strict=True))
    if all(type(v) in (int, float) and v == first for v in values):
        return first
    arrays = (np.asarray(v, np.float64) for v in values)
    return np.concatenate([np.broadcast_to(a, (n,)) for a, n in zip(arrays, sizes, strict=True)])
