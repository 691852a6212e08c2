"""LaTeX: it compiles whatever the texts say, nothing leaves the page, same inputs give same bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from sheets import HOSTILE, long, sheet

from attnsim.reports.document import Document, Paragraph
from attnsim.reports.writers import Album, latex

OVERFULL = re.compile(r"Overfull \\hbox \((\d+)\.\d+pt too wide\)")
needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
needs_reader = pytest.mark.skipif(shutil.which("pdftotext") is None, reason="needs pdftotext")


def compiled(document: Document, folder: Path) -> str:
    """The log of pdflatex, run as people run it."""
    for name, data in latex.write(document, Album()).items():
        (folder / name).write_bytes(data)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", f"{document.stem}.tex"],
        cwd=folder, capture_output=True, check=False,
    )  # fmt: skip
    log = (folder / f"{document.stem}.log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]
    return log


def read(path: Path) -> str:
    return subprocess.run(["pdftotext", "-layout", path, "-"], capture_output=True, text=True, check=True).stdout


@needs_tex
def test_any_document_compiles_and_fits_the_page(tmp_path: Path) -> None:
    log = compiled(sheet(), tmp_path)
    assert all(int(points) < 5 for points in OVERFULL.findall(log))
    assert "Missing character" not in log


@needs_tex
@needs_reader
def test_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    compiled(Document("one", "T", "L", (Paragraph(HOSTILE), long(60))), tmp_path)
    shown = read(tmp_path / "one.pdf")
    for text in (r"\end{document}", r"\input{/etc/passwd}", "50% & #1", "{a} [b] *c* <d> |", "--", "×", "→", "caf"):
        assert text in shown
    assert "[U+4E2D][U+6587]" in shown
    assert shown.count("(measured)") == shown.count("\f"), "the head stands on every page"
    assert len(re.findall(r"^ *BLOCK", shown, re.MULTILINE)) == 60


@needs_tex
def test_every_letter_that_has_a_form_compiles(tmp_path: Path) -> None:
    letters = [chr(code) for code in range(0xA0, 0x3000)]
    known = [letter for letter in letters if "U+" not in latex.escape(letter)]
    assert len(known) > 700
    compiled(Document("all", "T", "L", (Paragraph(" ".join(known)),)), tmp_path)


def test_same_document_same_bytes() -> None:
    first, second = (latex.write(sheet(), Album()) for _ in range(2))
    assert first == second
    assert set(first) == {"sheet.tex", "one.pdf", "two.pdf", "three.pdf"}


def test_escape() -> None:
    assert latex.escape("a_b & 50% --x [1]") == r"a\_b \& 50\% -{}-x {[}1{]}"
    assert latex.escape("é ü ç ﬁ ² ½") == r"\'{e} \"{u} \c{c} fi \textsuperscript{2} 1/2"
    assert latex.escape("中") == "{[}U+4E2D{]}"
    assert latex.escape("\x00\n") == "  "
