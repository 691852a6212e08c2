"""The texts of a picture, and whether they stand apart."""

from __future__ import annotations

import itertools
from typing import Any


def boxes(figure: Any) -> list[tuple[str, Any]]:
    """Every text that a reader sees, with its box."""
    figure.canvas.draw()
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            shown = [tick for tick in axis.get_major_ticks() if min(ends) <= tick.get_loc() <= max(ends)]
            texts += [label for tick in shown for label in (tick.label1, tick.label2) if label.get_visible()]
    return [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]


def check_apart(figure: Any) -> None:
    """No text over another, none beyond the page."""
    found = boxes(figure)
    assert not [(a[0], b[0]) for a, b in itertools.combinations(found, 2) if a[1].overlaps(b[1])]
    page = figure.bbox
    assert not [t for t, b in found if b.x0 < page.x0 or b.x1 > page.x1 or b.y0 < page.y0 or b.y1 > page.y1]
