"""Time and memory of variants against the sequence length, with the lengths at which they pass dense attention."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..placement import Box, Scene, Segment, place, spread
from ..words import amount, seconds
from . import COLOURS, FAINT, INK, LAYOUT_DPI, page, titles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

SIZE_INCHES = (11.0, 8.4)
LEFT, WIDTH = 0.085, 0.615
"""Of the panels, as shares of the picture; the lines' names stand to the right."""
TIME_PANEL, MEMORY_PANEL = (0.425, 0.48), (0.085, 0.285)
"""Bottom and height of the panels."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.2, 1.6)), (0, (6, 1.6, 1.2, 1.6)))
"""One after another when all colours are used."""
MOST_BANDS = 4
"""Lines up to which their likely ranges are drawn."""
MOST_NUMBERS = 6
"""Crossovers up to which the length is said at the mark too; it is always said at the line's end."""
LINE = 1.4
"""Height of a line of text over the size of its type."""
MOST_GROUPS = 14
"""Different lines of the lower panel up to which all are named; of more, the operands are told together."""
BINARY = ((2**30, "G"), (2**20, "M"), (2**10, "k"))


@dataclass(frozen=True, slots=True)
class Path:
    """A variant's line. seconds, low, high, held, cache stand for `Sheet.lengths`, None where unknown (bytes for the
    last two). crossing: (length, seconds) from where on it is faster than the baseline. told: what its label adds.
    baseline: what the others are compared with; reference: the same for some of them alone."""

    label: str
    seconds: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    held: tuple[float | None, ...]
    cache: tuple[float | None, ...]
    told: str = ""
    crossing: tuple[int, float] | None = None
    baseline: bool = False
    reference: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one chip's picture shows. x_label, time_label: names of axes; the ticks carry the units."""

    title: str
    workload: str
    x_label: str
    time_label: str
    lengths: tuple[int, ...]
    paths: tuple[Path, ...]


def tokens(length: float) -> str:
    """A length as command lines take it.

    >>> tokens(8192), tokens(1536), tokens(3073)
    ('8k', '1,536', '3,073')
    """
    for factor, letter in BINARY:
        if length >= factor and length % factor == 0:
            return f"{length / factor:,.0f}{letter}"
    return f"{length:,.0f}"


def draw(sheet: Sheet) -> Figure:
    """The picture. Call it inside `pictures.style()`."""
    figure = page(*SIZE_INCHES)
    canvas: Any = figure.canvas
    renderer: RendererAgg = canvas.get_renderer()
    time = figure.add_axes((LEFT, TIME_PANEL[0], WIDTH, TIME_PANEL[1]))
    memory = figure.add_axes((LEFT, MEMORY_PANEL[0], WIDTH, MEMORY_PANEL[1]))
    looks = [_look(path, index) for index, path in enumerate(sheet.paths)]
    for path, look in zip(sheet.paths, looks, strict=True):
        _draw_time(time, sheet, path, look)
    _frame(time, sheet.lengths, seconds, sheet.time_label, named=False)
    _label_ends(time, renderer, [
        (f"{p.label}{f'  {p.told}' if p.told else ''}", _end(sheet.lengths, p.seconds), look)
        for p, look in zip(sheet.paths, looks, strict=True)
    ])  # fmt: skip
    _label_crossings(time, renderer, sheet)
    _draw_memory(memory, renderer, sheet, looks)
    memory.set_xlabel(sheet.x_label)
    _titles(figure, sheet)
    return figure


def _look(path: Path, index: int) -> dict[str, Any]:
    if path.baseline:
        return {"color": INK, "linewidth": 2.0, "linestyle": "-"}
    if path.reference:
        return {"color": INK, "linewidth": 1.0, "linestyle": (0, (4, 2))}
    dashes = DASHES[index // len(COLOURS) % len(DASHES)]
    return {"color": COLOURS[index % len(COLOURS)], "linewidth": 1.4, "linestyle": dashes}


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [math.nan if value is None else value for value in values]


def _draw_time(axes: Axes, sheet: Sheet, path: Path, look: dict[str, Any]) -> None:
    """A line with its likely range, and a ring where it passes the baseline."""
    marker = "o" if len(sheet.lengths) == 1 else None
    axes.plot(sheet.lengths, _numbers(path.seconds), marker=marker, zorder=4 if path.baseline else 3, **look)
    if len(sheet.paths) <= MOST_BANDS and len(sheet.lengths) > 1:
        axes.fill_between(sheet.lengths, _numbers(path.low), _numbers(path.high), color=look["color"], alpha=0.12,
                          linewidth=0, zorder=1)  # fmt: skip
    if path.crossing is not None:
        axes.plot(*[[value] for value in path.crossing], marker="o", markersize=6.5, markerfacecolor="white",
                  markeredgecolor=look["color"], markeredgewidth=1.6, linestyle="none", zorder=5,
                  clip_on=False)  # fmt: skip


def _frame(axes: Axes, lengths: Sequence[int], told: Callable[[float], str], label: str, named: bool) -> None:
    """Log axes with units at the ticks; lengths in powers of two."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    low, high = min(lengths), max(lengths)
    axes.set_xlim((low, high) if high > low else (low / 2, low * 2))
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    steps = range(first, last + 1, max(1, math.ceil((last - first) / 11)))
    axes.xaxis.set_major_locator(FixedLocator([float(2**step) for step in steps] or [float(low)]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: tokens(x)) if named else NullFormatter())
    axes.yaxis.set_major_locator(LogLocator(base=10, numticks=30))
    axes.yaxis.set_minor_formatter(NullFormatter())
    drawn: Any = axes.lines
    known = [float(y) for line in drawn for y in line.get_ydata() if not math.isnan(y)]
    least, most = min(known), max(known)
    margin = max((most / least) ** 0.06, 1.2 if most / least > 4 else 2.0)
    axes.set_ylim(least / margin, most * margin)
    if most / least * margin**2 < 30:
        axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=30))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: told(y)))
    axes.set_ylabel(label)
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def _end(lengths: Sequence[int], values: Sequence[float | None]) -> tuple[float, float] | None:
    """The last point that is known."""
    known = [(float(x), y) for x, y in zip(lengths, values, strict=True) if y is not None]
    return known[-1] if known else None


Labelled = tuple[str, tuple[float, float] | None, dict[str, Any]]


def _label_ends(axes: Axes, renderer: RendererAgg, labels: Sequence[Labelled]) -> None:
    """Names to the right of the lines, moved apart, each tied to its line's last point."""
    shown = [(text, end, look) for text, end, look in labels if end is not None]
    if not shown:
        return
    area = axes.get_window_extent()
    room = axes.get_figure().bbox.x1 - area.x1 - 34  # type: ignore[union-attr]
    size = min(8.5, ((area.height + 26) / len(shown) - 2) * 72 / LAYOUT_DPI / LINE)
    texts = [axes.text(0, 0, text, fontsize=size, va="center") for text, _, _ in shown]
    for text in texts:
        _shorten(text, renderer, room)
    inverse = axes.transData.inverted()
    ends = [axes.transData.transform(end) for _, end, _ in shown]
    heights = [text.get_window_extent(renderer).height + 1.5 for text in texts]
    centres = spread([float(y) for _, y in ends], heights, area.y0 - 10, area.y1 + 16)
    for text, (_, _, look), (x, y), centre in zip(texts, shown, ends, centres, strict=True):
        text.set_position(tuple(inverse.transform((area.x1 + 28, centre))))
        corners = inverse.transform([(x, y), (area.x1 + 4, y), (area.x1 + 19, centre), (area.x1 + 25, centre)])
        axes.plot(corners[:, 0], corners[:, 1], clip_on=False, color=look["color"], linewidth=0.8, zorder=2)


def _shorten(text: Text, renderer: RendererAgg, room: float) -> None:
    """Names after the first few become a number where they do not all fit."""
    names = text.get_text().split(", ")
    kept = len(names)
    while text.get_window_extent(renderer).width > room and kept > 1:
        kept -= 1
        text.set_text(f"{', '.join(names[:kept])} and {len(names) - kept} more")


def _label_crossings(axes: Axes, renderer: RendererAgg, sheet: Sheet) -> None:
    """The lengths beside the rings, where they are few."""
    marks = [path.crossing for path in sheet.paths if path.crossing is not None]
    if not 0 < len(marks) <= MOST_NUMBERS:
        return
    anchors = [_pixels(axes, mark) for mark in marks]
    texts = [axes.text(0, 0, f"{length:,}", fontsize=8, ha="center", va="center", zorder=6)
             for length, _ in marks]  # fmt: skip
    extents = [text.get_window_extent(renderer) for text in texts]
    rings = tuple(Box(x - 6, y - 6, x + 6, y + 6) for x, y in anchors)
    area = axes.get_window_extent()
    scene = Scene(Box(area.x0 + 2, area.y0 + 2, area.x1 - 2, area.y1 - 2), rings, tuple(_segments(axes, sheet)))
    boxes = place(anchors, [(e.width + 4, e.height + 3) for e in extents], scene)
    inverse = axes.transData.inverted()
    for text, box, anchor in zip(texts, boxes, anchors, strict=True):
        text.set_position(tuple(inverse.transform(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))))
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5})
        end = box.nearest(*anchor)
        if math.dist(end, anchor) > 12:
            tied = inverse.transform([anchor, end])
            axes.plot(tied[:, 0], tied[:, 1], color=FAINT, linewidth=0.7, zorder=4.5)


def _pixels(axes: Axes, point: tuple[float, float]) -> tuple[float, float]:
    x, y = axes.transData.transform(point)
    return float(x), float(y)


def _segments(axes: Axes, sheet: Sheet) -> list[Segment]:
    """The lines in pixels, which labels avoid."""
    found = []
    for path in sheet.paths:
        known = [_pixels(axes, (x, y)) for x, y in zip(sheet.lengths, path.seconds, strict=True) if y is not None]
        found += list(itertools.pairwise(known))
    return found


def _draw_memory(axes: Axes, renderer: RendererAgg, sheet: Sheet, looks: Sequence[dict[str, Any]]) -> None:
    """What a call reads and writes, and dashed the cache that it leaves; equal lines share a label."""
    groups: dict[tuple[str, tuple[Any, ...]], list[int]] = {}
    for index, path in enumerate(sheet.paths):
        for kind, values in (("operands", path.held), ("cache", path.cache)):
            if any(value for value in values):
                key = tuple(None if not value else float(f"{value:.3g}") for value in values)
                groups.setdefault((kind, key), []).append(index)
    many = len(groups) > MOST_GROUPS
    marker = "o" if len(sheet.lengths) == 1 else None
    labels: list[Labelled] = []
    operands: list[tuple[float, float]] = []
    for (kind, values), members in groups.items():
        look = looks[members[0]] | {"linestyle": "-" if kind == "operands" else (0, (3, 2)), "linewidth": 1.3}
        end = _end(sheet.lengths, values)
        if many and kind == "operands":
            look |= {"color": FAINT, "linewidth": 0.8}
            operands += [end] if end else []
        else:
            labels.append((f"{kind}: {', '.join(sheet.paths[i].label for i in members)}", end, look))
        axes.plot(sheet.lengths, _numbers(values), marker=marker, zorder=3, **look)
    if operands:
        least, most = min(y for _, y in operands), max(y for _, y in operands)
        told = f"operands of all: {amount(least, 'B')} to {amount(most, 'B')}"
        labels.append((told, max(operands, key=lambda end: end[1]), {"color": FAINT}))
    _frame(axes, sheet.lengths, lambda y: amount(y, "B"), "bytes of a layer (counted)", named=True)
    _label_ends(axes, renderer, labels)


def _titles(figure: Figure, sheet: Sheet) -> None:
    """What is seen, and the workload below it."""
    titles(figure, sheet.title, sheet.workload, LEFT, (0.958, 0.931), (0.985 - LEFT) * figure.bbox.width)
