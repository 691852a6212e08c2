"""A document as a PDF, set by Typst with the fonts of its package alone; charts are for pages alone.

Texts are handed over as Typst's string literals, which show every character as it is; nothing in them is markup.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..document import Block, Code, Column, Document, Items, Paragraph, Picture, Table, pictures
from ..pictures import INK
from . import _paper as paper

if TYPE_CHECKING:
    from . import Album

MAIN = "main.typ"
PREAMBLE = f"""
#set page("a4", margin: (x: 22mm, y: 20mm), numbering: "1")
#set text(font: ("Libertinus Serif", "New Computer Modern Math"), size: 10pt, lang: "en", fill: rgb("{INK}"))
#set par(justify: false, leading: 0.6em)
#set heading(outlined: true)
#show heading: set block(above: 1.4em, below: 0.7em)
#show heading.where(level: 1): set text(size: 14pt)
#show heading.where(level: 2): set text(size: 12pt)
#show raw: set text(font: ("DejaVu Sans Mono", "New Computer Modern Math"), size: 8pt)
#show raw.where(block: true): block.with(fill: luma(244), inset: 6pt, radius: 2pt, width: 100%)
#show figure: set block(breakable: false)
#set figure(numbering: none, supplement: none, gap: 0.6em)
#show figure.caption: set text(size: 8.5pt)
#let line = table.hline
#let mark(word) = text(size: {paper.SMALLER}em, style: "italic", weight: "regular", "(" + word + ")")
// A picture in its own size where it fits the page, else as large as fits.
#let drawn(name, told) = layout(room => {{
  let whole = image(name, alt: told)
  let size = measure(whole)
  let share = calc.min(1, room.width / size.width, 220mm / size.height)
  image(name, alt: told, width: size.width * share)
}})
"""
ZERO_WIDTH_SPACE = "\u200b"


def write(document: Document, album: Album) -> dict[str, bytes]:
    """`<stem>.pdf`. The same document gives the same bytes. Raises InputError where Typst is not installed."""
    try:
        import typst
    except ImportError as error:
        from . import missing

        raise missing("pdf", error) from error
    drawn = pictures(document)
    names = {picture.stem: f"picture-{number}.svg" for number, picture in enumerate(drawn)}
    body = [line for one in paper.flow(document.blocks) for line in _set(*one, names)]
    text = "\n".join([
        f"#set document(title: {literal(document.title)}, author: (), date: none)", PREAMBLE,
        f"#text(size: 18pt, weight: \"bold\", {literal(document.title)})", "",
        f"#par({wrapped(document.lead)})", "", *body,
    ])  # fmt: skip
    sources: Any = {MAIN: text.encode()}
    sources |= {names[picture.stem]: album.encoded(picture, "svg") for picture in drawn}
    compiled: Any = typst.compile(sources, format="pdf", ignore_system_fonts=True)
    return {f"{document.stem}.pdf": compiled}


def literal(text: str) -> str:
    """A string of Typst's: only backslashes and quotes mean something in it; control characters are gone."""
    shown = "".join(" " if ord(letter) < 32 and letter != "\n" else letter for letter in text)
    shown = shown.encode(errors="replace").decode()
    escaped = shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def wrapped(text: str) -> str:
    """A string whose long words may be broken where names of files, kernels and configs are."""
    words = (
        ZERO_WIDTH_SPACE.join(paper.pieces(word)) if len(word) > paper.LONG_WORD else word for word in text.split()
    )
    return literal(" ".join(words))


def _set(headings: list[paper.Heading], block: Block | None, names: Mapping[str, str]) -> Iterator[str]:
    """A block under its headings."""
    layout = paper.layout(block) if isinstance(block, Table) and block.columns else None
    if layout and layout.turned:
        yield "#page(flipped: true)["
    for depth, title in headings:
        yield f"#heading(level: {depth + 1}, {literal(title)})"
    if isinstance(block, Paragraph):
        yield f"#par({wrapped(block.text)})"
    elif isinstance(block, Items):
        yield f"#list({''.join(f'{_item(term, text)}, ' for term, text in block.items)})"
    elif isinstance(block, Code):
        yield f"#raw(block: true, {literal(block.text)})"
    elif isinstance(block, Table) and layout:
        yield from _table(block, layout)
    elif isinstance(block, Picture):
        told, caption = literal(block.alt), wrapped(block.caption or block.alt)
        yield f"#figure(drawn({literal(names[block.stem])}, {told}), caption: text({caption}))"
    if layout and layout.turned:
        yield "]"


def _item(term: str, text: str) -> str:
    return f'strong({wrapped(term)}) + text(": ") + text({wrapped(text)})' if term else f"text({wrapped(text)})"


def _table(table: Table, layout: paper.Layout) -> Iterator[str]:
    """A table that breaks over pages under its repeated head."""
    yield "#["
    yield f"#set text(size: {layout.size:g}pt)"
    yield "#set par(leading: 0.45em)"
    for part in layout.parts:
        columns = [table.columns[index] for index in part.columns]
        widths = "".join(f"{width + paper.GAP:.1f}pt, " for width in part.widths)
        sides = "".join(f"{'right' if column.numeric else 'left'}, " for column in columns)
        yield f"#table(columns: ({widths}), align: ({sides}), stroke: none,"
        yield f"  inset: (x: {paper.GAP / 2:g}pt, y: 2.4pt), line(stroke: 0.8pt),"
        yield f"  table.header({', '.join(map(_head, columns))}, line(stroke: 0.5pt)),"
        for row in table.rows:
            yield "  " + "".join(f"{_cell(table.columns[index], row[index])}, " for index in part.columns)
        yield "  line(stroke: 0.8pt))"
    if table.note:
        yield f"#par(text(size: 8pt, {wrapped(table.note)}))"
    yield "]"


def _head(column: Column) -> str:
    head = f"strong({wrapped(column.head)})"
    return f"[#{head} #linebreak() #mark({literal(column.mark)})]" if column.mark else head


def _cell(column: Column, value: object) -> str:
    text = column.text(value)
    if column.numeric:
        return literal(text.replace(" ", "\u00a0"))
    lines = (" ".join(ZERO_WIDTH_SPACE.join(paper.pieces(word)) for word in line.split()) for line in text.splitlines())
    return literal("\n".join(lines))
