"""Speedups of variants on chips as a map: blue is faster than the baseline, red slower, white as fast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import INK, MUTED, page, shrink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = (0.275, 0.21)
"""Inches of a cell where chips are many; few chips get wider ones, up to WIDEST."""
WIDEST, NARROWEST_MAP = 0.9, 5.6
LEFT, RIGHT, BELOW = 1.45, 0.3, 0.95
"""Inches around the map; names of variants stand to the left, of chips above."""
SCALE = "RdBu"
"""A diverging scale that colour-blind readers can tell apart; its middle is 1x."""
MOST = 32.0
"""Speedup at which colours end, at most; the least is LEAST."""
LEAST = 4.0
NONE_COLOUR = "#dcdcdc"
SAME = 0.005
"""Difference from 1x up to which a cell stays without a number."""
FLOOR_SIDE = 0.5
"""Share of a cell that is coloured where only a floor is known."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A speedup. floor: by the floor of the tiles, since no kernel is modelled. best: the fastest on its chip."""

    speedup: float
    floor: bool = False
    best: bool = False


@dataclass(frozen=True, slots=True)
class Heat:
    """The map of one workload. cells: row by row (variants), None where neither kernel nor floor is known."""

    title: str
    told: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell | None, ...], ...]
    baseline: str


def draw(heat: Heat) -> Figure:
    """The picture. Call it inside `pictures.style()`."""
    wide = min(WIDEST, max(CELL[0], NARROWEST_MAP / len(heat.columns)))
    across, down = wide * len(heat.columns), CELL[1] * len(heat.rows)
    top = 0.85 + 0.072 * max(len(name) for name in heat.columns)
    width, height = max(LEFT + across + RIGHT, 8.7), BELOW + down + top
    figure = page(width, height)
    axes = figure.add_axes((LEFT / width, BELOW / height, across / width, down / height))
    _frame(axes, heat)
    _cells(axes, heat, wide)
    _titles(figure, heat)
    _key(figure, heat)
    return figure


def reach(heat: Heat) -> float:
    """The speedup at which the colours end; its inverse ends the other side."""
    known = [max(c.speedup, 1 / c.speedup) for row in heat.cells for c in row if c is not None and c.speedup > 0]
    return min(MOST, max(LEAST, *known)) if known else LEAST


def number(speedup: float) -> str:
    """Two digits, so that a cell holds them.

    >>> number(0.034), number(0.92), number(1.04), number(17.2), number(1234)
    ('.03', '.92', '1.0', '17', '1k')
    """
    if speedup < 0.995:
        return f"{speedup:.2f}".removeprefix("0")
    if speedup < 9.95:
        return f"{speedup:.1f}"
    return f"{speedup:.0f}" if speedup < 999.5 else f"{speedup / 1000:.0f}k"


def _frame(axes: Axes, heat: Heat) -> None:
    """Names of chips above, of variants to the left; no ticks."""
    axes.set_xlim(0, len(heat.columns))
    axes.set_ylim(len(heat.rows), 0)
    axes.xaxis.tick_top()
    axes.set_xticks([i + 0.5 for i in range(len(heat.columns))], heat.columns, rotation=90, fontsize=7.5)
    axes.set_yticks([i + 0.5 for i in range(len(heat.rows))], heat.rows, fontsize=8)
    axes.tick_params(length=0, pad=3)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _cells(axes: Axes, heat: Heat, wide: float) -> None:
    """Coloured squares with their numbers; a small square where only a floor is known, a frame around the fastest."""
    from matplotlib import colormaps
    from matplotlib.collections import PolyCollection

    scale, end = colormaps[SCALE], math.log(reach(heat))
    boxes: list[Any] = []
    colours: list[Any] = []
    frames: list[Any] = []
    size = 6.3 if wide < 0.4 else 7.5
    for y, row in enumerate(heat.cells):
        for x, cell in enumerate(row):
            boxes.append(_square(x, y, 0.96))
            if cell is None:
                colours.append(NONE_COLOUR)
                continue
            share = min(max(math.log(max(cell.speedup, 1e-9)) / end, -1.0), 1.0)
            colour = scale(0.5 + 0.5 * share * 0.92)
            colours.append("white" if cell.floor else colour)
            if cell.floor:
                boxes.append(_square(x, y, FLOOR_SIDE))
                colours.append(colour)
            elif abs(cell.speedup - 1) > SAME:
                dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 0.5
                axes.text(x + 0.5, y + 0.52, number(cell.speedup), fontsize=size, ha="center", va="center",
                          color="white" if dark else INK)  # fmt: skip
            if cell.best:
                frames.append(_square(x, y, 0.96))
    axes.add_collection(PolyCollection(boxes, facecolors=colours, edgecolors="none", zorder=1))
    axes.add_collection(PolyCollection(frames, facecolors="none", edgecolors=INK, linewidths=1.3, zorder=3))


def _square(x: int, y: int, side: float) -> list[tuple[float, float]]:
    low, high = 0.5 - side / 2, 0.5 + side / 2
    return [(x + low, y + low), (x + high, y + low), (x + high, y + high), (x + low, y + high)]


def _titles(figure: Figure, heat: Heat) -> None:
    height = figure.get_size_inches()[1]
    left, room = 0.15 / figure.get_size_inches()[0], 0.98 * figure.bbox.width - 15
    for text in (
        figure.text(left, 1 - 0.28 / height, heat.title, fontsize=12.5, weight="bold", gid="title"),
        figure.text(left, 1 - 0.52 / height, heat.told, fontsize=8.5, color=MUTED, gid="told"),
    ):
        shrink(text, room)


def _key(figure: Figure, heat: Heat) -> None:
    """The colour scale with its speedups, and what frames and small squares mean."""
    width, height = figure.get_size_inches()
    end = reach(heat)
    bar = figure.add_axes((LEFT / width, 0.48 / height, 2.6 / width, 0.13 / height))
    bar.imshow([[0.5 + 0.46 * (i / 64 - 1) for i in range(129)]], aspect="auto", cmap=SCALE, vmin=0, vmax=1,
               extent=(-math.log(end), math.log(end), 0, 1))  # fmt: skip
    bar.set_yticks([])
    step = 5.0 if end > 10 else 2.0
    marks = [1 / end, 1 / step, 1.0, step, end]
    names = [f"{m:.3g}x" if m >= 1 else f"1/{1 / m:.3g}" for m in marks]
    bar.set_xticks([math.log(m) for m in marks], [f"< {names[0]}", *names[1:4], f"> {names[4]}"], fontsize=7)
    bar.tick_params(length=2, pad=1.5)
    for spine in bar.spines.values():
        spine.set_visible(False)
    lines = (
        f"number: speedup over {heat.baseline} (predicted)",
        "white, no number: as fast; framed: the fastest on its chip",
        "small square: by floor alone (bounded); grey: neither is known",
    )  # fmt: skip
    for line, y in zip(lines, (0.6, 0.42, 0.24), strict=True):
        figure.text((LEFT + 2.9) / width, y / height, line, fontsize=7.5, color=MUTED)
