"""Predicted against measured latencies as a picture: a panel for each operation, a colour for each split or chip."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...simulator.errors import InputError
from ..words import seconds
from . import COLOURS, FAINT, INK, MUTED, PICTURE_FORMATS, encode, page, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]
Pair = tuple[Floats, Floats]
"""Measured and predicted seconds."""
Panels = Mapping[str, Mapping[str, Pair]]
"""Panel -> colour -> rows."""

SIDE, STRIP, GAP = 2.5, 0.8, 0.12
"""Inches: the square of a panel, the height of the strip below it, what is between them."""
CELL = (SIDE + 0.85, SIDE + GAP + STRIP + 0.85)
TOP, FOOT, LEFT, TITLE_LINE, KEY_LINE, KEY_ENTRY = 0.45, 0.45, 0.25, 0.23, 0.19, 1.25
LETTERS = 7.8
"""Of the title, an inch."""
MOST_COLUMNS = 4
BANDS = ((1.25, "#e6e6e6"), (1.10, "#c4c4c4"))
"""Factors up and down from the measured time, and what is painted between."""
RATIOS = (0.5, 2.0)
"""Limits of the strips; points beyond lie on their edges."""
FEW_POINTS = 600
"""Of a panel, up to which they are drawn larger."""
MOST_POINTS = 4000
"""Drawn of each colour in a panel; numbers count all rows."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """Rows of one panel and one colour: seconds, NaN where nothing is predicted."""

    panel: str
    colour: str
    """What the colour stands for: a split, a chip."""
    measured_s: Floats
    predicted_s: Floats


def predicted_vs_measured(clouds: Sequence[Cloud], path: Path, title: str = "Predicted and measured latency") -> bytes:
    """The picture's bytes in the format of the path's suffix. Raises InputError for another suffix, or without rows.

    Clouds with the same panel and colour are drawn as one. Panels and colours come in the order of their first cloud.
    """
    form = path.suffix.removeprefix(".").lower()
    if form not in PICTURE_FORMATS:
        raise InputError(f"cannot draw {path.name!r}: choose a name that ends in {', '.join(PICTURE_FORMATS)}")
    panels = gather(clouds)
    if not panels:
        raise InputError("no row has both a measured and a predicted latency: nothing to draw")
    with style():
        return encode(draw(panels, title), form)


def gather(clouds: Sequence[Cloud]) -> Panels:
    """Panel -> colour -> measured and predicted seconds of the rows that have both; nothing empty."""
    found: dict[str, dict[str, list[Cloud]]] = {}
    for cloud in clouds:
        found.setdefault(cloud.panel, {}).setdefault(cloud.colour, []).append(cloud)
    panels = {
        panel: {colour: pair for colour, members in colours.items() if len((pair := _together(members))[0])}
        for panel, colours in found.items()
    }
    return {panel: colours for panel, colours in panels.items() if colours}


def _together(clouds: Sequence[Cloud]) -> Pair:
    measured = np.concatenate([cloud.measured_s for cloud in clouds])
    predicted = np.concatenate([cloud.predicted_s for cloud in clouds])
    known = np.isfinite(measured) & np.isfinite(predicted) & (measured > 0) & (predicted > 0)
    return measured[known], predicted[known]


def draw(panels: Panels, title: str, names: Sequence[str] = ()) -> Figure:
    """The figure. Call it inside `pictures.style()`.

    names: what colours may stand for, in order, so that pictures of other panels have the same colours.
    """
    across = min(MOST_COLUMNS, math.ceil(math.sqrt(len(panels))))
    down = math.ceil(len(panels) / across)
    drawn = dict.fromkeys(colour for colours in panels.values() for colour in colours)
    looks = {name: look for name, look in _looks(list(dict.fromkeys((*names, *drawn)))).items() if name in drawn}
    width = LEFT + across * CELL[0]
    lines = textwrap.wrap(title, int(width * LETTERS))
    top = TOP + TITLE_LINE * (len(lines) - 1)
    key_columns = max(1, min(len(looks) + len(BANDS), int(width / KEY_ENTRY)))
    foot = FOOT + KEY_LINE * (math.ceil((len(looks) + len(BANDS)) / key_columns) - 1)
    height = top + down * CELL[1] + foot
    figure = page(width, height)
    for number, (panel, colours) in enumerate(panels.items()):
        row, column = divmod(number, across)
        x, y = LEFT + column * CELL[0] + 0.6, height - top - row * CELL[1] - 0.4
        square = figure.add_axes((x / width, (y - SIDE) / height, SIDE / width, SIDE / height))
        below = (y - SIDE - GAP - STRIP) / height
        strip = figure.add_axes((x / width, below, SIDE / width, STRIP / height), sharex=square)
        _panel(square, strip, colours, looks)
        _numbers(square, panel, colours)
        if column == 0:
            square.set_ylabel("predicted latency")
            strip.set_ylabel("predicted /\nmeasured")
        if number + across >= len(panels):
            strip.set_xlabel("measured latency")
    figure.text(0.15 / width, 1 - 0.12 / height, "\n".join(lines), fontsize=13, weight="bold", va="top", gid="title")
    _key(figure, looks, key_columns)
    return figure


def _looks(names: Sequence[str]) -> dict[str, Any]:
    """A colour for each name: of the palette, or where it is too short, along the rainbow."""
    from matplotlib import colormaps

    if len(names) <= len(COLOURS):
        return dict(zip(names, COLOURS, strict=False))
    return dict(zip(names, colormaps["turbo"](np.linspace(0.05, 0.95, len(names))), strict=True))


def _panel(square: Axes, strip: Axes, colours: Mapping[str, Pair], looks: Mapping[str, Any]) -> None:
    """Predictions over measurements in bands around the diagonal; below, their ratio in the same bands."""
    every = np.concatenate([times for pair in colours.values() for times in pair])
    ends = np.array([every.min() / 1.5, every.max() * 1.5])
    for factor, shade in BANDS:
        square.fill_between(ends, ends / factor, ends * factor, color=shade, linewidth=0, zorder=0)
        strip.axhspan(1 / factor, factor, color=shade, linewidth=0, zorder=0)
    square.plot(ends, ends, color=INK, linewidth=0.7, zorder=3)
    strip.axhline(1, color=INK, linewidth=0.7, zorder=3)
    (measured, predicted), shades = _mixed(colours, looks)
    size, alpha = (3, 0.35) if len(shades) > FEW_POINTS else (10, 0.6)
    marks: dict[str, Any] = {"s": size, "c": shades, "linewidths": 0, "alpha": alpha, "zorder": 2, "rasterized": True}
    square.scatter(measured, predicted, **marks)
    strip.scatter(measured, np.clip(predicted / measured, *RATIOS), clip_on=False, **marks)
    for axes in (square, strip):
        axes.set_xscale("log")
        axes.set_yscale("log")
    square.set_xlim(*ends)
    square.set_ylim(*ends)
    strip.set_ylim(*RATIOS)
    _ticks(square, strip)


def _numbers(axes: Axes, name: str, colours: Mapping[str, Pair]) -> None:
    """The panel's title: name, rows, mean error."""
    error = np.concatenate([np.abs(predicted / measured - 1) for measured, predicted in colours.values()])
    axes.text(0, 1.115, name, transform=axes.transAxes, fontsize=10, weight="bold", gid="panel")
    told = f"{len(error):,} rows, MAPE {100 * error.mean():.1f} %"
    axes.text(0, 1.035, told, transform=axes.transAxes, fontsize=8.5, color=MUTED, gid="numbers")


def _mixed(colours: Mapping[str, Pair], looks: Mapping[str, Any]) -> tuple[Floats, list[Any]]:
    """Points of all colours in one random order (the same each time), so that none lies on top of the others."""
    generator = np.random.default_rng(0)
    points, shades = [], []
    for name, pair in colours.items():
        rows = np.stack(pair)
        if rows.shape[1] > MOST_POINTS:
            rows = rows[:, generator.choice(rows.shape[1], MOST_POINTS, replace=False)]
        points.append(rows)
        shades += [looks[name]] * rows.shape[1]
    order = generator.permutation(len(shades))
    return np.concatenate(points, axis=1)[:, order], [shades[index] for index in order]


def _ticks(square: Axes, strip: Axes) -> None:
    """Powers of ten as plain times; on the strip the ratios at the bands' edges are enough."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator

    for axis in (square.xaxis, square.yaxis):
        axis.set_major_locator(LogLocator(base=10, numticks=6))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value)))
    strip.yaxis.set_major_locator(FixedLocator([RATIOS[0], 1, RATIOS[1]]))
    strip.yaxis.set_minor_locator(NullLocator())
    strip.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    square.tick_params(labelsize=8, labelbottom=False)
    strip.tick_params(labelsize=8)


def _key(figure: Figure, looks: Mapping[str, Any], columns: int) -> None:
    """At the foot: what colours and bands stand for."""
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=colour, label=name) for name, colour in looks.items()]
    handles += [Patch(color=shade, label=f"within {100 * (factor - 1):.0f} %") for factor, shade in reversed(BANDS)]
    figure.legend(
        handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=8, handlelength=1.0,
        handleheight=1.0, labelcolor=INK, edgecolor=FAINT,
    )  # fmt: skip
