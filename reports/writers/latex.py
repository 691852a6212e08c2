"""A document as an article for pdflatex, with its pictures beside it; charts are for pages alone.

It needs what Debian's texlive-latex-recommended has.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..document import Block, Code, Column, Document, Items, Paragraph, Picture, Table, pictures
from . import _paper as paper

if TYPE_CHECKING:
    from . import Album

PREAMBLE = r"""\documentclass[10pt,a4paper]{article}
\usepackage[utf8]{inputenc}
\IfFileExists{lmodern.sty}{\usepackage[T1]{fontenc}\usepackage{lmodern}}{}
\usepackage{textcomp,amssymb,array,booktabs,longtable,float,graphicx,pdflscape}
\usepackage[margin=22mm]{geometry}
\usepackage[hidelinks]{hyperref}
\setlength{\parindent}{0pt}
\setlength{\parskip}{0.5\baselineskip}
\setlength{\emergencystretch}{3em}
\setcounter{secnumdepth}{0}
% A picture in its own size where it fits the page, else as large as fits.
\newcommand{\drawn}[1]{\leavevmode\setbox0\hbox{\includegraphics{#1}}%
  \ifdim\wd0>\linewidth\includegraphics[width=\linewidth,totalheight=0.8\textheight,keepaspectratio]{#1}%
  \else\ifdim\ht0>0.8\textheight\includegraphics[totalheight=0.8\textheight]{#1}\else\box0\fi\fi}
"""
HEADINGS = ("section", "subsection", "subsubsection", "paragraph")
SIZES = {9.0: r"\small", 8.0: r"\footnotesize", 7.0: r"\scriptsize", 6.0: r"\fontsize{6}{7}\selectfont"}
ASCII = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "]": "{]}", "*": "{*}", "`": r"\textasciigrave{}",
}  # fmt: skip
"""Brackets and stars would be read as options of the command before them."""
TEXT = {
    "\u00a0": "~", "°": r"\ensuremath{^\circ}", "µ": r"\ensuremath{\mu}", "·": r"\ensuremath{\cdot}", "…": r"\ldots{}",
    "•": r"\textbullet{}", "–": r"\textendash{}", "—": r"\textemdash{}", "‐": "-", "‑": "-", "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}", "“": r"\textquotedblleft{}", "”": r"\textquotedblright{}", "€": r"\texteuro{}",
    "§": r"\textsection{}", "©": r"\textcopyright{}", "®": r"\textregistered{}", "™": r"\texttrademark{}",
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ø": r"\o{}", "Ø": r"\O{}", "œ": r"\oe{}", "Œ": r"\OE{}",
    "⁄": "/", "«": r"\ensuremath{\ll}", "»": r"\ensuremath{\gg}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
SIGNS = "×÷±−≤≥≠≈∼∝∞√∑∏∈∉∪∩⊂⊆∅∂∇⌈⌉⌊⌋←↑→↓↔⇒⇐⇔⋅∧∨¬∀∃✓ℓαβγδεζηθικλμνξπρςστυφχψωΓΔΘΛΞΠΣΦΨΩ"
NAMES = """times div pm relax- leq geq neq approx sim propto infty surd sum prod in notin cup cap subset subseteq
emptyset partial nabla lceil rceil lfloor rfloor leftarrow uparrow rightarrow downarrow leftrightarrow Rightarrow
Leftarrow Leftrightarrow cdot wedge vee neg forall exists checkmark ell alpha beta gamma delta epsilon zeta eta theta
iota kappa lambda mu nu xi pi rho varsigma sigma tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi
Psi Omega"""
MATH = dict(zip(SIGNS, NAMES.split(), strict=True))
"""Signs by their names in mathematics."""
ACCENTS = {
    "\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": ".",
    "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0327": "c",
}  # fmt: skip


def write(document: Document, album: Album) -> dict[str, bytes]:
    """`<stem>.tex` and one PDF a picture. The same document gives the same bytes."""
    body = [line for one in paper.flow(document.blocks) for line in _set(*one)]
    lines = [
        PREAMBLE, rf"\title{{{escape(document.title)}}}", r"\author{}", r"\date{}", r"\begin{document}", r"\maketitle",
        "", wrapped(document.lead), "", *body, r"\end{document}", "",
    ]  # fmt: skip
    files = {f"{picture.stem}.pdf": album.encoded(picture, "pdf") for picture in pictures(document)}
    return {f"{document.stem}.tex": "\n".join(lines).encode()} | files


def escape(text: str) -> str:
    """Text as LaTeX shows it: every character, or its number in brackets where the usual fonts lack it."""
    return re.sub(r"-(?=-)", "-{}", "".join(map(_letter, text)))  # two hyphens would become a dash


def _letter(letter: str) -> str:
    if letter in ASCII:
        return ASCII[letter]
    if letter in TEXT:
        return TEXT[letter]
    if letter in MATH:
        return rf"\ensuremath{{\{MATH[letter]}}}"
    if unicodedata.category(letter) in ("Cc", "Zs", "Zl", "Zp"):
        return " "
    if letter.isascii():
        return letter
    return _decomposed(letter)


def _decomposed(letter: str) -> str:
    """A letter with an accent, a digit above or below the line, or a compatible form of plain letters."""
    kind, _, rest = unicodedata.decomposition(letter).rpartition("> ")
    points = [chr(int(point, 16)) for point in rest.split()]
    if not kind and len(points) == 2 and points[0].isascii() and points[1] in ACCENTS:
        base = {"i": r"\i", "j": r"\j"}.get(points[0], points[0])
        return rf"\{ACCENTS[points[1]]}{{{base}}}"
    if kind in ("<super", "<sub"):
        return rf"\text{kind[1:]}script{{{escape(''.join(points))}}}"
    if kind and points and letter not in points:
        return escape("".join(points))
    return rf"{{[}}U+{ord(letter):04X}{{]}}"


def wrapped(text: str) -> str:
    """Text whose long words may be broken where names of files, kernels and configs are."""
    return " ".join(
        r"\allowbreak{}".join(map(escape, paper.pieces(word))) if len(word) > paper.LONG_WORD else escape(word)
        for word in text.split()
    )


def _set(headings: list[paper.Heading], block: Block | None) -> Iterator[str]:
    """A block under its headings."""
    layout = paper.layout(block) if isinstance(block, Table) and block.columns else None
    if layout and layout.turned:
        yield r"\begin{landscape}"
    for depth, title in headings:
        yield rf"\{HEADINGS[min(depth, len(HEADINGS) - 1)]}{{{escape(title)}}}"
    if isinstance(block, Paragraph):
        yield from (wrapped(block.text), "")
    elif isinstance(block, Items):
        yield from _items(block)
    elif isinstance(block, Code):
        yield from _code(block.text)
    elif isinstance(block, Table) and layout:
        yield from _table(block, layout)
    elif isinstance(block, Picture):
        yield from _figure(block)
    if layout and layout.turned:
        yield r"\end{landscape}"


def _items(items: Items) -> Iterator[str]:
    if items.items:
        yield r"\begin{itemize}\setlength{\itemsep}{2pt}\setlength{\parskip}{0pt}"
        for term, text in items.items:
            yield r"\item " + (rf"\textbf{{{wrapped(term)}}}: " if term else "") + wrapped(text)
        yield r"\end{itemize}"


def _code(text: str) -> Iterator[str]:
    """Lines as they are, broken between words where they are longer than the page."""
    yield r"\begin{quote}\ttfamily\small\raggedright"
    for line in text.expandtabs().splitlines() or [""]:
        body = line.lstrip(" ")
        shown = " ".join(r"\allowbreak{}".join(map(_typed, paper.pieces(word))) for word in body.split(" "))
        yield r"\mbox{}" + "~" * (len(line) - len(body)) + shown + r"\\"
    yield r"\end{quote}"


def _typed(text: str) -> str:
    """Text to be typed again, with straight quotes."""
    return r"\textquotesingle{}".join(map(escape, text.split("'")))


def _figure(picture: Picture) -> Iterator[str]:
    caption = wrapped(picture.caption or picture.alt)
    label = re.sub(r"[^A-Za-z0-9-]", "-", picture.stem)
    yield rf"\begin{{figure}}[H]\centering\drawn{{{picture.stem}.pdf}}"
    yield rf"\caption{{{caption}}}\label{{fig:{label}}}"
    yield r"\end{figure}"


def _table(table: Table, layout: paper.Layout) -> Iterator[str]:
    """A table that breaks over pages under its repeated head."""
    yield rf"\begingroup{SIZES[layout.size]}\setlength{{\tabcolsep}}{{{paper.GAP / 2}pt}}"
    for part in layout.parts:
        columns = [table.columns[index] for index in part.columns]
        sides = ("raggedleft" if column.numeric else "raggedright" for column in columns)
        form = "".join(
            rf">{{\{side}\arraybackslash}}p{{{width:.1f}pt}}" for side, width in zip(sides, part.widths, strict=True)
        )
        yield rf"\begin{{longtable}}[l]{{@{{}}{form}@{{}}}}"
        yield r"\toprule"
        yield " & ".join(_head(column, layout.size) for column in columns) + r"\\\midrule\endhead"
        yield r"\bottomrule\endlastfoot"
        for row in table.rows:
            cells = ((table.columns[index], row[index]) for index in part.columns)
            yield " & ".join(map(_cell, *zip(*cells, strict=True))) + r"\\"
        yield r"\end{longtable}"
    yield r"\par\endgroup"
    if table.note:
        yield rf"{{\footnotesize {wrapped(table.note)}\par}}"
    yield ""


def _head(column: Column, size: float) -> str:
    head = rf"\textbf{{{wrapped(column.head)}}}"
    return head + (rf"\newline{{{SIZES[size - 1]}\textit{{({column.mark})}}}}" if column.mark else "")


def _cell(column: Column, value: object) -> str:
    text = column.text(value)
    if column.numeric:
        return escape(text).replace(" ", "~")
    return r"\newline ".join(map(_name, text.splitlines()))


def _name(line: str) -> str:
    """A cell's text, whose words may all be broken."""
    return " ".join(r"\allowbreak{}".join(map(escape, paper.pieces(word))) for word in line.split())
