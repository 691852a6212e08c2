"""Blocks selected at run time: each query attends to its own block (causally) and to a number of past ones.

Which past blocks is content; how many pairs is not. Tiles are those of the gathered form (MoBA, 2502.13189,
`moba_efficient.py`): for every past block, the queries that chose it are gathered and form full tiles; a query
block meets itself as a small causal problem. Choices are taken as spread evenly over the past blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..algebra import Number
from .band import BandMask
from .base import TileSummary, check_enumerable, past_end


@dataclass(frozen=True, slots=True)
class SelectedBlocksMask:
    """`top` blocks of `block` keys per query, the own block among them. Queries end with the keys."""

    queries: int
    keys: int
    block: int
    top: int

    def _pairs_before(self, position: int) -> int:
        """Pairs of the queries at positions 0 .. position - 1."""
        early = min(position, self.top * self.block)
        total = early * (early + 1) // 2
        late = position - early
        whole, rest = divmod(late, self.block)
        own = self.block * (self.block + 1) // 2
        total += whole * (own + self.block * self.block * (self.top - 1))
        return total + rest * (rest + 1) // 2 + rest * self.block * (self.top - 1)

    def pairs(self) -> int:
        """sum over queries of (own block up to the query) + (top - 1, or as many as exist) whole blocks."""
        return self._pairs_before(self.keys) - self._pairs_before(self.keys - self.queries)

    def attends(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        """One possible choice: the nearest past blocks."""
        p = i + self.keys - self.queries
        distance = p // self.block - j // self.block
        attends: NDArray[np.bool_] = (j <= p) & (distance < self.top)
        return attends

    def _gathered(self) -> NDArray[np.float64]:
        """Expected queries that choose each past block, choices spread evenly."""
        check_enumerable("blocks", self.keys // self.block)
        first = self.keys - self.queries
        blocks = math.ceil(self.keys / self.block)
        edges = np.minimum(np.arange(blocks + 1) * self.block, self.keys)
        sizes = np.maximum(edges[1:] - np.maximum(edges[:-1], first), 0)
        index = np.arange(blocks)
        share = np.where(index > 0, np.minimum(index, self.top - 1) / np.maximum(index, 1), 0.0)
        later: NDArray[np.float64] = np.cumsum((sizes * share)[::-1])[::-1]
        return np.append(later[1:], 0.0)

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        """Visited tiles of the gathered blocks and of the causal own blocks."""
        rows, columns = math.prod(query_tile), math.prod(key_tile)
        gathered = self._gathered()
        columns_full, columns_rest = divmod(self.block, columns)
        per_row = columns_full + (columns_rest > 0)
        row_tiles = np.ceil(np.round(gathered, 6) / rows)
        own_whole, own_rest = divmod(self.keys, self.block)
        visited, full = float(row_tiles.sum()) * per_row, float(np.floor(gathered / rows).sum()) * columns_full
        query_tiles = float(row_tiles.sum())
        first = self.keys - self.queries
        skipped_blocks = first // self.block
        own = BandMask(self.block, self.block, right=0).tiles((rows,), (columns,))
        last = BandMask(own_rest, own_rest, right=0).tiles((rows,), (columns,)) if own_rest else None
        count = max(own_whole - skipped_blocks, 0)
        visited, full = visited + count * own.visited, full + count * own.full
        query_tiles += count * own.query_tiles
        if last is not None:
            visited, full, query_tiles = visited + last.visited, full + last.full, query_tiles + last.query_tiles
        grid = math.ceil(self.queries / rows) * math.ceil(self.keys / columns)
        return TileSummary(
            query_tiles, visited, full, visited - full, max(grid - visited, 0), max(per_row, own.longest_row), 1
        )

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[Number, Number]:
        """Of gathered queries as of tiles: expected."""
        rows, columns = math.prod(query_tile), math.prod(key_tile)
        gathered = np.round(self._gathered(), 6)
        row_tiles, per_row = np.ceil(gathered / rows), -(-self.block // columns)
        keys = float(row_tiles.sum()) * past_end(self.block, columns)
        queries = float((row_tiles * rows - gathered).sum()) * per_row
        whole, rest = divmod(self.keys, self.block)
        count = max(whole - (self.keys - self.queries) // self.block, 0)
        for n, size in ((count, self.block), (1, rest)):
            lacking = BandMask(size, size, right=0).missing((rows,), (columns,))
            keys, queries = keys + n * lacking[0], queries + n * lacking[1]
        return keys, queries

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        """Not defined: gathered tiles belong to no query tile of the fixed grid."""
        raise TypeError("run-time selections have no fixed tile rows")
