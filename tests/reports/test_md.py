"""Markdown documents render as what they say, whatever stands in names and texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from attnsim.reports.document import (
    Code,
    Column,
    Document,
    Items,
    Paragraph,
    Picture,
    Section,
    Table,
    seconds,
)
from attnsim.reports.writers import check, formats, write
from attnsim.simulator.errors import InputError

HOSTILE = "a|b <script>alert(1)</script> *x* _y_ `z` [l](u) # $m$ ~~s~~ \\ &amp; 1 < 2\nnext"


def _figure() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1))
    figure.text(0.1, 0.5, "x")
    return figure


def _document() -> Document:
    table = Table((Column("variant|x"), seconds("time", "predicted")), ((HOSTILE, 1e-3), ("b", None)), HOSTILE)
    blocks = (
        Paragraph(HOSTILE), Items(((HOSTILE, HOSTILE), ("", "plain"))), Code("a ``` b\n$ c"),
        Section(HOSTILE, (table, Picture("one", HOSTILE, _figure, "caption"))),
    )  # fmt: skip
    return Document("doc", HOSTILE, "lead head_dim", blocks)


def _texts(html: str) -> str:
    """The text of rendered Markdown, without its tags."""
    from xml.etree import ElementTree

    root = ElementTree.fromstring(f"<div>{html}</div>".replace("&quot;", '"'))
    return "".join(root.itertext())


def test_hostile_text_renders_as_itself() -> None:
    source = write(_document(), ["md"])["doc.md"].decode()
    html = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(source)
    assert "<script>" not in html
    assert "<em>" not in html
    assert "<a " not in html
    assert "<s>" not in html
    # title, paragraph, term and text of an item, heading, cell, note; the picture's stands in an attribute
    assert _texts(html).count(" ".join(HOSTILE.split())) == 7


def test_tables_and_pictures() -> None:
    files = write(_document(), ["md"])
    assert set(files) == {"doc.md", "one.svg"}
    source = files["doc.md"].decode()
    html = MarkdownIt("commonmark").enable("table").render(source)
    assert html.count("<tr>") == 3
    assert html.count("</th>") == 2
    assert 'src="one.svg"' in html
    assert "<td>-</td>" in html.replace(' style="text-align:right"', "")
    assert "time (predicted)" in html
    assert "lead head_dim" in source


def test_pictures_alone_and_unknown_formats() -> None:
    assert set(write(_document(), ["png"])) == {"one.png"}
    with pytest.raises(InputError, match="unknown format 'htm'; did you mean 'html'"):
        check(["htm"])
    with pytest.raises(InputError, match="no format is given"):
        check([" "])


def test_formats_are_the_files_of_the_folder() -> None:
    import attnsim.reports.writers as writers

    folder = Path(writers.__file__).parent
    stems = {p.stem for p in folder.glob("*.py") if not p.stem.startswith("_")}
    assert set(formats()) == stems | {"svg", "png"}
