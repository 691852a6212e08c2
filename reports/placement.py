"""Where labels go: beside their points, over nothing else.

Works on plain rectangles in pixels, so that it knows nothing of the library that draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DISTANCES = (5, 10, 17, 26, 38, 52, 70, 92, 118, 150, 190, 240, 300, 370)
ANGLES = tuple(math.radians(a) for a in (20, 340, 160, 200, 60, 300, 120, 240, 0, 180, 90, 270, 40, 320, 140, 220))
SWEEPS = 3
CROSSED_LINE, CROSSED_LABEL, CROSSED_LEADER, AMBIGUOUS = 14.0, 160.0, 70.0, 45.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, lower left and upper right corner.

    >>> Box(0, 0, 10, 4).overlap(Box(8, 1, 20, 3)), Box(0, 0, 1, 1).overlap(Box(2, 2, 3, 3))
    (4, 0.0)
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def overlap(self, other: Box) -> float:
        """The common area."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return width * height if width > 0 and height > 0 else 0.0

    def inside(self, other: Box) -> bool:
        return self.x0 >= other.x0 and self.y0 >= other.y0 and self.x1 <= other.x1 and self.y1 <= other.y1

    def grown(self, margin: float) -> Box:
        """The rectangle with a margin on all sides."""
        return Box(self.x0 - margin, self.y0 - margin, self.x1 + margin, self.y1 + margin)

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The point of the rectangle that is nearest to (x, y)."""
        return min(max(x, self.x0), self.x1), min(max(y, self.y0), self.y1)

    def crossed_by(self, a: tuple[float, float], b: tuple[float, float]) -> bool:
        """Whether the segment from a to b passes through (Liang-Barsky)."""
        low, high = 0.0, 1.0
        for start, step, least, most in (
            (a[0], b[0] - a[0], self.x0, self.x1),
            (a[1], b[1] - a[1], self.y0, self.y1),
        ):
            if step == 0:
                if not least < start < most:
                    return False
                continue
            ends = sorted(((least - start) / step, (most - start) / step))
            low, high = max(low, ends[0]), min(high, ends[1])
        return low < high


Segment = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Scene:
    """What labels have to respect: the area, boxes never to cover, lines better not covered."""

    area: Box
    taken: tuple[Box, ...]
    lines: tuple[Segment, ...]


def place(anchors: Sequence[tuple[float, float]], sizes: Sequence[tuple[float, float]], scene: Scene) -> list[Box]:
    """A box for each label: as near to its anchor as it can be without covering marks or other labels.

    Greedy, the most crowded anchor first, then a few sweeps in which each label may move to a better place
    given all others. Where the area is too full for all, the last ones overlap as little as possible.
    """
    placed: list[Box | None] = [None] * len(anchors)
    candidates = [
        [(box, cost + AMBIGUOUS * ambiguous(box, anchor, anchors)) for box, cost in _candidates(anchor, size, scene)]
        for anchor, size in zip(anchors, sizes, strict=True)
    ]
    crowd = [sum(math.dist(a, b) < 80 for b in anchors) for a in anchors]
    order = sorted(range(len(anchors)), key=lambda i: (-crowd[i], len(candidates[i]), i))
    for _ in range(SWEEPS):
        for i in order:
            others = [(anchors[j], box) for j, box in enumerate(placed) if box is not None and j != i]
            placed[i] = min(candidates[i], key=lambda c: c[1] + _clashes(anchors[i], c[0], others))[0]
    return [box for box in placed if box is not None]


def ambiguous(box: Box, anchor: tuple[float, float], anchors: Sequence[tuple[float, float]], slack: float = 4) -> bool:
    """Whether a label could be taken for that of another anchor, one about as near as its own."""
    own = math.dist(box.nearest(*anchor), anchor) + slack
    return any(other != anchor and math.dist(box.nearest(*other), other) < own for other in anchors)


def _candidates(anchor: tuple[float, float], size: tuple[float, float], scene: Scene) -> list[tuple[Box, float]]:
    """Boxes around an anchor with what each costs, whatever the other labels do; never none."""
    x, y = anchor
    w, h = size
    around = [
        (x + math.cos(t) * (r + w / 2), y + math.sin(t) * (r + h / 2), float(r)) for r in DISTANCES for t in ANGLES
    ]
    found = _allowed(anchor, size, around, scene)
    if found:
        return found
    area, steps = scene.area, 24
    grid = [
        (area.x0 + w / 2 + (area.x1 - area.x0 - w) * i / steps, area.y0 + h / 2 + (area.y1 - area.y0 - h) * j / steps)
        for i in range(steps + 1)
        for j in range(steps + 1)
    ]
    anywhere = [(cx, cy, math.dist((cx, cy), anchor)) for cx, cy in grid]
    return _allowed(anchor, size, anywhere, scene) or [(Box(x - w / 2, y - h / 2, x + w / 2, y + h / 2), 0.0)]


def _allowed(
    anchor: tuple[float, float], size: tuple[float, float], centres: Sequence[tuple[float, float, float]], scene: Scene
) -> list[tuple[Box, float]]:
    """The centres at which the box stays in the area and covers nothing taken, with their costs."""
    w, h = size
    found = []
    for cx, cy, cost in centres:
        box = Box(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
        if not box.inside(scene.area) or any(box.overlap(t) for t in scene.taken):
            continue
        end = box.nearest(*anchor)
        cost += CROSSED_LINE * sum(box.crossed_by(*line) for line in scene.lines)
        cost += CROSSED_LABEL / 2 * sum(t.crossed_by(anchor, end) for t in scene.taken if t.nearest(*anchor) != anchor)
        found.append((box, cost))
    return found


def _clashes(anchor: tuple[float, float], box: Box, others: Sequence[tuple[tuple[float, float], Box]]) -> float:
    """What a box costs beside the other labels and their leader lines."""
    end, cost = box.nearest(*anchor), 0.0
    for other_anchor, other in others:
        shared = box.overlap(other)
        if shared:
            cost += 1e4 + 10 * shared
        other_end = other.nearest(*other_anchor)
        cost += CROSSED_LABEL * (other.crossed_by(anchor, end) + box.crossed_by(other_anchor, other_end))
        cost += CROSSED_LEADER * _cross((anchor, end), (other_anchor, other_end))
    return cost


def _cross(one: Segment, two: Segment) -> bool:
    """Whether two segments cross."""

    def side(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    (a, b), (c, d) = one, two
    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Centres of labels on one vertical line: near the wanted ones, none over another, all between low and high.

    >>> spread([10, 11], [4, 4], 0, 100)
    [8.5, 12.5]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    blocks: list[list[int]] = []
    starts: list[float] = []

    def settle(block: list[int]) -> float:
        total = offset = 0.0
        for i in block:
            total += wanted[i] - offset - heights[i] / 2
            offset += heights[i]
        return min(max(total / len(block), low), max(high - offset, low))

    for i in order:
        blocks.append([i])
        starts.append(settle([i]))
        while len(blocks) > 1 and starts[-2] + sum(heights[j] for j in blocks[-2]) > starts[-1]:
            last = blocks.pop()
            starts.pop()
            blocks[-1] += last
            starts[-1] = settle(blocks[-1])
    centres = [0.0] * len(wanted)
    for block, start in zip(blocks, starts, strict=True):
        for i in block:
            centres[i] = start + heights[i] / 2
            start += heights[i]
    return centres
