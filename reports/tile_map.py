"""Which tiles of a mask a kernel visits, as values that a picture can show: never an N x N array."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulator.errors import InputError
from ..simulator.masks.lists import FULL, TileLists, tile_lists
from ..simulator.prediction import Prediction
from ..simulator.tiling import Tile
from .words import workload

SKIPPED, PARTIAL, WHOLE, OUTSIDE = 0, 1, 2, 3
"""States of a tile; OUTSIDE: its queries and keys are of different documents, windows or dilation groups, so that no
kernel has such a tile."""
MOST_SHOWN = 64
"""Tiles along a side that are told apart in a picture."""
MOST_VISITED = 2**24
MOST_EDGES = 2**18
"""Visited tiles of a mask in groups, which are found by going through them."""
MOST_SLICES = 7

States = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Tiles along queries or keys that a panel shows, every step-th. starts: token at which each begins, and where the
    last ends."""

    tiles: tuple[int, ...]
    step: int
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """States [query tiles shown, key tiles shown] of a panel. told: what of the whole is shown; "": all of it."""

    states: States
    queries: Side
    keys: Side
    told: str


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """A plane of the token layout. states [rows, columns] of each token's key tile; queries: which tokens are in the
    query tile. at: where it lies along the first axis, -1 for layouts of two."""

    at: int
    states: States
    queries: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TileMap:
    """The tiles of one head of one sequence. grids: the whole (thinned out where large), then a window of it; slices:
    where the key tiles of one query tile lie in the layout, for layouts of two and three axes."""

    name: str
    chip: str
    about: str
    tile: Tile
    counts: dict[str, int]
    grids: tuple[Grid, ...]
    slices: tuple[Slice, ...]
    slices_told: str
    regrouped: bool
    separate: bool

    @property
    def share(self) -> float:
        """Visited tiles of all in the grid."""
        return self.counts["visited"] / max(1, self.counts["visited"] + self.counts["skipped"])

    @property
    def finding(self) -> str:
        """What is seen, in a line."""
        visited, partial = self.counts["visited"], self.counts["partial"]
        tail = "none of them partial" if not partial else f"{percent(partial / visited)} of them partial"
        if visited == partial and visited:
            tail = "all of them partial"
        part = "all" if not self.counts["skipped"] else percent(self.share)
        return f"{self.name}: {part} {'' if part == 'all' else 'of the '}tiles are visited, {tail}"


def percent(share: float) -> str:
    """A share in percent, two digits.

    >>> percent(0.4612), percent(0.0612), percent(0.0004), percent(0.999)
    ('46 %', '6.1 %', '0.04 %', '99.9 %')
    """
    value = 100 * share
    digits = f"{value:.3g}" if value > 99 else f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    return f"{digits} %"


def tile_map(p: Prediction) -> TileMap | str:
    """The map of the tile that the prediction settles on, or why there is none."""
    counts, main, tile = p.tile_counts(), p.evaluation.graph.main, p.chosen.tile
    if counts is None:
        return f"{p.variant.id} has no mask of query and key pairs, so that there are no tiles to map"
    if counts["visited"] > MOST_VISITED:
        return f"{counts['visited']:,} visited tiles are too many to be mapped; at most {MOST_VISITED:,} are"
    try:
        lists = tile_lists(main.mask, tile.query, tile.key)
    except InputError as error:
        return str(error)
    grouped = _groups(lists)
    rows, columns = len(lists.query_origin), len(lists.key_origin)
    separate = grouped is not None and rows * columns != lists.grid
    slices, told = _slices(lists, p.prepared.shape) if p.prepared.kv_len == math.prod(p.prepared.shape) else ((), "")
    return TileMap(
        p.variant.id, p.hardware.title, workload(p), tile, counts, _grids(lists, grouped), slices, told,
        lists.order is not None or rows * columns != lists.grid or len(tile.query) > 1, separate,
    )  # fmt: skip


def _groups(lists: TileLists) -> tuple[Any, Any] | None:
    """The group of every query tile and of every key tile, those that visit each other being of one; None where that
    gives another grid than the lists have."""
    rows, columns = len(lists.query_origin), len(lists.key_origin)
    if rows * columns == lists.grid:
        return np.zeros(rows, np.int64), np.zeros(columns, np.int64)
    if len(lists.key) > MOST_EDGES:
        return None
    import networkx

    graph: Any = networkx.Graph()
    graph.add_nodes_from(range(rows + columns))
    owner = np.repeat(np.arange(rows), np.diff(lists.row_start))
    graph.add_edges_from(zip(owner.tolist(), (lists.key + rows).tolist(), strict=True))
    group = np.empty(rows + columns, np.int64)
    for number, members in enumerate(networkx.connected_components(graph)):
        group[list(members)] = number
    queries, keys = group[:rows], group[rows:]
    size = int(group.max()) + 1
    total = int((np.bincount(queries, minlength=size) * np.bincount(keys, minlength=size)).sum())
    return (queries, keys) if total == lists.grid else None


def _states(lists: TileLists, queries: Any, keys: Any, grouped: tuple[Any, Any] | None) -> States:
    """States of some query tiles by some key tiles."""
    place = np.full(len(lists.key_origin), -1, np.int64)
    place[keys] = np.arange(len(keys))
    states = np.zeros((len(queries), len(keys)), np.uint8)
    if grouped is not None:
        states[grouped[0][queries][:, None] != grouped[1][keys][None, :]] = OUTSIDE
    for row, t in enumerate(queries):
        visited = slice(lists.row_start[t], lists.row_start[t + 1])
        at = place[lists.key[visited]]
        state = np.where(lists.pattern[visited] == FULL, WHOLE, PARTIAL)
        states[row, at[at >= 0]] = state[at >= 0]
    return states


def _side(extent: Any, first: int, step: int, count: int) -> Side:
    """Tiles first, first + step, ... with the tokens at which they start."""
    tokens = np.concatenate(([0], np.cumsum(extent.prod(axis=1, dtype=np.int64))))
    tiles = np.arange(first, min(first + step * count, len(extent)), step)
    last = int(tiles[-1]) + 1 if len(tiles) else 0
    return Side(tuple(tiles.tolist()), step, (*tokens[tiles].tolist(), int(tokens[last])))


def _grid(
    lists: TileLists, grouped: tuple[Any, Any] | None, first: tuple[int, int], step: tuple[int, int],
    most: tuple[int, int], told: str,
) -> Grid:  # fmt: skip
    queries = _side(lists.query_extent, first[0], step[0], most[0])
    keys = _side(lists.key_extent, first[1], step[1], most[1])
    states = _states(lists, np.array(queries.tiles, np.int64), np.array(keys.tiles, np.int64), grouped)
    return Grid(states, queries, keys, told)


def _nth(step: int) -> str:
    suffix = {1: "st", 2: "nd", 3: "rd"}.get(step % 10 if step // 10 % 10 != 1 else 0, "th")
    return f"every {step}{suffix}"


def _shown(step: int, count: int, noun: str) -> str:
    if count == 1:
        return f"the {noun}"
    return f"all {count:,} {noun}s" if step == 1 else f"{_nth(step)} of {count:,} {noun}s"


def _grids(lists: TileLists, grouped: tuple[Any, Any] | None) -> tuple[Grid, ...]:
    """All tiles; where they are more than can be told apart, every k-th of them and a window of neighbours."""
    rows, columns = len(lists.query_origin), len(lists.key_origin)
    if not rows or not columns:
        return ()
    if max(rows, columns) <= MOST_SHOWN:
        return (_grid(lists, grouped, (0, 0), (1, 1), (MOST_SHOWN,) * 2, ""),)
    step = -(-rows // MOST_SHOWN), -(-columns // MOST_SHOWN)
    told = f"{_shown(step[0], rows, 'query tile')} by {_shown(step[1], columns, 'key tile')}; outlined: the window"
    whole = _grid(lists, grouped, (0, 0), step, (MOST_SHOWN,) * 2, told)
    sides = math.prod(lists.query_sides), math.prod(lists.key_sides)
    # As many keys as queries where they are told apart, so that the window is square.
    size = MOST_SHOWN // 2, min(MOST_SHOWN, max(MOST_SHOWN // 2, MOST_SHOWN // 2 * sides[0] // sides[1]))
    middle = rows // 2
    visited = lists.key[lists.row_start[middle] : lists.row_start[middle + 1]]
    near = int(visited[len(visited) // 2]) if len(visited) else columns // 2
    first = _start(middle, rows, size[0]), _start(near, columns, size[1])
    shown = min(rows, size[0]), min(columns, size[1])
    near_told = f"the window, {shown[0]} by {shown[1]} neighbouring tiles"
    return whole, _grid(lists, grouped, first, (1, 1), size, near_told)


def _start(middle: int, length: int, size: int) -> int:
    return max(0, min(middle - size // 2, length - size))


def _tokens(lists: TileLists, queries: bool, tile: int) -> Any:
    """The tokens of one tile, as they lie in the layout."""
    sides = lists.query_sides if queries else lists.key_sides
    step = lists.query_step if queries else lists.key_step
    origin = (lists.query_origin if queries else lists.key_origin)[tile]
    extent = (lists.query_extent if queries else lists.key_extent)[tile]
    place = np.stack(np.unravel_index(np.arange(math.prod(sides)), sides), -1)
    inside = (place < extent).all(axis=1)
    tokens = int(origin) + place[inside] @ np.array(step)
    return tokens if lists.order is None else lists.order[tokens]


def _slices(lists: TileLists, shape: tuple[int, ...]) -> tuple[tuple[Slice, ...], str]:
    """The key tiles of the middle query tile in layouts of two and three axes, and what of them is shown."""
    if len(shape) < 2 or not len(lists.query_origin):
        return (), ""
    t = _middle(lists, shape)
    states, inside = np.zeros(math.prod(shape), np.uint8), np.zeros(math.prod(shape), bool)
    for at in range(int(lists.row_start[t]), int(lists.row_start[t + 1])):
        whole = lists.pattern[at] == FULL
        states[_tokens(lists, False, int(lists.key[at]))] = WHOLE if whole else PARTIAL
    inside[_tokens(lists, True, t)] = True
    planes = shape if len(shape) == 3 else (1, *shape)
    states, inside = states.reshape(planes), inside.reshape(planes)
    if len(shape) == 2:
        return (Slice(-1, states[0], inside[0]),), "the key tiles of one query tile"
    reached = np.flatnonzero((states > 0).any(axis=(1, 2)))
    own = int(np.flatnonzero(inside.any(axis=(1, 2)))[0])
    spread = np.linspace(0, len(reached) - 1, MOST_SLICES - 1).round().astype(int)
    kept = sorted({own, *reached[spread].tolist()})
    told = f"the key tiles of one query tile, in {len(kept)} of {shape[0]} slices along the first axis"
    told += f" ({len(reached)} hold visited tiles)" if len(reached) < shape[0] else ""
    return tuple(Slice(k, states[k], inside[k]) for k in kept), told


def _middle(lists: TileLists, shape: tuple[int, ...]) -> int:
    """The query tile whose first token is nearest to the middle of the layout."""
    origin = lists.query_origin if lists.order is None else lists.order[lists.query_origin]
    place = np.stack(np.unravel_index(np.asarray(origin, np.int64), shape), -1) / np.array(shape)
    return int(np.abs(place - 0.45).sum(axis=1).argmin())
