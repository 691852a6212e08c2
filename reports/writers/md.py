"""Markdown as code hosts render it, with the pictures as SVG files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..document import Block, Chart, Code, Document, Items, Paragraph, Picture, Section, Table, pictures
from . import Album

SPECIAL = re.compile(r"[\\`*\[\]<>#|~$&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
"""What Markdown would read as markup; an underscore inside a word is none."""


def write(document: Document, album: Album) -> dict[str, bytes]:
    """`<stem>.md` and its pictures. Charts are left out: pictures show the same."""
    lines = [f"# {_plain(document.title)}", "", _plain(document.lead), "", *_blocks(document.blocks, 2)]
    files = {f"{picture.stem}.svg": album.encoded(picture, "svg") for picture in pictures(document)}
    return files | {f"{document.stem}.md": ("\n".join(lines).rstrip("\n") + "\n").encode()}


def _plain(text: str) -> str:
    return SPECIAL.sub(lambda found: f"\\{found[0]}", " ".join(text.split()))


def _blocks(blocks: Iterable[Block], level: int) -> list[str]:
    return [line for block in blocks for line in _block(block, level)]


def _block(block: Block, level: int) -> list[str]:
    match block:
        case Section():
            return [f"{'#' * level} {_plain(block.title)}", "", *_blocks(block.blocks, level + 1)]
        case Paragraph():
            return [_plain(block.text), ""]
        case Items():
            return [*(_item(term, text) for term, text in block.items), ""]
        case Code():
            return [_fence(block.text), block.text, _fence(block.text), ""]
        case Table():
            return [*_table(block), "", *([_plain(block.note), ""] if block.note else [])]
        case Picture():
            caption = [_plain(block.caption), ""] if block.caption else []
            return [f"![{_plain(block.alt)}]({block.stem}.svg)", "", *caption]
        case Chart():
            return []


def _item(term: str, text: str) -> str:
    return f"- **{_plain(term)}**: {_plain(text)}" if term else f"- {_plain(text)}"


def _fence(text: str) -> str:
    """Longer than any row of backticks inside."""
    longest = max((len(run) for run in text.replace("\n", " ").split(" ") if set(run) == {"`"}), default=0)
    return "`" * max(3, longest + 1)


def _table(table: Table) -> list[str]:
    lines = [_row([_plain(column.title) for column in table.columns]),
             _row(["---:" if column.numeric else "---" for column in table.columns])]  # fmt: skip
    cells = ([_plain(c.text(cell)) for c, cell in zip(table.columns, row, strict=True)] for row in table.rows)
    return lines + [_row(row) for row in cells]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
