"""The roofline in the terminal (plotext): a letter for each variant under the roofs of its chip."""

from __future__ import annotations

import math
import re
import shutil
import string
from collections.abc import Sequence
from typing import Any

from ..reports.roofline import Point, Roofline, rooflines
from ..reports.words import amount, number
from ..simulator.errors import InputError
from ..simulator.prediction import Prediction

WIDEST, HEIGHT = 140, 26
"""Characters and lines of a picture."""
LETTERS = string.ascii_lowercase + string.ascii_uppercase
SLOPES = {"HBM": "·", "DRAM": "·", "L2": ":", "shared memory": "'"}
CEILINGS = {"matrix": "=", "exp": "-", "vector": "~"}
NAMES = {"matrix": "matrix", "exp": "exp of dense softmax", "vector": "vector work of dense softmax"}


def plots(predictions: Sequence[Prediction]) -> str:
    """A picture a chip, with what its letters and lines stand for below it. Raises InputError without plotext."""
    sheets = rooflines(predictions)
    return "\n\n".join(_sheet(sheet) for sheet in sheets)


def _sheet(sheet: Roofline) -> str:
    """The picture of one chip, or why there is none."""
    if not sheet.drawable:
        return f"{sheet.hardware.title}: no picture, the profile states no matrix rate or no memory bandwidth."
    if len(sheet.points) > len(LETTERS):
        raise InputError(f"--plot shows at most {len(LETTERS)} variants; {len(sheet.points)} are given")
    picture = _picture(sheet)
    lines = [f"Roofline on {sheet.hardware.title}: {sheet.finding}", picture, *_key(sheet, _seen(picture))]
    lines += [f"  not drawn: {name}: {why}." for name, why in sheet.left_out]
    return "\n".join(line.rstrip() for line in lines)


def _spans(sheet: Roofline) -> tuple[tuple[float, float], tuple[float, float]]:
    """Logarithms of intensity and of FLOP/s between which all points and the corners of the roof lie."""
    peak = sheet.peak_flop_per_s
    xs = [*(p.intensity for p in sheet.points), *(peak / s.bytes_per_s for s in sheet.slopes)]
    ys = [peak, peak / 10, *(p.flop_per_s for p in sheet.points)]
    log = math.log10
    return (log(min(xs)) - 0.5, log(max(xs)) + 0.5), (log(min(ys)) - 0.2, log(peak) + 0.7)


def _picture(sheet: Roofline) -> str:
    """The axes with roofs and letters, without colours."""
    try:
        import plotext
    except ImportError as error:
        raise InputError(f"--plot needs {error.name}: pip install 'attnsim[report]'") from None
    (x0, x1), (y0, y1) = _spans(sheet)
    figure: Any = plotext.figure
    figure.clear()
    figure.theme("colorless")
    width = min(shutil.get_terminal_size((100, 24)).columns, WIDEST)
    figure.plot_size(width, HEIGHT)
    columns = [x0 + (x1 - x0) * i / (2 * width) for i in range(2 * width + 1)]
    for xs, ys, mark in _roofs(sheet, columns, y0, y1):
        figure.draw(figure.signal(xs, ys, marker=mark))
    for letter, point in zip(LETTERS, sheet.points, strict=False):
        figure.draw(figure.signal([math.log10(point.intensity)], [math.log10(point.flop_per_s)], marker=letter))
    for axis, low, high, unit in (("x", x0, x1, ""), ("y", y0, y1, "FLOP/s")):
        ticks = list(range(math.ceil(low), math.floor(high) + 1))
        figure.ruler(axis).lim(low, high)
        figure.ruler(axis).ticks(ticks, [amount(10.0**t, unit) if t >= 0 else f"{10.0**t:g} {unit}" for t in ticks])
    figure.label("arithmetic intensity (useful matrix FLOP per byte)", "x")
    return str(plotext.uncolorize(str(figure.build())))


def _roofs(
    sheet: Roofline, columns: Sequence[float], y0: float, y1: float
) -> list[tuple[list[float], list[float], str]]:
    """Logarithms of the lines' points, in the order they are drawn, with their marks."""
    peak = sheet.peak_flop_per_s
    widest = max(s.bytes_per_s for s in sheet.slopes)
    found = []
    for ceiling in sheet.ceilings:
        if ceiling.kind in CEILINGS:
            top = math.log10(ceiling.flop_per_s)
            found.append(([x for x in columns if x + math.log10(widest) >= top], top, CEILINGS[ceiling.kind]))
    lines = [(xs, [y] * len(xs), mark) for xs, y, mark in reversed(found) if y0 <= y <= y1]
    for slope in sheet.slopes:
        rise = math.log10(slope.bytes_per_s)
        xs = [x for x in columns if y0 <= x + rise <= math.log10(peak)]
        lines.append((xs, [x + rise for x in xs], SLOPES[slope.level]))
    return [line for line in lines if line[0]]


def _seen(picture: str) -> set[str]:
    """The characters inside the frame."""
    rows = (line for line in picture.splitlines() if line.rstrip().endswith("│"))
    return {sign for row in rows for sign in re.split("[│┤]", row)[1]}


def _key(sheet: Roofline, seen: set[str]) -> list[str]:
    """What lines and letters are, with their numbers; and where a letter that is not seen stands."""
    lines = [f"  {SLOPES[s.level]} {s.label} (bounded)" for s in sheet.slopes]
    lines += [
        f"  {CEILINGS[c.kind]} {NAMES[c.kind]} {amount(c.flop_per_s, 'FLOP/s')} (bounded)"
        + ("" if CEILINGS[c.kind] in seen else ", out of the picture or under another line")
        for c in sheet.ceilings
        if c.kind in CEILINGS
    ]
    for letter, point in zip(LETTERS, sheet.points, strict=False):
        lines.append(_letter(letter, point) + ("" if letter in seen else ", under another letter"))
    return lines


def _letter(letter: str, point: Point) -> str:
    share = point.flop_per_s / point.rungs["roofline"]
    at = f"{amount(point.flop_per_s, 'FLOP/s')} at {number(point.intensity)} FLOP/B"
    return f"  {letter} {point.label}: {at} (predicted), {share:.0%} of its roof"
