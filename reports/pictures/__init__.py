"""What all pictures share: size, type, colours, and bytes that depend on the content alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

PICTURE_FORMATS = ("svg", "png", "pdf")
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette, told apart by colour-blind readers; without the yellow, which fades on paper."""
INK, MUTED, FAINT = "#1a1a1a", "#444444", "#8a8a8a"
LAYOUT_DPI, PNG_DPI = 100, 160
STYLE: dict[str, Any] = {
    "figure.dpi": LAYOUT_DPI, "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK, "axes.edgecolor": INK,
    "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "svg.hashsalt": "attnsim", "svg.fonttype": "path", "pdf.fonttype": 42,
    "text.usetex": False,
}  # fmt: skip
NO_DATES: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "attnsim"},
    "png": {"Software": "attnsim"},
    "pdf": {"CreationDate": None, "Creator": "attnsim", "Producer": "attnsim"},
}


def page(width: float, height: float) -> Figure:
    """An empty page, its sides in inches, on which texts can be measured. Call it inside `style()`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=LAYOUT_DPI)
    FigureCanvasAgg(figure)
    return figure


def shrink(text: Text, room: float) -> None:
    """Make a text small enough for a width in pixels; type does not scale evenly, hence the steps."""
    while (width := text.get_window_extent().width) > room:
        text.set_fontsize(float(text.get_fontsize()) * min(0.99, room / width))


def titles(figure: Figure, title: str, told: str, x: float, heights: tuple[float, float], room: float) -> None:
    """What is seen, and the workload below it. x, heights: shares of the page; room: the width of both in pixels."""
    shrink(figure.text(x, heights[0], title, fontsize=13, weight="bold", gid="title"), room)
    shrink(figure.text(x, heights[1], told, fontsize=9, color=MUTED, gid="workload"), room)


@contextmanager
def style() -> Iterator[None]:
    """The project's style over matplotlib's defaults, whatever the user's matplotlibrc says; undone afterwards."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams
        parameters.update(STYLE)
        yield


def encode(figure: Figure, form: str) -> bytes:
    """The picture as a file of that format. The same figure gives the same bytes. Call it inside `style()`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=PNG_DPI, metadata=NO_DATES[form])
    return buffer.getvalue()
