"""The dataflow of an operator as a picture: kernels as shaded lanes, memory at both sides of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dataflow import Dataflow, Lane, Node
from . import COLOURS, FAINT, INK, LAYOUT_DPI, MUTED, page, shrink

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARGIN, TENSOR, OP, GAP = 0.35, 1.15, 1.22, 0.42
"""Inches, as all sizes here: side margin, width of a tensor, of an op, between two columns."""
ROW, HEAD, PAD, TRACK = 0.78, 0.3, 0.12, 0.11
"""Height of a row, of a lane's name, between a box and what is in it, between lines that run beside each other."""
TOP, FOOT = 1.05, 0.42
LEAST = 8.2
"""Width at least."""
HEIGHTS = {"tensor": 0.42, "op": 0.62}
SHADE, MEMORY = "#e8eef4", COLOURS[1]
WIDE, THIN = 2.0, 0.9
Place = tuple[float, float]


def draw(sheet: Dataflow) -> Figure:
    """The picture of one operator. Call it inside `pictures.style()`."""
    tracks = len(sheet.passed)
    side = MARGIN + TRACK * tracks
    most = max(len(lane.layers) - 2 for lane in sheet.lanes)
    width = max(LEAST, 2 * (side + TENSOR + GAP + PAD) + most * OP + (most - 1) * GAP)
    heights = [HEAD + ROW * max(len(layer) for layer in lane.layers) + PAD for lane in sheet.lanes]
    gutters = [0.16 + TRACK * sum(a == i for a, *_ in sheet.passed) for i in range(len(sheet.lanes))]
    height = TOP + sum(heights) + sum(gutters) + FOOT
    figure = page(width, height)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    places: list[dict[str, Place]] = []
    bottoms = []
    top = height - TOP
    for lane, high, gutter in zip(sheet.lanes, heights, gutters, strict=True):
        places.append(_lane(axes, lane, (side, width - side), (top - high, top)))
        bottoms.append(top - high)
        top -= high + gutter
    _passed(axes, sheet, places, bottoms, width)
    _titles(axes, sheet, (side, width - side), height)
    return figure


def _lane(axes: Axes, lane: Lane, across: tuple[float, float], down: tuple[float, float]) -> dict[str, Place]:
    """One kernel: its box, ops, tensors and edges; the centre of every node and place."""
    from matplotlib.patches import FancyBboxPatch

    (left, right), (low, high) = across, down
    box = left + TENSOR + GAP, right - TENSOR - GAP
    axes.add_patch(FancyBboxPatch((box[0], low), box[1] - box[0], high - low, boxstyle="round,pad=0,rounding_size=0.08",
                                  facecolor=SHADE, edgecolor=FAINT, linewidth=0.8, zorder=0, gid="kernel"))  # fmt: skip
    said = f"{lane.name}: one kernel" + (f" ({lane.kernel})" if lane.kernel else "")
    axes.text(box[0] + 0.1, high - 0.17, said, fontsize=8.5, weight="bold", va="center", gid="lane")
    inner = len(lane.layers) - 2
    step = (box[1] - box[0] - 2 * PAD) / inner
    columns = [left + TENSOR / 2, *(box[0] + PAD + step * (i + 0.5) for i in range(inner)), right - TENSOR / 2]
    places: dict[str, Place] = {}
    for x, layer in zip(columns, lane.layers, strict=True):
        for row, slot in enumerate(layer):
            places[slot.key] = x, high - HEAD - (high - HEAD - low - PAD) * (row + 0.5) / len(layer)
    nodes = {slot.key: slot.node for layer in lane.layers for slot in layer if slot.node is not None}
    for a, b, memory in lane.edges:
        _edge(axes, (places[a], _half(a, nodes)), (places[b], _half(b, nodes)), memory, b in nodes)
    for key in lane.loose:
        x, y = places[key]
        ends = (x + TENSOR / 2, box[0]) if x < box[0] else (box[1], x - TENSOR / 2)
        _arrow(axes, (ends[0], y), (ends[1], y), True)
    for key, node in nodes.items():
        _node(axes, node, places[key])
    return places


def _half(key: str, nodes: dict[str, Node]) -> float:
    """Half the width of what stands at a place; an edge passes an op's width straight."""
    if key in nodes and nodes[key].size is None and not key.startswith(("read ", "write ")):
        return OP / 2
    return TENSOR / 2 if key in nodes else OP / 2


def _edge(axes: Axes, start: tuple[Place, float], end: tuple[Place, float], memory: bool, arrives: bool) -> None:
    """From the right of one place to the left of the next, and on through a place that it only passes."""
    ((x0, y0), half0), ((x1, y1), half1) = start, end
    if arrives:
        _arrow(axes, (x0 + half0, y0), (x1 - half1, y1), memory)
        return
    look: dict[str, Any] = {"color": MEMORY if memory else INK, "linewidth": WIDE if memory else THIN, "zorder": 1}
    axes.plot([x0 + half0, x1 - half1, x1 + half1], [y0, y1, y1], solid_joinstyle="round", **look)


def _arrow(axes: Axes, start: Place, end: Place, memory: bool) -> None:
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(FancyArrowPatch(
        start, end, arrowstyle="-|>", mutation_scale=9 if memory else 7, shrinkA=0, shrinkB=0, zorder=1,
        color=MEMORY if memory else INK, linewidth=WIDE if memory else THIN, gid="memory" if memory else "chip",
    ))  # fmt: skip


def _node(axes: Axes, node: Node, place: Place) -> None:
    """An op as a box with its work, a tensor as a rounder one with its bytes."""
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    tensor = node.key.startswith(("read ", "write ")) and not node.recomputed and node.size is not None
    tensor = tensor or node.lines == ("not counted",)
    wide, high = (TENSOR, HEIGHTS["tensor"]) if tensor else (OP, HEIGHTS["op"])
    axes.add_patch(FancyBboxPatch(
        (x - wide / 2, y - high / 2), wide, high, boxstyle=f"round,pad=0,rounding_size={0.16 if tensor else 0.03}",
        facecolor="#fdf1e8" if tensor else "white", edgecolor=MEMORY if tensor else INK, linewidth=1.0, zorder=2,
        linestyle=(0, (3, 2)) if node.recomputed else "-", gid="tensor" if tensor else "op",
    ))  # fmt: skip
    lines = [(node.name, 8.0), *((line, 6.8) for line in node.lines)]
    spacing = (high - 0.06) / len(lines) if len(lines) > 3 else 0.155
    for row, (text, size) in enumerate(lines):
        made = axes.text(x, y + (len(lines) / 2 - row - 0.5) * spacing, text, ha="center", va="center", zorder=3,
                         fontsize=size if len(lines) <= 3 else size * 0.86, gid="node")  # fmt: skip
        shrink(made, (wide - 0.08) * LAYOUT_DPI)


def _passed(
    axes: Axes, sheet: Dataflow, places: list[dict[str, Place]], bottoms: list[float], width: float
) -> None:  # fmt: skip
    """What one kernel writes for another: around the lanes, each on a track of its own."""
    below: dict[int, int] = {}
    for number, (source, written, target, read) in enumerate(sheet.passed):
        below[source] = below.get(source, 0) + 1
        (x0, y0), (x1, y1) = places[source][written], places[target][read]
        gutter = bottoms[source] - 0.05 - TRACK * (below[source] - 0.5)
        left, right = 0.18 + TRACK * number, width - 0.18 - TRACK * number
        xs = [x0 + TENSOR / 2, right, right, left, left, x1 - TENSOR / 2 - 0.06]
        ys = [y0, y0, gutter, gutter, y1, y1]
        axes.plot(xs, ys, color=MEMORY, linewidth=WIDE * 0.7, zorder=0.5, solid_joinstyle="miter")
        _arrow(axes, (xs[-1] - 0.08, y1), (xs[-1] + 0.06, y1), True)


def _titles(axes: Axes, sheet: Dataflow, across: tuple[float, float], height: float) -> None:
    """What is seen, what the columns are, and how to read it."""
    left, right = across
    about = (
        "Work and bytes of the whole call, all heads and sequences (counted); operands count once, however often read."
    )
    foot = ("orange: through main memory; black: stays on the chip; dashed: computed again; "
            "shaded: what one kernel does (fusion group)")  # fmt: skip
    for text in (
        axes.text(0.2, height - 0.3, sheet.finding, fontsize=13, weight="bold", gid="title"),
        axes.text(0.2, height - 0.53, about, fontsize=9, color=MUTED, gid="workload"),
        axes.text(0.2, 0.13, foot, fontsize=8, color=MUTED, gid="key"),
    ):
        shrink(text, 0.97 * (axes.get_xlim()[1] - 0.4) * LAYOUT_DPI)
    for x, words in ((left + TENSOR / 2, "read from HBM"), (right - TENSOR / 2, "written to HBM")):
        axes.text(x, height - TOP + 0.1, words, fontsize=8.5, ha="center", color=MEMORY, weight="bold", gid="column")
