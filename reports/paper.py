"""How a table lies on a page of paper: its type, whether the page is turned, how wide its columns are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .document import Column, Table

PORTRAIT, LANDSCAPE = 470.0, 715.0
"""Points across an A4 page between margins of 22 mm, upright and turned."""
GAP = 8.0
"""Points between two columns."""
TRIED = ((9.0, False), (8.0, False), (7.0, False), (8.0, True), (7.0, True))
"""Sizes of type in points, and whether the page is turned, the best first."""
MOST_EMS = 26.0
"""Longer texts are broken into lines before the type gets smaller."""
WIDE, NARROW = frozenset("mwMWµ@%×→≤≥—…"), frozenset("iljtfrI.,;:'|![]() ")
BREAKS = re.compile(r"(?<=[/_=,;:.+])(?=[^\s\d])|(?<=[-_/=,;:])(?=\d)|(?<=[^\s-]-)(?=[^\s-])|(?<=\))(?=\()")
"""Where a word may be broken: a name of a file, a kernel or a config."""


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


def layout(table: Table) -> Layout:
    """The largest type, upright if possible, in which the columns lie side by side."""
    least, wanted = zip(*(_needs(table, index) for index in range(len(table.columns))), strict=True)
    every = tuple(range(len(table.columns)))
    for size, turned in TRIED:
        if _across(wanted, size) <= _room(turned):
            return Layout(size, turned, (Part(every, _given(least, wanted, size, turned)),))
    size, turned = TRIED[-1]
    parts, at = [], 0
    while at < len(every):
        shown = [0] if at else []
        while at < len(every) and (_across([least[i] for i in (*shown, at)], size) <= _room(turned) or len(shown) < 2):
            shown.append(at)
            at += 1
        widths = _given([least[i] for i in shown], [wanted[i] for i in shown], size, turned)
        parts.append(Part(tuple(shown), widths))
    return Layout(size, turned, tuple(parts))


def _needs(table: Table, index: int) -> tuple[float, float]:
    """Least and wanted width of a column in ems. Numbers are never broken; heads are, between words."""
    column = table.columns[index]
    texts = [column.text(row[index]) for row in table.rows]
    longest = max((ems(line) for text in texts for line in text.splitlines()), default=0.0)
    words = [word for line in heads(column) for word in line.split()]
    head = 1.08 * max(map(ems, words), default=0.0)  # heads are bold
    if column.numeric:
        return max(longest, head), max(longest, head)
    least = max([head, *(ems(piece) for text in texts for piece in pieces(text))])
    return least, max(least, min(longest, MOST_EMS))


def _across(widths: Sequence[float], size: float) -> float:
    """Points that columns of so many ems take side by side."""
    return size * sum(widths) + GAP * (len(widths) - 1)


def _room(turned: bool) -> float:
    return LANDSCAPE if turned else PORTRAIT


def _given(least: Sequence[float], wanted: Sequence[float], size: float, turned: bool) -> tuple[float, ...]:
    """Points for each column: what it wants, or what is left above the least, in equal shares of what is asked."""
    over = _across(wanted, size) - _room(turned)
    spare = size * (sum(wanted) - sum(least))
    if over <= 0 or not spare:
        return tuple(size * want for want in wanted)
    return tuple(size * (want - (want - few) * min(over * size / spare / size, 1.0))
                 for few, want in zip(least, wanted, strict=True))  # fmt: skip
