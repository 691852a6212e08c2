"""Labels: none over another, none over a mark, none outside, wherever the points are."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim.reports.placement import Box, Scene, place, spread

AREA = Box(0, 0, 900, 600)


def _check(anchors: list[tuple[float, float]], sizes: list[tuple[float, float]]) -> None:
    marks = tuple(Box(x - 5, y - 5, x + 5, y + 5) for x, y in anchors)
    boxes = place(anchors, sizes, Scene(AREA, marks, ()))
    assert len(boxes) == len(anchors)
    for box, (width, height) in zip(boxes, sizes, strict=True):
        assert box.x1 - box.x0 == pytest.approx(width)
        assert box.y1 - box.y0 == pytest.approx(height)
        assert box.inside(AREA)
        assert not any(box.overlap(mark) for mark in marks)
    assert not any(a.overlap(b) for a, b in itertools.combinations(boxes, 2))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(10, 890), st.floats(10, 590), st.floats(20, 110)), min_size=1, max_size=16))
def test_random_points(points: list[tuple[float, float, float]]) -> None:
    _check([(x, y) for x, y, _ in points], [(width, 14.0) for _, _, width in points])


def test_points_in_one_place() -> None:
    _check([(450.0, 300.0)] * 20, [(100.0, 14.0)] * 20)


def test_points_in_a_corner() -> None:
    _check([(898.0, 598.0)] * 12, [(100.0, 14.0)] * 12)


def test_same_labels_same_places() -> None:
    anchors = [(100.0 + 3 * i, 300.0) for i in range(12)]
    scene = Scene(AREA, (), ())
    assert place(anchors, [(80.0, 14.0)] * 12, scene) == place(anchors, [(80.0, 14.0)] * 12, scene)


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(5, 30)), min_size=1, max_size=12))
def test_spread_keeps_labels_apart_and_in_order(labels: list[tuple[float, float]]) -> None:
    wanted, heights = [w for w, _ in labels], [h for _, h in labels]
    centres = spread(wanted, heights, 0, 500)
    spans = sorted((c - h / 2, c + h / 2, w) for c, h, w in zip(centres, heights, wanted, strict=True))
    assert all(above[0] >= below[1] - 1e-6 for below, above in itertools.pairwise(spans))
    assert all(above[2] >= below[2] for below, above in itertools.pairwise(spans))
    assert spans[0][0] >= -1e-6
    assert spans[-1][1] <= 500 + 1e-6


def test_spread_leaves_what_is_apart() -> None:
    assert spread([50, 100, 200], [10, 10, 10], 0, 300) == [50, 100, 200]


def test_segments_through_boxes() -> None:
    box = Box(0, 0, 10, 10)
    assert box.crossed_by((-5, 5), (15, 5))
    assert box.crossed_by((-5, -5), (15, 15))
    assert not box.crossed_by((-5, 11), (15, 11))
    assert not box.crossed_by((-5, 5), (-1, 5))
    assert not box.crossed_by((12, -5), (12, 15))
