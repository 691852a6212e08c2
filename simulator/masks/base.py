"""What every mask answers: exact pairs and tiles of one head of one sequence, and the paper's pair rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..algebra import Number
from ..errors import InputError

ENUMERATED = 2**26
"""Tiles, blocks or tokens that a mask without a closed form goes through one by one, at most."""


def check_enumerable(what: str, count: int, limit: int = ENUMERATED) -> None:
    """Raises InputError where a mask is too large to be counted by enumeration."""
    if count > limit:
        raise InputError(f"this mask would be counted over {count:,} {what}; at most {limit:,} are allowed")


@dataclass(frozen=True, slots=True)
class TileSummary:
    """Tiles of one head: `visited` = full + partial; `skipped` is the rest of the grid.

    query_tiles: rows of the grid. longest_row, shortest_row: visited key tiles of the query tile with the most
    and the fewest.
    """

    query_tiles: Number
    visited: Number
    full: Number
    partial: Number
    skipped: Number
    longest_row: Number
    shortest_row: Number


class Mask(Protocol):
    """Which (query, key) pairs attend. A tile is a block of the fixed grid that starts at token 0; it is visited
    if any pair in it attends, full if it lies inside the sequence and all its pairs attend, else partial."""

    @property
    def queries(self) -> Any: ...

    @property
    def keys(self) -> Any: ...

    def pairs(self) -> Number:
        """Pairs that attend."""
        ...

    def tiles(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileSummary:
        """Exact tile counts."""
        ...

    def missing(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> tuple[Number, Number]:
        """(keys, queries) that visited tiles have no token for, summed over them: places past the end of an axis."""
        ...

    def rows(self, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> Any:
        """(visited, full) key tiles of every query tile, as integer arrays."""
        ...

    def attends(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        """The pair rule over flattened token indices, independent of the counting."""
        ...


def past_end(tokens: int, side: int) -> int:
    """Places of the last tile that hold no token."""
    return -tokens % side


def summarise(visited: NDArray[Any], full: NDArray[Any], key_tiles: int) -> TileSummary:
    """A summary from per-query-tile counts."""
    total, whole = int(visited.sum()), int(full.sum())
    return TileSummary(
        len(visited), total, whole, total - whole, len(visited) * key_tiles - total, int(visited.max()),
        int(visited.min()),
    )  # fmt: skip


def flat_tile(tile: tuple[int, ...]) -> int:
    """The side of a tile over flattened tokens. Raises InputError for tiles of several axes or sides below 1."""
    if len(tile) != 1:
        raise InputError(f"this mask counts tiles of flattened tokens: one number, not {'x'.join(map(str, tile))}")
    if tile[0] < 1:
        raise InputError(f"a tile of {tile[0]} tokens; it must hold at least 1")
    return tile[0]
