"""The tiles of a mask as a picture: full, partial and skipped ones, told apart in grey print as well."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tile_map import PARTIAL, SKIPPED, WHOLE, Grid, Side, Slice, TileMap, percent
from . import COLOURS, INK, MUTED, page, titles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, TOP, FOOT = 11.0, 0.95, 0.72
"""Inches, as all sizes here."""
LEFT, GAP, PANEL, KEY = 0.85, 0.85, 3.7, 1.75
LOW = 1.2
"""Height below which a panel has no room for an upright label."""
PLANE, PLANE_GAP = 1.9, 0.3
"""Height of the row of slices at most, and between two of them."""
LOOKS: dict[int, dict[str, Any]] = {
    WHOLE: {"facecolor": COLOURS[0], "edgecolor": "none", "linewidth": 0.0},
    PARTIAL: {"facecolor": "#ffe3b8", "edgecolor": "#8a4b00", "linewidth": 0.0, "hatch": "//////"},
    SKIPPED: {"facecolor": "#ededed", "edgecolor": "none", "linewidth": 0.0},
}  # fmt: skip
NAMES = {WHOLE: "full", PARTIAL: "partial", SKIPPED: "skipped"}


def draw(sheet: TileMap) -> Figure:
    """The picture of one map. Call it inside `pictures.style()`."""
    sizes = [_size(grid) for grid in sheet.grids]
    beside = len(sheet.grids) == len(sheet.slices) == 1
    planes = _plane_size(sheet.slices, beside)
    below = planes[1] + 1.0 if sheet.slices and not beside else 0.0
    tallest = max(1.9, planes[1] if beside else 0.0, *(high for _, high in sizes))
    height = TOP + tallest + FOOT + below
    figure = page(WIDTH, height)
    left = LEFT
    for grid, (wide, high) in zip(sheet.grids, sizes, strict=True):
        box = left / WIDTH, (height - TOP - high) / height, wide / WIDTH, high / height
        axes = figure.add_axes(box)
        _panel(axes, grid, sheet)
        if grid is sheet.grids[0] and len(sheet.grids) > 1:
            _outline(axes, grid, sheet.grids[1])
        left += wide + GAP
    if beside:
        _planes(figure, sheet, planes, (left, height - TOP - planes[1]), height)
        left += planes[0] + GAP
    elif sheet.slices:
        _planes(figure, sheet, planes, (LEFT, 0.5), height)
    _key(figure, sheet, min(left - GAP + 0.2, WIDTH - KEY), height)
    _titles(figure, sheet, height)
    return figure


def _size(grid: Grid) -> tuple[float, float]:
    """Inches of a panel: as wide as high for as many queries as keys."""
    queries, keys = (side.starts[-1] - side.starts[0] for side in (grid.queries, grid.keys))
    return PANEL * min(1.0, max(keys / queries, 0.3)), PANEL * min(1.0, max(queries / keys, 0.09))


def _plane_size(slices: tuple[Slice, ...], beside: bool) -> tuple[float, float]:
    """Inches of one slice: in a row below the panels, or a single one beside the panel."""
    if not slices:
        return 0.0, 0.0
    rows, columns = slices[0].states.shape
    room = PANEL if beside else (WIDTH - LEFT - 0.2 - PLANE_GAP * (len(slices) - 1)) / len(slices)
    most = PANEL if beside else PLANE if len(slices) > 1 else PLANE * 1.5
    high = min(most, room * rows / columns)
    return high * columns / rows, high


def _panel(axes: Axes, grid: Grid, sheet: TileMap) -> None:
    """Tiles by tiles, queries downwards, with the tokens at which tiles start."""
    rows, columns = grid.states.shape
    for state in (SKIPPED, WHOLE, PARTIAL):
        _fill(axes, boxes(grid.states == state), state)
    lines: dict[str, Any] = {"colors": "white", "linewidth": 0.5, "zorder": 2}
    axes.vlines(range(columns + 1), 0, rows, **lines)
    axes.hlines(range(rows + 1), 0, columns, **lines)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    _ticks(axes.xaxis, grid.keys, 4 if _size(grid)[0] > PANEL / 2 else 2)
    _ticks(axes.yaxis, grid.queries, 4 if rows > 5 else 1)
    how = " (tokens, tile after tile)" if sheet.regrouped else " (tokens)"
    axes.set_xlabel(f"keys{how}")
    if _size(grid)[1] < LOW:
        axes.set_yticks([])
        axes.set_ylabel("queries", rotation=0, ha="right", va="center", fontsize=8)
    else:
        axes.set_ylabel("queries (tokens)")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=2.5, pad=2)
    if grid.told:
        told = textwrap.fill(f"shown: {grid.told}", 58)
        axes.text(0, 1.012, told, transform=axes.transAxes, fontsize=8, color=MUTED, va="bottom", gid="told")


def _outline(axes: Axes, whole: Grid, window: Grid) -> None:
    """Where in the whole the window lies."""
    from matplotlib.patches import Rectangle

    x, y = (
        side.tiles[0] / step for side, step in ((window.keys, whole.keys.step), (window.queries, whole.queries.step))
    )
    wide, high = len(window.keys.tiles) / whole.keys.step, len(window.queries.tiles) / whole.queries.step
    axes.add_patch(
        Rectangle((x, y), wide, high, facecolor="none", edgecolor=INK, linewidth=1.1, zorder=4, clip_on=False)
    )


def _ticks(axis: Any, side: Side, count: int) -> None:
    """A few ticks at starts of tiles, named by their token."""
    places = list(range(0, len(side.tiles), max(1, -(-len(side.tiles) // count))))
    names = [f"{side.starts[k]:,}" for k in places]
    axis.set_ticks(places, names, fontsize=8)


def _fill(axes: Axes, boxes: list[tuple[float, float, float, float]], state: int) -> None:
    """All boxes (x, y, width, height) of one state as one path."""
    if not boxes:
        return
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    x, y, w, h = np.array(boxes, dtype=float).T
    corners = np.stack([np.stack([x, y], 1), np.stack([x + w, y], 1), np.stack([x + w, y + h], 1),
                        np.stack([x, y + h], 1), np.stack([x, y], 1)], axis=1)  # fmt: skip
    codes = np.tile([Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY], len(boxes))
    axes.add_patch(PathPatch(Path(corners.reshape(-1, 2), codes), **LOOKS[state]))


def _key(figure: Figure, sheet: TileMap, left: float, height: float) -> None:
    """The counts beside a sample of each fill."""
    from matplotlib.patches import Rectangle

    total = max(1, sheet.counts["visited"] + sheet.counts["skipped"])
    top = height - TOP - 0.16
    for row, state in enumerate((WHOLE, PARTIAL, SKIPPED)):
        y = top - 0.5 * row
        box = (left / WIDTH, (y - 0.12) / height), 0.26 / WIDTH, 0.26 / height
        figure.add_artist(Rectangle(*box, transform=figure.transFigure, **LOOKS[state]))
        count = sheet.counts[NAMES[state]]
        text = f"{NAMES[state]}\n{count:,} ({percent(count / total)})"
        figure.text((left + 0.36) / WIDTH, y / height, text, fontsize=8.5, va="center", gid="count")
    said = f"visited {sheet.counts['visited']:,}\nof {total:,} tiles (counted)"
    if sheet.separate:
        said += "\nwhite: no tile"
    figure.text(left / WIDTH, (top - 1.36) / height, said, fontsize=8.5, va="top", linespacing=1.35, gid="count")


def _planes(
    figure: Figure, sheet: TileMap, size: tuple[float, float], corner: tuple[float, float], height: float
) -> None:
    """Slices of the layout in a row, from its lower left corner on."""
    (wide, high), (begin, bottom) = size, corner
    lift = 0.28 if len(sheet.slices) > 1 else 0.05
    figure.text(begin / WIDTH, (bottom + high + lift) / height, sheet.slices_told + "; outlined: its queries",
                fontsize=8, color=MUTED, gid="slices")  # fmt: skip
    for number, one in enumerate(sheet.slices):
        left = begin + number * (wide + PLANE_GAP)
        axes = figure.add_axes((left / WIDTH, bottom / height, wide / WIDTH, high / height))
        _plane(axes, one, first=number == 0, depth=wide)


def _plane(axes: Axes, one: Slice, first: bool, depth: float) -> None:
    """One slice: tokens in the colour of their tile's state, the query tile outlined."""
    from matplotlib.ticker import MaxNLocator

    rows, columns = one.states.shape
    for state in (SKIPPED, WHOLE, PARTIAL):
        _fill(axes, boxes(one.states == state), state)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    for x, y, w, h in boxes(one.queries):
        axes.plot([x, x + w, x + w, x, x], [y, y, y + h, y + h, y], color=INK, linewidth=1.4, clip_on=False, zorder=4)
    axes.xaxis.set_major_locator(MaxNLocator(2 if depth < 1.2 else 4, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.tick_params(length=2.5, pad=2, labelsize=7.5, labelleft=first)
    if one.at >= 0:
        axes.set_title(f"at {one.at}", fontsize=8, pad=3)
    axes.set_xlabel("tokens", fontsize=7.5, labelpad=1)
    if first:
        axes.set_ylabel("tokens", fontsize=7.5)
    for spine in axes.spines.values():
        spine.set_visible(False)


def boxes(inside: Any) -> list[tuple[float, float, float, float]]:
    """(x, y, width, height) of rectangles that cover the true cells: runs of rows, equal ones below each other merged.

    >>> boxes(np.array([[1, 1, 0], [1, 1, 1]], dtype=bool))
    [(0, 0, 2, 1), (0, 1, 3, 1)]
    """
    found: list[tuple[float, float, float, float]] = []
    live: dict[tuple[int, int], int] = {}
    for row, line in enumerate(np.asarray(inside)):
        change = np.flatnonzero(np.diff(np.concatenate(([0], line.astype(np.int8), [0])))).tolist()
        runs = list(zip(change[::2], change[1::2], strict=True))
        kept = {}
        for begin, end in runs:
            if (begin, end) in live:
                at = live[begin, end]
                x, y, w, h = found[at]
                found[at] = x, y, w, h + 1
            else:
                at = len(found)
                found.append((begin, row, end - begin, 1))
            kept[begin, end] = at
        live = kept
    return found


def _titles(figure: Figure, sheet: TileMap, height: float) -> None:
    """What is seen; below it the tile and the workload."""
    about = f"Tile: {_tile(sheet)} on {sheet.chip}, one head of one sequence. {sheet.about}"
    heights = 1 - 0.3 / height, 1 - 0.53 / height
    titles(figure, sheet.finding, about, 0.2 / WIDTH, heights, 0.95 * figure.bbox.width)


def _tile(sheet: TileMap) -> str:
    query, key = ("x".join(map(str, side)) for side in (sheet.tile.query, sheet.tile.key))
    return f"{query} queries by {key} keys"
