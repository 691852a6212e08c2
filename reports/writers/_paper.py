"""A document on paper: which headings stand above what, how large the type of a table is, how wide its columns are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..document import Block, Chart, Column, Section, Table

PORTRAIT, LANDSCAPE = 470.0, 715.0
"""Points across an A4 page between margins of 22 mm, upright and turned."""
GAP = 8.0
"""Points between two columns."""
TRIED = (
    (9.0, False, 20), (8.0, False, 20), (8.0, False, 13), (7.0, False, 10), (8.0, True, 20), (7.0, True, 20),
)  # fmt: skip
"""The best first: the size of the type in points, whether the page is turned, and the least ems from which texts may be
broken into lines."""
LONGEST = 200
"""Ems beyond which any line is broken."""
BOLDER, SMALLER = 1.22, 0.9
"""Widths of bold type, and sizes of the marks below heads, over those of usual type."""
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


def _head(column: Column) -> float:
    """Ems of the widest word above a column: its head is bold, the mark of its numbers is smaller."""
    mark = SMALLER * ems(f"({column.mark})") if column.mark else 0.0
    return max((mark, *(BOLDER * ems(word) for word in column.head.split())))


@dataclass(frozen=True, slots=True)
class _Needs:
    """Ems of a column: with every line broken where it may be, and with none broken."""

    least: float
    most: float

    def wanted(self, ems: float) -> float:
        """With longer lines broken."""
        return max(self.least, min(self.most, ems))


def layout(table: Table) -> Layout:
    """The largest type, upright if possible, in which the columns lie side by side."""
    needs = [_needs(table, index) for index in range(len(table.columns))]
    for size, turned, least in TRIED:
        if (level := _level(needs, size, turned)) >= least:
            return Layout(size, turned, (_part(range(len(needs)), needs, size, level),))
    size, turned, _ = TRIED[-1]
    parts: list[Part] = []
    at = 0
    while at < len(needs):
        shown = [0] if at else []
        while at < len(needs):
            level = _level([needs[index] for index in (*shown, at)], size, turned)
            if level < 0 and len(shown) > 1:
                break
            shown.append(at)
            at += 1
        level = _level([needs[index] for index in shown], size, turned)
        parts.append(_part(shown, needs, size, level))
    return Layout(size, turned, tuple(parts))


def _level(needs: Sequence[_Needs], size: float, turned: bool) -> int:
    """The most ems from which lines must be broken so that the columns fit the page; below 0 where they never do."""
    room = LANDSCAPE if turned else PORTRAIT
    fits = (ems for ems in range(LONGEST, -1, -1) if sum(size * n.wanted(ems) + GAP for n in needs) - GAP <= room)
    return next(fits, -1)


def _part(columns: Sequence[int], needs: Sequence[_Needs], size: float, level: int) -> Part:
    return Part(tuple(columns), tuple(size * needs[index].wanted(level) for index in columns))


def _needs(table: Table, index: int) -> _Needs:
    """What a column needs. Numbers are never broken; heads are, between words."""
    column = table.columns[index]
    texts = [column.text(row[index]) for row in table.rows]
    longest = max((ems(line) for text in texts for line in text.splitlines()), default=0.0)
    head = _head(column)
    most = max(longest, head)
    if column.numeric:
        return _Needs(most, most)
    least = max([head, *(ems(piece) for text in texts for piece in pieces(text))])
    return _Needs(least, most)
