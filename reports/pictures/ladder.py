"""The speedup ladder as a waterfall: a bar for each rung, what is lost to it hatched, the reason beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...simulator.prediction import FLOORS
from ..ladder import Ladder, Step, without_promise
from ..words import seconds, times, workload
from . import COLOURS, FAINT, INK, page, titles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 11.0
"""Inches, as all sizes here."""
ROW, HEAD, AXIS, TOP, FOOT = 0.5, 0.42, 0.5, 0.75, 0.1
"""A rung, the name of a variant, its axis, the titles, the margin below."""
BARS = (1.35, 3.9)
"""Left edge and width of the bars."""
REASONS, REASON_WIDTH = 5.5, 78
"""Where reasons begin, and characters in a line of them; at most three lines fit a rung."""
REASON_LINES = 3
PROMISED, KEPT, MEASURED = "#d9d9d9", COLOURS[0], COLOURS[2]
ROOM = 1.45
"""The axis reaches so far beyond the longest bar: its label stands there."""


def draw(ladders: Sequence[Ladder]) -> Figure:
    """Ladders of one chip below each other. Call it inside `pictures.style()`. Sizes are chosen for a few."""
    named = len(ladders) > 1 or bool(ladders[0].missing)
    heights = [HEAD * named + ROW * len(one.steps) + AXIS for one in ladders]
    height = TOP + sum(heights) + FOOT
    figure = page(WIDTH, height)
    top = height - TOP
    for one, own in zip(ladders, heights, strict=True):
        _band(figure, one, top, height, named)
        top -= own
    _titles(figure, ladders, height)
    return figure


def finding(ladders: Sequence[Ladder]) -> str:
    """What ladders show together: which variant keeps most of its promise, and which least."""
    kept = {one.prediction.variant.id: share for one in ladders if (share := one.kept) is not None}
    if len(ladders) == 1 or not kept:
        return ladders[0].finding if len(ladders) == 1 else without_promise(ladders)
    most, least = max(kept, key=lambda name: kept[name]), min(kept, key=lambda name: kept[name])
    # Without a schedule the last rung is a floor: no kernel keeps more.
    floors = all(one.steps[-1].rung in FLOORS for one in ladders if one.kept is not None)
    said = f"{most} keeps {'at most ' if floors else ''}{kept[most]:.0%} of its promised speedup"
    return said if most == least else f"{said}, {least} {kept[least]:.0%}"


def _titles(figure: Figure, ladders: Sequence[Ladder], height: float) -> None:
    """What is seen; below it the workload."""
    first = ladders[0].prediction
    title = f"{first.hardware.title}: {finding(ladders)}"
    about = f"{workload(first)}. Hatched: lost or gained on the step from the rung above."
    heights = 1 - 0.3 / height, 1 - 0.52 / height
    titles(figure, title, about, 0.15 / WIDTH, heights, 0.95 * figure.bbox.width)


def _band(figure: Figure, one: Ladder, top: float, height: float, named: bool) -> None:
    """One ladder: its name (where the title does not say it), bars, reasons."""
    rows = len(one.steps)
    bottom = top - HEAD * named - ROW * rows
    left, width = BARS
    axes = figure.add_axes((left / WIDTH, bottom / height, width / WIDTH, ROW * rows / height))
    name = one.finding if not one.missing else f"{one.finding} ({one.missing})"
    shown = textwrap.shorten(name, 125, placeholder=" ...")
    if named:
        figure.text(0.15 / WIDTH, (top - 0.25) / height, shown, fontsize=10, weight="bold", gid="name")
    values = [step.speedup if one.relative and step.speedup is not None else step.time_s for step in one.steps]
    _frame(axes, one, values)
    for row, (step, value) in enumerate(zip(one.steps, values, strict=True)):
        _bar(axes, row, step, value, values[row - 1] if row else value, one.relative)
        lines = textwrap.wrap(step.why, REASON_WIDTH, max_lines=REASON_LINES, placeholder=" ...")
        figure.text(
            REASONS / WIDTH, (bottom + ROW * (rows - row - 0.5)) / height, "\n".join(lines), fontsize=7.5,
            va="center", color=INK, linespacing=1.15, gid="reason",
        )  # fmt: skip


def _name(step: Step) -> str:
    return step.rung if step.rung == step.mark else f"{step.rung}\n({step.mark})"


def _frame(axes: Axes, one: Ladder, values: Sequence[float]) -> None:
    """Rungs from top to bottom, the quantity along x."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.set_ylim(len(one.steps) - 0.5, -0.5)
    axes.set_yticks(range(len(one.steps)), [_name(step) for step in one.steps], fontsize=8)
    axes.set_xlim(0, max(values) * ROOM)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if one.relative:
        over = one.prediction.baseline_variant.id
        axes.set_xlabel(f"speedup over {over} at the same rung (ratio)", fontsize=8, labelpad=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
        axes.axvline(1, color=FAINT, linewidth=0.8, zorder=0.5)
    else:
        axes.set_xlabel("time (s)", fontsize=8, labelpad=2)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value) if value else "0"))
    axes.tick_params(axis="x", labelsize=7.5, pad=2)
    axes.tick_params(axis="y", length=0)


def _bar(axes: Axes, row: int, step: Step, value: float, before: float, relative: bool) -> None:
    """A rung's bar, the difference to the rung above hatched, and what it is in numbers."""
    colour = MEASURED if step.rung == "measured" else PROMISED if step.rung in FLOORS else KEPT
    look: dict[str, Any] = {"height": 0.62, "edgecolor": INK, "linewidth": 0.6}
    axes.barh(row, min(value, before), color=colour, **look)
    if value != before:
        axes.barh(row, abs(value - before), left=min(value, before), color="white", hatch="////", **look)
    said = f"{times(value)}  {seconds(step.time_s)}" if relative else seconds(value)
    axes.annotate(
        said, (max(value, before), row), (4, 0), textcoords="offset points", va="center", fontsize=8,
        weight="bold" if step.rung not in FLOORS else "normal", annotation_clip=False,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
    )  # fmt: skip
