"""Documents that are hard to set, for the tests of every writer for paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attnsim.reports import document as d

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HOSTILE = (
    r"\end{document} \input{/etc/passwd} $x_1^2$ 50% & #1 ~ {a} [b] *c* <d> | ^^M `e` 'f' " + '"g" -- --- \\ #set #{x} '
    "µ × ≤ → “h” ‘i’ … café naïve Ærø łódź ² ½ αβΩ 中文 😀 \x1b[1m \x00 \udcff end"
)
"""What would be markup in LaTeX or Typst, letters that fonts lack, control characters, half a surrogate pair."""


def picture(inches: tuple[float, float] = (11, 6.8)) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches)
    figure.add_axes((0.1, 0.1, 0.8, 0.8)).plot([1, 3, 2])
    return figure


def long(rows: int = 150) -> d.Table:
    """Many rows, some with long texts, numbers that are missing."""
    columns = (d.Column("config"), d.seconds("best", "measured"), d.times("speedup", "predicted"), d.Column("notes"))
    return d.Table(
        columns,
        tuple((f"BLOCK_M={i};BLOCK_N=64;num_warps=4;num_stages=2", 1e-5 * i or None, 1.5,
               HOSTILE if i % 40 == 0 else "* [b] ok") for i in range(rows)),
        "A note. " + HOSTILE,
    )  # fmt: skip


def wide(columns: int) -> d.Table:
    """So many columns of numbers between two of text."""
    heads = (d.Column("variant"), *(d.seconds(f"time {n}", "predicted") for n in range(columns)), d.Column("why"))
    cells = [f"{n + 1}.5" for n in range(columns)]
    return d.Table(heads, tuple((f"v{i}", *map(float, cells), "the HBM limits it") for i in range(3)))


def sheet() -> d.Document:
    """Everything that a document may hold."""
    return d.Document("sheet", "Title " + HOSTILE, "Lead " + HOSTILE, (
        d.Chart("chart", "only for pages", "points", "x", (d.Quantity("a", "a", "measured"),), ()),
        d.Section("First " + HOSTILE, (
            d.Paragraph(HOSTILE),
            d.Items((("term " + HOSTILE, HOSTILE), ("", "[plain]"), ("", "*"))),
            d.Code("attnsim report 'x y' \"z\" --out DIR\n\n    indented " + HOSTILE),
            d.Section("Second", (long(), d.Section("Third", (wide(9), d.Section("Fourth", (d.Section("Fifth", (
                wide(40),)),)))))),
        )),
        d.Picture("one", "alt " + HOSTILE, picture, "Caption " + HOSTILE),
        d.Picture("two", "alt", lambda: picture((3, 2))), d.Picture("three", "tall", lambda: picture((4, 20))),
        d.Table((d.Column("no rows"),), ()), d.Table((), ()), d.Paragraph(""), d.Items(()), d.Code(""),
        d.Section("Nothing below", ()),
    ))  # fmt: skip
