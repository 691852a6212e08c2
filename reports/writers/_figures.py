"""Charts as plotly figures in plain JSON, with what a page needs to switch them.

Every trace has a `meta`: `chip` and `variant` where it belongs to one, `chips` where each of its points does, `values`
(quantity -> y) where the quantity is switched, `quantity` where it is drawn for one alone, `legend` where it stands for
a name in the legend and no data.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from ..document import Chart, Line, Point, Quantity
from ..pictures import COLOURS, FAINT

SYMBOLS = (
    "circle", "square", "diamond", "triangle-up", "cross", "x", "star", "triangle-down", "pentagon", "hexagram",
    "hourglass", "bowtie", "star-triangle-up", "star-diamond", "diamond-tall", "triangle-left",
)  # fmt: skip
"""Of chips."""
ANY_CHIP = "diamond-wide"
FILLS = ("", "-open", "-open-dot", "-dot")
SHADES = (1.0, 0.45, 0.15)
"""Of variants whose colours are used up: of symbols, and of bars."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
PATTERNS = ("", "/", "x", ".", "-", "|", "+", "\\")
SIZE = 10
SPREAD = 0.8
"""Share of a category's room that its points take."""
STEPS = 12
"""Points along each piece of a line, where a reader may hover."""
PREFIXED = ("s", "B", "FLOP", "FLOP/s", "B/s", "J", "Hz")
"""Units that take SI prefixes."""


def figure(chart: Chart, chips: Sequence[str], variants: Sequence[str]) -> dict[str, Any]:
    """Traces and layout of a chart. chips, variants: all names of the page, whose order gives the looks."""
    groups: dict[tuple[str | None, str], list[Point]] = {}
    for point in chart.points:  # points of a variant share a trace: thousands of traces are slow
        groups.setdefault((None if chart.kind == "points" else point.chip, point.variant), []).append(point)
    looks = Looks(chart, chips, variants)
    traces = [_line(line, chart, looks) for line in chart.lines]
    traces += [_series(chip, variant, points, chart, looks) for (chip, variant), points in groups.items()]
    traces += _legend((point.chip for point in chart.points), "chip", looks)
    traces += _legend((point.variant for point in chart.points), "variant", looks)
    layout: dict[str, Any] = {
        "xaxis": axis(chart.x_label, chart.x_log), "yaxis": y_axis(chart.quantities[0]), "hovermode": "closest",
        "barmode": "group", "margin": {"t": 32, "r": 16, "b": 56, "l": 64}, "legend": {"tracegroupgap": 8},
    }  # fmt: skip
    categories = [x for x in dict.fromkeys(point.x for point in chart.points) if isinstance(x, str)]
    if categories:
        title = {"text": markup(chart.x_label)}
        layout["xaxis"] = {"title": title, "type": "category", "automargin": True, "showgrid": False}
    if categories and chart.kind == "points":
        _spread(traces, categories, layout["xaxis"])
    return {"data": traces, "layout": layout}


def _spread(traces: Sequence[dict[str, Any]], categories: Sequence[str], x_axis: dict[str, Any]) -> None:
    """Put the variants of a category side by side, in place of one over the other; done in place."""
    series = [trace for trace in traces if "chips" in trace["meta"]]
    places = {markup(name): index for index, name in enumerate(categories)}
    for rank, trace in enumerate(series):
        aside = SPREAD * ((rank + 0.5) / len(series) - 0.5)
        trace["x"] = [round(places[x] + aside, 4) for x in trace["x"]]
    x_axis |= {"type": "linear", "tickvals": [*places.values()], "ticktext": [*places], "zeroline": False,
               "range": [-0.5, len(categories) - 0.5]}  # fmt: skip


def axis(label: str, log: bool) -> dict[str, Any]:
    """An axis with its title; ticks as its unit, which stands in brackets in the label, is written.

    >>> axis("work done (useful FLOP/s)", True)["tickformat"], axis("speedup (ratio)", True)["tickformat"]
    ('~s', ',~r')
    """
    unit = re.search(r"([^\s(]+)\)", label)
    return {
        "title": {"text": markup(label)}, "type": "log" if log else "linear", "automargin": True,
        "tickformat": "~s" if unit and unit[1] in PREFIXED else ",~r",
    }  # fmt: skip


def y_axis(quantity: Quantity) -> dict[str, Any]:
    """The vertical axis of a quantity; its title carries the mark."""
    return axis(f"{quantity.label}, {quantity.mark}", quantity.log)


def markup(text: str) -> str:
    """Text that plotly shows as it is."""
    return html.escape(text, quote=False)


class Looks:
    """Colours by variant, symbols, dashes and patterns by chip: by the order of the page's names."""

    def __init__(self, chart: Chart, chips: Sequence[str], variants: Sequence[str]) -> None:
        self._kind = chart.kind
        self._chips = {name: index for index, name in enumerate(chips)}
        self._variants = {name: index for index, name in enumerate(variants)}

    def of(self, chip: str | None, variant: str | None) -> dict[str, Any]:
        """Type, mode, marker and line; what is common to all chips or all variants where None."""
        row = 0 if chip is None else self._chips[chip]
        cycle, place = divmod(0 if variant is None else self._variants[variant], len(COLOURS))
        colour = {} if variant is None else {"color": COLOURS[place]}
        if self._kind == "bars":
            shape = PATTERNS[row % len(PATTERNS)]
            shade = shaded(COLOURS[place] if colour else FAINT, SHADES[cycle % len(SHADES)])
            if chip is None or variant is None:  # bars without data would take the place of others
                fill = {"fill": "toself", "fillcolor": shade}
                pattern = {} if chip is None else {"fillpattern": {"shape": shape}}
                return {"type": "scatter", "mode": "none", **fill, **pattern}
            edge = {"color": COLOURS[place], "width": 1.5}
            return {"type": "bar", "marker": {"color": shade, "line": edge, "pattern": {"shape": shape}}}
        symbol = ANY_CHIP if chip is None else SYMBOLS[row % len(SYMBOLS)]
        marker = {"symbol": symbol + FILLS[cycle % len(FILLS)], "size": SIZE, **colour}
        if self._kind == "points":
            return {"type": "scatter", "mode": "markers", "marker": marker}
        line = {"dash": DASHES[row % len(DASHES)], "width": 2, **colour}
        return {"type": "scatter", "mode": "lines+markers", "marker": {**marker, "size": SIZE - 3}, "line": line}

    def dash(self, chip: str) -> str:
        """Of a chip's lines."""
        return DASHES[self._chips[chip] % len(DASHES)]


def shaded(colour: str, opacity: float) -> str:
    """A colour of six hexadecimal digits that lets the page through.

    >>> shaded("#0072B2", 0.5)
    'rgba(0,114,178,0.5)'
    """
    return f"rgba({','.join(map(str, bytes.fromhex(colour[1:])))},{opacity:g})"


def _series(chip: str | None, variant: str, points: Sequence[Point], chart: Chart, looks: Looks) -> dict[str, Any]:
    """One variant, on one chip or on all."""
    if chart.kind == "lines" and all(_is_number(p.x) for p in points):
        points = sorted(points, key=lambda point: float(point.x))
    values = {q.key: [number(point.values.get(q.key)) for point in points] for q in chart.quantities}
    trace = looks.of(points[0].chip, variant)
    meta: dict[str, Any] = {"variant": variant, "values": values}
    if chip is None:
        trace["marker"]["symbol"] = [looks.of(point.chip, variant)["marker"]["symbol"] for point in points]
        meta["chips"] = [point.chip for point in points]
    else:
        meta["chip"] = chip
    return {
        **trace, "name": markup(variant if chip is None else f"{variant}, {chip}"),
        "x": [number(p.x) if _is_number(p.x) else markup(str(p.x)) for p in points],
        "y": values[chart.quantities[0].key], "text": ["<br>".join(map(markup, p.hover)) for p in points],
        "textposition": "none" if chart.kind == "bars" else "top center",
        "hovertemplate": "%{text}<extra></extra>", "showlegend": False, "meta": meta,
    }  # fmt: skip


def _line(line: Line, chart: Chart, looks: Looks) -> dict[str, Any]:
    """A ceiling or another line of a chip; the page gives it the colour of its text."""
    log = next((q.log for q in chart.quantities if q.key == line.quantity), True)
    return {
        "type": "scatter", "mode": "lines", "name": markup(f"{line.label}, {line.chip}"),
        "x": between(line.xs, chart.x_log), "y": between(line.ys, log),
        "hovertemplate": "%{fullData.name}<extra></extra>", "showlegend": False,
        "line": {"dash": looks.dash(line.chip), "width": 1.2}, "opacity": 0.65,
        "visible": line.quantity == chart.quantities[0].key,
        "meta": {"chip": line.chip, "quantity": line.quantity, "label": markup(line.label)},
    }  # fmt: skip


def _legend(names: Iterable[str], facet: str, looks: Looks) -> list[dict[str, Any]]:
    """An entry for each name, without data, where there are several."""
    entries = list(dict.fromkeys(names))
    if len(entries) < 2:
        return []
    return [
        {
            **looks.of(**{"chip": None, "variant": None, facet: name}), "x": [None], "y": [None], "name": markup(name),
            "legendgroup": facet, "showlegend": True, "hoverinfo": "skip", "meta": {facet: name, "legend": True},
        }
        for name in entries
    ]  # fmt: skip


def between(values: Sequence[float], log: bool) -> list[float]:
    """The values with `STEPS` from each to the next, evenly on their axis.

    >>> between((1.0, 4096.0), True)[:4]
    [1.0, 2.0, 4.0, 8.0]
    """
    return [*_between(values, log), *values[-1:]]


def _between(values: Sequence[float], log: bool) -> Iterator[float]:
    for a, b in pairwise(values):
        for step in range(STEPS):
            share = step / STEPS
            yield float(f"{a * (b / a) ** share if log and a > 0 and b > 0 else a + (b - a) * share:.9g}")


def number(value: Any) -> float | int | None:
    """A number as JSON has it; None where it is missing or infinite."""
    if value is None or not _is_number(value) or not math.isfinite(value):
        return None
    return int(value) if isinstance(value, int) else float(value)


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, (int, float)) or hasattr(value, "__float__"))
