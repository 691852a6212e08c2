"""A document on paper: which headings stand above what, the type of a table, whether its page is turned, its columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .document import Block, Chart, Column, Section, Table

PORTRAIT, LANDSCAPE = 470.0, 715.0
"""Points across an A4 page between margins of 22 mm, upright and turned."""
GAP = 8.0
"""Points between two columns."""
TRIED = ((9.0, False), (8.0, False), (7.0, False), (8.0, True), (7.0, True))
"""Sizes of type in points, and whether the page is turned, the best first."""
MOST_EMS = 20.0
"""Longer texts are broken into lines before the type gets smaller."""
WIDE, NARROW = frozenset("mwMWµ@%×→≤≥—…"), frozenset("iljtfrI.,;:'|![]() ")
BREAKS = re.compile(r"(?<=[/_=,;:.+])(?=[^\s\d])|(?<=[_/=,;:])(?=\d)|(?<=[^\W_]-)(?=[^\W\d_])|(?<=\))(?=\()")
"""Where a word may be broken: a name of a file, a kernel or a config."""

LONG_WORD = 20
"""Letters from which a word of running text may be broken so."""


@dataclass(frozen=True, slots=True)
class Part:
    """Columns of a table that stand side by side, by index, and their widths in points without the gaps."""

    columns: tuple[int, ...]
    widths: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A table on paper. parts: more than one where not even a turned page holds all columns; each then begins with the
    first column."""

    size: float
    turned: bool
    parts: tuple[Part, ...]


Heading = tuple[int, str]
"""Depth, 0 at the top, and text."""


def flow(blocks: Sequence[Block]) -> Iterator[tuple[list[Heading], Block | None]]:
    """What is set, in reading order, with the headings right above it (on the same page). Charts are left out; headings
    with nothing below come with None."""
    headings: list[Heading] = []

    def within(some: Sequence[Block], depth: int) -> Iterator[tuple[list[Heading], Block | None]]:
        for block in some:
            if isinstance(block, Section):
                headings.append((depth, block.title))
                yield from within(block.blocks, depth + 1)
            elif not isinstance(block, Chart):
                yield headings[:], block
                headings.clear()

    yield from within(blocks, 0)
    if headings:
        yield headings, None


def ems(text: str) -> float:
    """About how wide a line of text is, in the size of its type: a little more than in usual serif fonts."""
    width = 0.0
    for letter in text:
        if letter in WIDE or ord(letter) >= 0x2E80:
            width += 1.0
        elif letter in NARROW:
            width += 0.37
        else:
            width += 0.74 if letter.isupper() else 0.54
    return width


def pieces(text: str) -> list[str]:
    """A text cut wherever a line may end, spaces left out.

    >>> pieces("two words, BLOCK_M=64;num-warps=4")
    ['two', 'words,', 'BLOCK_', 'M=', '64;', 'num-', 'warps=', '4']
    """
    return [piece for word in text.split() for piece in BREAKS.split(word) if piece]


def heads(column: Column) -> list[str]:
    """The lines above a column: its head, and the mark of its numbers."""
    return [column.head, f"({column.mark})"] if column.mark else [column.head]


@dataclass(frozen=True, slots=True)
class _Needs:
    """Ems of a column: with every line broken where it may be, as it should be, with no line broken."""

    least: float
    wanted: float
    most: float


def layout(table: Table) -> Layout:
    """The largest type, upright if possible, in which the columns lie side by side."""
    needs = [_needs(table, index) for index in range(len(table.columns))]
    for size, turned in TRIED:
        if _across((n.wanted for n in needs), size) <= _room(turned):
            return Layout(size, turned, (Part(tuple(range(len(needs))), _given(needs, size, turned)),))
    size, turned = TRIED[-1]
    parts: list[Part] = []
    at = 0
    while at < len(needs):
        shown = [0] if at else []
        while at < len(needs):
            over = _across((needs[index].least for index in (*shown, at)), size) > _room(turned)
            if over and len(shown) > 1:
                break
            shown.append(at)
            at += 1
        parts.append(Part(tuple(shown), _given([needs[index] for index in shown], size, turned)))
    return Layout(size, turned, tuple(parts))


def _needs(table: Table, index: int) -> _Needs:
    """What a column needs. Numbers are never broken; heads are, between words."""
    column = table.columns[index]
    texts = [column.text(row[index]) for row in table.rows]
    longest = max((ems(line) for text in texts for line in text.splitlines()), default=0.0)
    words = [word for line in heads(column) for word in line.split()]
    head = 1.16 * max(map(ems, words), default=0.0)  # heads are bold
    most = max(longest, head)
    if column.numeric:
        return _Needs(most, most, most)
    least = max([head, *(ems(piece) for text in texts for piece in pieces(text))])
    return _Needs(least, max(least, min(most, MOST_EMS)), most)


def _across(widths: Iterable[float], size: float) -> float:
    """Points that columns of so many ems take side by side."""
    return sum(size * width + GAP for width in widths) - GAP


def _room(turned: bool) -> float:
    return LANDSCAPE if turned else PORTRAIT


def _given(needs: Sequence[_Needs], size: float, turned: bool) -> tuple[float, ...]:
    """Points for each column: what it should have, and its share of what is left over or of what is missing."""
    spare = _room(turned) - _across((n.wanted for n in needs), size)
    move = [n.most - n.wanted if spare > 0 else n.least - n.wanted for n in needs]
    share = min(1.0, spare / (size * sum(move))) if any(move) else 0.0
    return tuple(size * (n.wanted + share * by) for n, by in zip(needs, move, strict=True))
