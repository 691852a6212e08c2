"""What halving and doubling each number does to a time, as a tornado: bars to faster and slower, the longest on top."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from . import COLOURS, FAINT, INK, LAYOUT_DPI, MUTED, page, shrink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
ROW, HEAD = 0.33, 0.36
"""Inches of a number, and of the name above a group of numbers."""
ABOVE, BELOW, SIDE, BETWEEN = 1.05, 1.0, 0.15, 0.3
"""Inches around and between the panels."""
DOUBLED, HALVED = COLOURS[0], COLOURS[1]
BAR, OFFSET = 0.36, 0.2
"""Height of a bar and its distance from the middle of its row, in rows."""
NAME_GAP = 8
TICK_ROOM = 7.5
"""Pixels that a digit of a tick's number takes at most, with some room."""
SMALLEST = math.log(1.02)
"""The axis reaches at least 2 % to either side."""
TICKS = (
    tuple(8.0**k for k in range(-12, 13)), tuple(2.0**k for k in range(-20, 21)),
    (0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5), (0.8, 0.9, 1.0, 1.1, 1.2), (0.96, 0.98, 1.0, 1.02, 1.04),
)  # fmt: skip
"""Sets of ticks, the widest first."""
PANELS = ("Numbers of the chip", "Numbers of the problem")


@dataclass(frozen=True, slots=True)
class Row:
    """A number with its value, and the times relative to now where it is halved or doubled (None: it cannot be).

    switched: of the same two, whether another kernel is the fastest there.
    """

    name: str
    halved: float | None
    doubled: float | None
    switched: tuple[bool, bool] = (False, False)


@dataclass(frozen=True, slots=True)
class Group:
    """The numbers of one prediction, the largest effect first. name: where a picture has several groups."""

    name: str
    chip: tuple[Row, ...]
    problem: tuple[Row, ...]

    @property
    def rows(self) -> int:
        return max(len(self.chip), len(self.problem), 1)


@dataclass(frozen=True, slots=True)
class Tornado:
    """A picture. title: what is seen; told: the workload; time: what is relative, such as `predicted time`."""

    title: str
    told: str
    time: str
    groups: tuple[Group, ...]


def draw(tornado: Tornado) -> Figure:
    """The picture. Call it inside `pictures.style()`."""
    down = sum(ROW * group.rows + (HEAD if group.name else 0) for group in tornado.groups)
    height = ABOVE + down + BELOW
    figure = page(WIDTH, height)
    panels = [figure.add_axes((0.1, BELOW / height, 0.1, down / height), gid=f"panel-{i}") for i in range(2)]
    names = [_names(axes, tornado, index) for index, axes in enumerate(panels)]
    room = WIDTH - 2 * SIDE - BETWEEN - sum(names)
    left = SIDE
    for axes, name in zip(panels, names, strict=True):
        axes.set_position(((left + name) / WIDTH, BELOW / height, room / 2 / WIDTH, down / height))
        left += name + room / 2 + BETWEEN
    reach = _reach(tornado)
    for index, axes in enumerate(panels):
        _frame(axes, tornado, down)
        _bars(axes, tornado, index, reach, room / 2 * LAYOUT_DPI)
        axes.set_title(PANELS[index], fontsize=10, weight="bold", loc="left", pad=8)
    _titles(figure, tornado)
    _key(figure, tornado)
    return figure


def _rows(tornado: Tornado, index: int) -> list[tuple[float, Row]]:
    """The rows of a panel and the heights of their middles, in inches from the top."""
    placed, y = [], 0.0
    for group in tornado.groups:
        y += HEAD if group.name else 0
        rows = group.problem if index else group.chip
        placed += [(y + ROW * (place + 0.5), row) for place, row in enumerate(rows)]
        y += ROW * group.rows
    return placed


def _names(axes: Axes, tornado: Tornado, index: int) -> float:
    """Names left of a panel; the inches that they take."""
    at: Any = axes.get_yaxis_transform()
    widest = 0.0
    for y, row in _rows(tornado, index):
        text = axes.annotate(row.name, (0, y), xytext=(-NAME_GAP, 0), xycoords=at, textcoords="offset points",
                             fontsize=8, ha="right", va="center", gid="name", annotation_clip=False)  # fmt: skip
        widest = max(widest, text.get_window_extent().width)
    y = 0.0
    for group in tornado.groups if not index else ():
        if group.name:
            text = axes.annotate(group.name, (0, y + HEAD * 0.6), xytext=(-NAME_GAP, 0), xycoords=at, gid="group",
                                 textcoords="offset points", fontsize=9, weight="bold", ha="right", va="center",
                                 annotation_clip=False)  # fmt: skip
            widest = max(widest, text.get_window_extent().width)
        y += (HEAD if group.name else 0) + ROW * group.rows
    return widest / LAYOUT_DPI + NAME_GAP / 72 + 0.05


def _reach(tornado: Tornado) -> tuple[float, float]:
    """The least and the largest relative time, as logarithms; both panels have the same axis."""
    rows = [row for group in tornado.groups for row in (*group.chip, *group.problem)]
    logs = [math.log(ratio) for row in rows for ratio in (row.halved, row.doubled) if ratio]
    return min(-SMALLEST, *logs, 0.0), max(SMALLEST, *logs, 0.0)


def _frame(axes: Axes, tornado: Tornado, down: float) -> None:
    """The log axis, a line at 1, and lines between the groups."""
    from matplotlib.ticker import NullFormatter, NullLocator

    axes.set_xscale("log")
    axes.set_ylim(down, 0)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_axisbelow(True)
    axes.axvline(1, color=INK, linewidth=0.9, zorder=3)
    axes.set_xlabel(f"{tornado.time} relative to now\n(ratio, log scale; 1 = now)", fontsize=8.5)
    y = 0.0
    for place, group in enumerate(tornado.groups):
        if place:
            axes.axhline(y + 0.04, color="#dddddd", linewidth=0.8, zorder=0)
        y += (HEAD if group.name else 0) + ROW * group.rows


def _bars(axes: Axes, tornado: Tornado, index: int, reach: tuple[float, float], across: float) -> None:
    """Two bars a row, doubled above halved, each with its number at its end; room for the numbers on either side."""
    placed = _rows(tornado, index)
    texts = []
    for key, colour, shift, words in (
        ("doubled", DOUBLED, -OFFSET, "\u00d72"), ("halved", HALVED, OFFSET, "\u00f72"),
    ):  # fmt: skip
        ratios = [getattr(row, key) for _, row in placed]
        heights = [y + shift * ROW for y, _ in placed]
        axes.barh(
            heights, [(ratio or 1.0) - 1.0 for ratio in ratios], left=1.0, height=BAR * ROW, color=colour, zorder=2
        )
        for (_, row), y, ratio in zip(placed, heights, ratios, strict=True):
            faster = ratio is not None and ratio < 1
            star = "*" if row.switched[key == "doubled"] else ""
            said = f"{words} {number(ratio)}{star}" if ratio is not None else f"no {words}"
            texts.append(axes.annotate(
                said, (ratio or 1.0, y), xytext=(-4 if faster else 4, 0), textcoords="offset points", fontsize=7.5,
                color=FAINT if ratio is None else colour, ha="right" if faster else "left", va="center", gid="value",
                annotation_clip=False,
            ))  # fmt: skip
    margin = max((text.get_window_extent().width for text in texts), default=0.0) + 12
    scale = (reach[1] - reach[0]) / max(across - 2 * margin, 40.0)
    low, high = math.exp(reach[0] - margin * scale), math.exp(reach[1] + margin * scale)
    axes.set_xlim(low, high)
    ticks = _ticks(math.exp(reach[0]), math.exp(reach[1]), across / (math.log(high / low)))
    axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks], fontsize=8)
    axes.grid(True, axis="x", color="#e4e4e4", linewidth=0.6)


def _ticks(low: float, high: float, scale: float) -> list[float]:
    """Ticks in the range of the bars: of the widest set that has three, with room for each. scale: pixels of log 1."""
    for ticks in TICKS:
        seen = [tick for tick in ticks if low * 0.97 <= tick <= high * 1.03]
        if len(seen) >= 3:
            room = TICK_ROOM * (1 + max(len(f"{tick:.3g}") for tick in seen))
            step = math.ceil(room / (scale * min(math.log(b / a) for a, b in pairwise(seen))))
            return [tick for place, tick in enumerate(seen, -seen.index(1.0)) if place % step == 0]
    return [1.0]


def number(ratio: float) -> str:
    """A relative time with three digits.

    >>> number(0.8941), number(0.9996), number(1.859), number(17.23)
    ('0.894', '1.00', '1.86', '17.2')
    """
    if ratio < 0.9995:
        return f"{ratio:.3f}" if ratio >= 0.1 else f"{ratio:.2g}"
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.3g}"


def _titles(figure: Figure, tornado: Tornado) -> None:
    height = figure.get_size_inches()[1]
    left, room = SIDE / WIDTH, (1 - 2 * SIDE / WIDTH) * figure.bbox.width
    for text in (
        figure.text(left, 1 - 0.3 / height, tornado.title, fontsize=12.5, weight="bold", gid="title"),
        figure.text(left, 1 - 0.55 / height, tornado.told, fontsize=8.5, color=MUTED, gid="told"),
    ):
        shrink(text, room)


def _key(figure: Figure, tornado: Tornado) -> None:
    """One line below the axes: what the colours and the star mean."""
    height = figure.get_size_inches()[1]
    rows = [row for group in tornado.groups for row in (*group.chip, *group.problem)]
    parts = [("\u00d72: the number doubled", DOUBLED), ("\u00f72: halved", HALVED),
             ("left of 1: faster; right: slower", MUTED)]  # fmt: skip
    if any(any(row.switched) for row in rows):
        parts.append(("* another kernel is the fastest there", MUTED))
    x = SIDE / WIDTH
    for words, colour in parts:
        text = figure.text(x, 0.16 / height, words, fontsize=8, color=colour, gid="key")
        x += text.get_window_extent().width / figure.bbox.width + 0.025
