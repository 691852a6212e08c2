"""Tuning landscapes: predicted against measured time of every config, the winner and the model's choice named."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..placement import Box, Scene, place
from ..words import seconds
from . import COLOURS, FAINT, INK, MUTED, page

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

MOST_PANELS = 9
"""Of one picture."""
LEFT, RIGHT, ABOVE, BELOW, TITLE_LINE = 0.85, 0.5, 0.58, 0.52, 0.24
"""Inches around the square of a panel, and of a line of the title."""
WINNER: dict[str, Any] = {"marker": "*", "markersize": 11, "color": COLOURS[2]}
CHOICE: dict[str, Any] = {"marker": "D", "markersize": 6, "color": COLOURS[1]}
BESIDE = 0.14
"""Inches from the axes to what failed."""
WIDE, VERY_WIDE = 16.0, 300.0
"""Ratios of an axis' ends from which ticks are at powers of ten and their threes, and at powers of ten alone."""


@dataclass(frozen=True, slots=True)
class Dot:
    """A config. measured_s: None where it failed. fits: whether the chip's shared memory holds it, by the model."""

    config: str
    measured_s: float | None
    predicted_s: float
    fits: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """A landscape: its configs that have a prediction, the winner (None: it has none) and the model's first choice."""

    name: str
    told: str
    dots: tuple[Dot, ...]
    winner: Dot | None
    choice: Dot | None


def draw(panels: Sequence[Panel], title: str) -> Figure:
    """The figure, of at most MOST_PANELS panels. Call it inside `pictures.style()`."""
    across = 1 if len(panels) == 1 else 2 if len(panels) <= 4 else 3
    side = {1: 5.0, 2: 3.3, 3: 2.5}[across]
    down = math.ceil(len(panels) / across)
    cell = (LEFT + side + RIGHT, ABOVE + side + BELOW)
    width = across * cell[0]
    lines = textwrap.wrap(title, int(width * 8.2))
    top = 0.2 + TITLE_LINE * len(lines)
    height = top + down * cell[1]
    figure = page(width, height)
    figure.text(0.15 / width, 1 - 0.12 / height, "\n".join(lines), fontsize=12, weight="bold", va="top", gid="title")
    for number, panel in enumerate(panels):
        row, column = divmod(number, across)
        x, y = column * cell[0] + LEFT, height - top - row * cell[1] - ABOVE - side
        axes = figure.add_axes((x / width, y / height, side / width, side / height))
        _panel(axes, panel, side, named=across == 1)
        if column == 0:
            axes.set_ylabel("predicted time (log scale)")
        if number + across >= len(panels):
            axes.set_xlabel("measured time (log scale)")
    return figure


def _panel(axes: Axes, panel: Panel, side: float, named: bool) -> None:
    """One landscape. named: whether the labels say the configs."""
    ran = [(dot.measured_s, dot) for dot in panel.dots if dot.measured_s is not None]
    failed = [dot for dot in panel.dots if dot.measured_s is None]
    every = [second for dot in panel.dots for second in (dot.measured_s, dot.predicted_s) if second is not None]
    low, high = min(every), max(every)
    margin = max(1.15, (high / low) ** 0.08)
    ends = (low / margin, high * margin)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.plot(ends, ends, color=FAINT, linewidth=0.8, zorder=1)
    for fits in (True, False):
        some = [(measured_s, dot.predicted_s) for measured_s, dot in ran if dot.fits == fits]
        axes.plot([x for x, _ in some], [y for _, y in some], linestyle="none", marker="o",
                  markersize=4, markerfacecolor=COLOURS[0] if fits else "white", alpha=0.85, zorder=2,
                  markeredgecolor="white" if fits else COLOURS[0], markeredgewidth=0.4 if fits else 0.9)  # fmt: skip
    if failed:
        axes.plot([1 + BESIDE / side] * len(failed), [dot.predicted_s for dot in failed], linestyle="none", marker="x",
                  markersize=4, color=INK, markeredgewidth=0.9, transform=axes.get_yaxis_transform(),
                  clip_on=False)  # fmt: skip
        axes.text(1 + 2 * BESIDE / side, 0.5, "failed", transform=axes.transAxes, fontsize=7.5, ha="left", va="center",
                  rotation=90, gid="failed")  # fmt: skip
    for axis in (axes.xaxis, axes.yaxis):
        _ticks(axis, ends, few=side < 3)
    axes.tick_params(labelsize=7.5 if side < 3 else 8.5)
    _heading(axes, panel, side)
    _marks(axes, panel, 1 + BESIDE / side, named)


def _ticks(axis: Axis, ends: tuple[float, float], few: bool) -> None:
    """Times with their units, few enough to stand side by side."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    ratio = ends[1] / ends[0]
    if ratio >= WIDE:
        subs = (1.0, 3.0) if ratio < VERY_WIDE else (1.0,)
        axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=5 if few else 8))
    else:
        axis.set_major_locator(MaxNLocator(3 if few else 5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value) if value > 0 else ""))


def _heading(axes: Axes, panel: Panel, side: float) -> None:
    """The landscape's name in at most two lines, and its numbers."""
    letters = int((side + RIGHT) * 14.5)
    lines = textwrap.wrap(panel.name, letters)
    if len(lines) > 2:
        lines = [lines[0], textwrap.shorten(" ".join(lines[1:]), letters, placeholder=" …")]
    axes.text(0, 1 + 0.24 / side, "\n".join(lines), transform=axes.transAxes, fontsize=7.5, weight="bold",
              va="bottom", linespacing=1.1, gid="panel")  # fmt: skip
    axes.text(0, 1 + 0.07 / side, panel.told, transform=axes.transAxes, fontsize=7.5, color=MUTED, va="bottom",
              gid="numbers")  # fmt: skip


def _marks(axes: Axes, panel: Panel, beside: float, named: bool) -> None:
    """The winner and the model's first choice, with their names; what failed is `beside` the axes."""
    from matplotlib.backends.backend_agg import RendererAgg

    marked = []
    if panel.winner is not None:
        same = panel.winner == panel.choice
        marked.append((panel.winner, WINNER, "winner and model's first choice" if same else "winner"))
    if panel.choice is not None and panel.choice != panel.winner:
        lost = " (failed)" if panel.choice.measured_s is None else ""
        marked.append((panel.choice, CHOICE, "model's first choice" + lost))
    canvas: Any = axes.figure.canvas
    renderer: RendererAgg = canvas.get_renderer()
    anchors, texts = [], []
    for dot, look, name in marked:
        x, where = (beside, axes.get_yaxis_transform()) if dot.measured_s is None else (dot.measured_s, axes.transData)
        axes.plot([x], [dot.predicted_s], linestyle="none", markeredgecolor=INK, markeredgewidth=0.6, zorder=4,
                  transform=where, clip_on=False, **look)  # fmt: skip
        label = "\n".join([name, *_config(dot)] if named else textwrap.wrap(name, 16))
        text = axes.text(1, 1, label, fontsize=7.5, color=look["color"], weight="bold", linespacing=1.15, zorder=5,
                         va="bottom", gid="label")  # fmt: skip
        px, py = where.transform((x, dot.predicted_s))
        anchors.append((float(px), float(py)))
        texts.append(text)
    # Letters are set a little wider at other resolutions than that of the layout.
    sizes = [(e.width * 1.06 + 6, e.height + 4) for e in (text.get_window_extent(renderer) for text in texts)]
    area = axes.get_window_extent()
    ran = [(dot.measured_s, dot.predicted_s) for dot in panel.dots if dot.measured_s is not None]
    points = axes.transData.transform(ran) if ran else ()
    taken = [Box(float(x) - 4, float(y) - 4, float(x) + 4, float(y) + 4) for x, y in points]
    taken += [Box(x - 9, y - 9, x + 9, y + 9) for x, y in anchors]
    scene = Scene(
        Box(area.x0 + 2, area.y0 + 2, area.x1 - 2, area.y1 - 2),
        tuple(taken),
        (((area.x0, area.y0), (area.x1, area.y1)),),
    )
    back = axes.transData.inverted()
    for text, anchor, box in zip(texts, anchors, place(anchors, sizes, scene), strict=True):
        x, y = back.transform((box.x0 + 3, box.y0 + 2))
        text.set_position((float(x), float(y)))
        end = box.nearest(*anchor)
        if math.dist(end, anchor) > 12:
            line = back.transform([anchor, end])
            axes.plot(line[:, 0], line[:, 1], color=INK, linewidth=0.5, zorder=3, clip_on=False)


def _config(dot: Dot) -> list[str]:
    """A config in lines of a label."""
    parts = dot.config.replace(";", " ").replace(", ", " ")
    time = "" if dot.measured_s is None else f"{seconds(dot.measured_s)}: "
    return textwrap.wrap(time + parts, 30)
