"""PDF through Typst: any text, any table, the fonts of the package alone, same inputs give same bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sheets import HOSTILE, long, sheet, wide

from attnsim.reports.document import Document, Paragraph, Section
from attnsim.reports.writers import Album, pdf
from attnsim.simulator.errors import InputError

typst = pytest.importorskip("typst")
needs_reader = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs poppler-utils")


def pages(document: Document, folder: Path) -> list[str]:
    """The text of each page."""
    path = folder / "one.pdf"
    path.write_bytes(pdf.write(document, Album())[f"{document.stem}.pdf"])
    done = subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True)
    return done.stdout.split("\f")[:-1]


def test_same_document_same_bytes_and_no_date() -> None:
    first, second = (pdf.write(sheet(), Album()) for _ in range(2))
    assert first == second
    assert set(first) == {"sheet.pdf"}
    assert b"CreationDate" not in first["sheet.pdf"]


@needs_reader
def test_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    shown = " ".join(" ".join(pages(Document("one", "T", "L", (Paragraph(HOSTILE),)), tmp_path)).split())
    for text in (r"\end{document}", "$x_1^2$ 50% & #1 ~ {a} [b] *c* <d> |", "-- ---", "#set #{x}", "× ≤ → “h” ‘i’"):
        assert text in shown


@needs_reader
def test_a_long_table_has_its_head_on_every_page(tmp_path: Path) -> None:
    shown = pages(Document("one", "T", "L", (long(200),)), tmp_path)
    assert len(shown) > 3
    assert all("(measured)" in page for page in shown if "BLOCK" in page)
    assert sum(len(re.findall(r"^ *BLOCK", page, re.MULTILINE)) for page in shown) == 200


@needs_reader
@pytest.mark.parametrize("columns", [3, 9, 14, 40])
def test_a_wide_table_shows_every_column_under_its_heading(columns: int, tmp_path: Path) -> None:
    shown = pages(Document("one", "T", "L", (Section("Above", (wide(columns),)),)), tmp_path)
    text = "\n".join(shown)
    for number in range(columns):
        assert f"{number + 1}.5" in text
    (page,) = [page for page in shown if "Above" in page]
    assert "variant" in page, "a heading stands on the page of its table"


def test_fonts_are_in_the_file() -> None:
    data = pdf.write(Document("one", "T", "L", (Paragraph("text"),)), Album())["one.pdf"]
    assert b"LibertinusSerif" in data
    assert b"/FontFile" in data


def test_without_typst_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(InputError, match="attnsim\\[report\\]"):
        pdf.write(sheet(), Album())
