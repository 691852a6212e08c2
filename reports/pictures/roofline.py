"""The hierarchical roofline as a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..placement import Box, Scene, Segment, ambiguous, place, spread
from ..roofline import Ceiling, Point, Roofline, Slope
from ..words import amount, workload
from . import COLOURS, FAINT, INK, LAYOUT_DPI, MUTED, page, titles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

SIZE_INCHES = (11.0, 6.8)
PLOT_AREA = (0.105, 0.135, 0.675, 0.745)
"""Left, bottom, width, height of the axes as shares of the picture; names of the ceilings stand to the right."""
CEILING_LOOKS: dict[str, dict[str, Any]] = {
    "matrix": {"color": INK, "linewidth": 1.8, "linestyle": "-"},
    "other": {"color": FAINT, "linewidth": 0.7, "linestyle": "-"},
    "exp": {"color": INK, "linewidth": 1.3, "linestyle": (0, (5, 2.5))},
    "vector": {"color": INK, "linewidth": 1.3, "linestyle": (0, (1.2, 1.8))},
}
SAME_LINE = 0.015
SLOPE_LOOKS: tuple[dict[str, Any], ...] = ({"linewidth": 1.8}, {"linewidth": 1.1}, {"linewidth": 0.7})
RUNG_LOOKS: dict[str, tuple[str, float, bool]] = {
    "roofline": ("v", 4.5, False), "tiles": ("^", 4.5, False), "schedule": ("o", 7.0, True),
    "measured": ("D", 6.0, True),
}  # fmt: skip
"""Marker, size in points, filled."""
SHARES = (0.5, 0.35, 0.65, 0.22, 0.8, 0.1, 0.9)
"""Where along its line a bandwidth may be named, the best first."""
L2_LOOK = ("s", 3.6, False)
KEY = {
    "schedule": "predicted (schedule)", "tiles": "floor of the tiles", "roofline": "floor of the chip",
    "measured": "measured", "l2": "predicted, per L2 byte of the tiles",
}  # fmt: skip


def draw(sheet: Roofline) -> Figure:
    """The picture of one chip. Call it inside `pictures.style()`. The sheet must be drawable."""
    figure = page(*SIZE_INCHES)
    canvas: Any = figure.canvas
    renderer: RendererAgg = canvas.get_renderer()
    axes = figure.add_axes(PLOT_AREA)
    _frame(axes, sheet)
    for index, slope in enumerate(sheet.slopes):
        _draw_slope(axes, slope, sheet, index)
    for ceiling in _seen(axes, sheet.ceilings):
        _draw_ceiling(axes, ceiling, sheet)
    for point in sheet.points:
        _draw_point(axes, point, _colour(point))
    _label_ceilings(axes, renderer, _seen(axes, sheet.ceilings))
    slope_labels = _label_slopes(axes, renderer, sheet)
    _label_points(axes, renderer, sheet, slope_labels)
    _titles(figure, sheet)
    _key(figure, sheet)
    return figure


def _colour(point: Point) -> str:
    return COLOURS[point.rank % len(COLOURS)]


def limits(sheet: Roofline) -> tuple[float, float, float, float]:
    """Least and most intensity, least and most FLOP/s shown: all points, and the corners of the roof."""
    peak = sheet.peak_flop_per_s
    corners = [peak / slope.bytes_per_s for slope in sheet.slopes]
    xs = [*corners, *(x for p in sheet.points for x in (p.intensity, p.l2_intensity) if x is not None)]
    lines = [c.flop_per_s for c in sheet.ceilings if c.kind in ("exp", "vector") and c.flop_per_s < peak * 8]
    ys = [peak, *lines, *(y for p in sheet.points for y in p.rungs.values())]
    x0, x1 = min(xs) / (3.5 if len(sheet.slopes) < 3 else 7), max(*xs, corners[0] * 4) * 2.5
    y0, y1 = min(*ys, peak / 25) / 2.2, max(ys) * 2.2
    return x0, x1, y0, y1


def _frame(axes: Axes, sheet: Roofline) -> None:
    """Log axes with units and plain numbers on the ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    x0, x1, y0, y1 = limits(sheet)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(x0, x1)
    axes.set_ylim(y0, y1)
    for axis, unit in ((axes.xaxis, ""), (axes.yaxis, "FLOP/s")):
        axis.set_major_locator(LogLocator(base=10, numticks=30))
        axis.set_minor_locator(LogLocator(base=10, subs=(2, 5), numticks=60))
        axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(_tick(unit)))
    axes.set_xlabel("arithmetic intensity (useful matrix FLOP per byte of the memory level)")
    axes.set_ylabel("matrix work done (useful FLOP/s)")
    axes.grid(True, which="major", color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def _tick(unit: str) -> Callable[[float, Any], str]:
    return lambda value, _: amount(value, unit) if value >= 1 or unit else f"{value:g}"


def _seen(axes: Axes, ceilings: tuple[Ceiling, ...]) -> list[Ceiling]:
    low, high = axes.get_ylim()
    return [c for c in ceilings if low * 1.1 < c.flop_per_s < high / 1.1]


def _draw_slope(axes: Axes, slope: Slope, sheet: Roofline, index: int) -> None:
    """The line of a memory level, up to where it meets the matrix peak; thin above it, for narrower dtypes."""
    x0, _ = axes.get_xlim()
    _, y1 = axes.get_ylim()
    peak = sheet.peak_flop_per_s
    corner = peak / slope.bytes_per_s
    axes.plot([x0, corner], [x0 * slope.bytes_per_s, peak], color=INK, zorder=2, **SLOPE_LOOKS[index])
    axes.plot([corner, y1 / slope.bytes_per_s], [peak, y1], color=FAINT, linewidth=0.7, zorder=1.5)


def _draw_ceiling(axes: Axes, ceiling: Ceiling, sheet: Roofline) -> None:
    """From the steepest slope to the right edge; dashes over a line that is there already are white."""
    _, x1 = axes.get_xlim()
    start = ceiling.flop_per_s / max(slope.bytes_per_s for slope in sheet.slopes)
    look = dict(CEILING_LOOKS[ceiling.kind])
    if ceiling.kind in ("exp", "vector"):
        under = [
            c for c in sheet.ceilings if c.kind == "matrix" and abs(c.flop_per_s / ceiling.flop_per_s - 1) < SAME_LINE
        ]
        look |= {"color": "white", "linewidth": 0.8, "zorder": 2.1} if under else {}
    axes.plot([start, x1], [ceiling.flop_per_s] * 2, **{"zorder": 2, **look})


def _draw_point(axes: Axes, point: Point, colour: str) -> None:
    """The ladder as a trail from the chip's floor down to what is predicted, and the L2's point beside it."""
    heights = list(point.rungs.values())
    x, y = point.intensity, point.flop_per_s
    axes.plot([x, x], [max(heights), min(heights)], color=colour, linewidth=1.0, zorder=3)
    if point.l2_intensity is not None:
        axes.plot([point.l2_intensity, x], [y, y], color=colour, linewidth=0.7, linestyle=(0, (1, 2)), zorder=3)
        _mark(axes, point.l2_intensity, y, L2_LOOK, colour, 4)
    for rung, height in point.rungs.items():
        _mark(axes, x, height, RUNG_LOOKS[rung], colour, 5 if rung in ("schedule", "measured") else 4)


def _mark(axes: Axes, x: float, y: float, look: tuple[str, float, bool], colour: str, zorder: float) -> None:
    marker, size, filled = look
    axes.plot(
        [x], [y], marker=marker, markersize=size, linestyle="none", markeredgewidth=0.9, zorder=zorder,
        markeredgecolor=INK if filled else colour, markerfacecolor=colour if filled else "white", clip_on=False,
    )  # fmt: skip


def _pixels(axes: Axes, x: float, y: float) -> tuple[float, float]:
    px, py = axes.transData.transform((x, y))
    return float(px), float(py)


def _data(axes: Axes, px: float, py: float) -> tuple[float, float]:
    x, y = axes.transData.inverted().transform((px, py))
    return float(x), float(y)


def _box(text: Text, renderer: RendererAgg) -> Box:
    extent = text.get_window_extent(renderer)
    return Box(float(extent.x0), float(extent.y0), float(extent.x1), float(extent.y1))


def _area(axes: Axes) -> Box:
    extent = axes.get_window_extent()
    return Box(float(extent.x0), float(extent.y0), float(extent.x1), float(extent.y1))


def _label_ceilings(axes: Axes, renderer: RendererAgg, ceilings: list[Ceiling]) -> None:
    """Names at the right ends of the lines, moved apart where lines are close, each tied to its line."""
    if not ceilings:
        return
    area = _area(axes)
    texts = [
        axes.text(0, 0, c.label, fontsize=8 if c.kind != "other" else 7, va="center", linespacing=1.15,
                  color=FAINT if c.kind == "other" else INK, gid=f"ceiling-{c.kind}")
        for c in ceilings
    ]  # fmt: skip
    ends = [_pixels(axes, axes.get_xlim()[1], c.flop_per_s)[1] for c in ceilings]
    boxes = [_box(text, renderer) for text in texts]
    heights = [box.y1 - box.y0 + 5 for box in boxes]
    inverse = axes.transData.inverted()
    for text, ceiling, end, centre in zip(
        texts, ceilings, ends, spread(ends, heights, area.y0, area.y1 + 30), strict=True
    ):
        text.set_position(_data(axes, area.x1 + 24, centre))
        steps = ((0, end), (8, end), (16, centre), (21, centre))
        corners = inverse.transform([(area.x1 + right, height) for right, height in steps])
        look = {**CEILING_LOOKS[ceiling.kind], "linewidth": 0.7, "linestyle": "-"}
        axes.plot(corners[:, 0], corners[:, 1], clip_on=False, zorder=2, **look)


def _label_slopes(axes: Axes, renderer: RendererAgg, sheet: Roofline) -> list[Box]:
    """Bandwidths along their lines, where no mark is near; the strips of pixels they cover."""
    marks = [box for point in sheet.points for box in _marks(axes, point)]
    strips: list[Box] = []
    area = _area(axes)
    for slope in sheet.slopes:
        tried = (_along(axes, renderer, slope, sheet, share, side) for share in SHARES for side in (1, -1))
        choices = [choice for choice in tried if choice is not None]
        if not choices:
            continue
        near = [_visible(axes, other, sheet) for other in sheet.slopes if other is not slope]
        costs = [
            sum(box.overlap(other) for box in boxes for other in (*marks, *strips))
            + 1e3 * sum(not box.inside(area) for box in boxes)
            + 50 * sum(box.crossed_by(*line) for box in boxes for line in near)
            for _, boxes in choices
        ]
        best = choices[costs.index(min(costs))]
        for text, _ in choices:
            if text is not best[0]:
                text.remove()
        strips += best[1]
    return strips


def _along(
    axes: Axes, renderer: RendererAgg, slope: Slope, sheet: Roofline, share: float, side: int
) -> tuple[Text, list[Box]] | None:
    """A slope's label at a share of its way, above (1) or below (-1) it, and the boxes that follow it; None where the
    line is too short."""
    (ax, ay), (bx, by) = _visible(axes, slope, sheet)
    length = math.hypot(bx - ax, by - ay)
    flat = axes.text(0, 0, slope.label, fontsize=8.5)
    size = _box(flat, renderer)
    flat.remove()
    width, height = size.x1 - size.x0, size.y1 - size.y0
    if length < width * 1.1:
        return None
    angle = math.atan2(by - ay, bx - ax)
    lift = side * (height / 2 + 4)
    centre = ax + (bx - ax) * share - math.sin(angle) * lift, ay + (by - ay) * share + math.cos(angle) * lift
    text = axes.text(
        *_data(axes, *centre), slope.label, fontsize=8.5, rotation=math.degrees(angle), ha="center", va="center",
        rotation_mode="anchor", gid="slope-" + slope.level.lower().replace(" ", "-"), zorder=6,
    )  # fmt: skip
    pieces = max(2, int(width / height) * 2)
    half = height / 2 + 1
    middles = (
        (centre[0] + math.cos(angle) * width * t, centre[1] + math.sin(angle) * width * t)
        for t in ((i + 0.5) / pieces - 0.5 for i in range(pieces))
    )
    return text, [Box(x - half, y - half, x + half, y + half) for x, y in middles]


def _visible(axes: Axes, slope: Slope, sheet: Roofline) -> Segment:
    """The part of a slope below the matrix peak and inside the axes, in pixels."""
    x0, _ = axes.get_xlim()
    y0, _ = axes.get_ylim()
    peak = sheet.peak_flop_per_s
    start = max(x0, y0 / slope.bytes_per_s)
    return (
        _pixels(axes, start, start * slope.bytes_per_s),
        _pixels(axes, peak / slope.bytes_per_s, peak),
    )


def _marks(axes: Axes, point: Point) -> Iterator[Box]:
    """The boxes of a point's marks, in pixels."""
    spots = [(point.intensity, y, RUNG_LOOKS[rung][1]) for rung, y in point.rungs.items()]
    if point.l2_intensity is not None:
        spots.append((point.l2_intensity, point.flop_per_s, L2_LOOK[1]))
    for x, y, size in spots:
        px, py = _pixels(axes, x, y)
        half = (size / 2 + 0.8) * LAYOUT_DPI / 72
        yield Box(px - half, py - half, px + half, py + half)


def _lines(axes: Axes, sheet: Roofline) -> list[Segment]:
    """Roof and trails, which labels avoid where they can."""
    lines = [_visible(axes, slope, sheet) for slope in sheet.slopes]
    x1 = axes.get_xlim()[1]
    widest = max(slope.bytes_per_s for slope in sheet.slopes)
    heights = [c.flop_per_s for c in _seen(axes, sheet.ceilings)]
    lines += [(_pixels(axes, y / widest, y), _pixels(axes, x1, y)) for y in heights]
    for p in sheet.points:
        ends = min(p.rungs.values()), max(p.rungs.values())
        lines.append((_pixels(axes, p.intensity, ends[0]), _pixels(axes, p.intensity, ends[1])))
        if p.l2_intensity is not None:
            lines.append((_pixels(axes, p.l2_intensity, p.flop_per_s), _pixels(axes, p.intensity, p.flop_per_s)))
    return lines


def _label_points(axes: Axes, renderer: RendererAgg, sheet: Roofline, taken: list[Box]) -> None:
    """Each variant's name beside its point, over nothing else, with a leader line where it has to stand off."""
    if not sheet.points:
        return
    texts = [axes.text(0, 0, p.label, fontsize=9, ha="center", va="center", zorder=7, gid=f"label-{p.label}")
             for p in sheet.points]  # fmt: skip
    sizes = [(box.x1 - box.x0 + 4, box.y1 - box.y0 + 3) for box in (_box(text, renderer) for text in texts)]
    anchors = [_pixels(axes, p.intensity, p.flop_per_s) for p in sheet.points]
    marks = [box for p in sheet.points for box in _marks(axes, p)]
    scene = Scene(_area(axes).grown(-2), (*marks, *taken), tuple(_lines(axes, sheet)))
    inverse = axes.transData.inverted()
    boxes = place(anchors, sizes, scene)
    for point, text, anchor, box in zip(sheet.points, texts, anchors, boxes, strict=True):
        text.set_position(_data(axes, (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.6})
        end = box.nearest(*anchor)
        if math.dist(end, anchor) > 13 or ambiguous(box, anchor, anchors):
            tied = inverse.transform([anchor, end])
            axes.plot(tied[:, 0], tied[:, 1], color=_colour(point), linewidth=0.8, zorder=4.5)


def _titles(figure: Figure, sheet: Roofline) -> None:
    """What is seen: the chip and how many variants; below it the workload."""
    left, title = PLOT_AREA[0], f"Roofline on {sheet.hardware.title}: {sheet.finding}"
    titles(figure, title, workload(sheet.predictions[0]), left, (0.955, 0.922), (0.99 - left) * figure.bbox.width)


def _key(figure: Figure, sheet: Roofline) -> None:
    """One line below the axes: what each kind of mark stands for."""
    from matplotlib.lines import Line2D

    shown = {rung for p in sheet.points for rung in p.rungs}
    if any(p.l2_intensity is not None for p in sheet.points):
        shown.add("l2")
    x, y = PLOT_AREA[0], 0.025
    for rung, words in KEY.items():
        if rung not in shown:
            continue
        marker, size, filled = RUNG_LOOKS.get(rung, L2_LOOK)
        figure.add_artist(Line2D([x + 0.004], [y + 0.006], marker=marker, markersize=size, color=MUTED,
                                 markerfacecolor=MUTED if filled else "white", linestyle="none"))  # fmt: skip
        text = figure.text(x + 0.014, y, words, fontsize=8, color=MUTED, gid="key")
        x += text.get_window_extent().width / figure.bbox.width + 0.035
