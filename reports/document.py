"""What a report says, before it is written in any format: plain values, which `writers/` turn into files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from . import words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Mark = Literal["counted", "bounded", "predicted", "measured", "claimed"]
MARKS: Mapping[Mark, str] = {
    "counted": "exact counts of the operator",
    "bounded": "a floor that no correct implementation beats: counts over peaks at the highest clock",
    "predicted": "floors plus modelled terms",
    "measured": "timed on a device, by the source named beside it",
    "claimed": "stated by a paper, under the paper's own configuration",
}
"""Where a number comes from; every column and axis of numbers carries one of these words."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Cells are raw values (None: unavailable), shown by `show`, so that pages can sort them.

    facet: `chip` or `variant` where the cells name one: a page's switches of chips and variants hide rows by it.
    """

    head: str
    show: Callable[[Any], str] = str
    mark: Mark | None = None
    facet: Literal["chip", "variant"] | None = None

    @property
    def numeric(self) -> bool:
        """Numbers stand to the right."""
        return self.show is not str

    @property
    def title(self) -> str:
        """The head with its mark."""
        return f"{self.head} ({self.mark})" if self.mark else self.head

    def text(self, cell: Any) -> str:
        """A cell as people read it."""
        return "-" if cell is None else self.show(cell)


VARIANT, CHIP = Column("variant", facet="variant"), Column("chip", facet="chip")


def seconds(head: str, mark: Mark) -> Column:
    """A column of times."""
    return Column(head, words.seconds, mark)


def amount(head: str, mark: Mark, unit: str = "") -> Column:
    """A column of counts, sizes or rates with SI prefixes."""
    return Column(head, lambda value: words.amount(value, unit), mark)


def count(head: str, mark: Mark) -> Column:
    """A column of whole numbers in full."""
    return Column(head, lambda value: f"{value:,.0f}", mark)


def times(head: str, mark: Mark) -> Column:
    """A column of speedups."""
    return Column(head, words.times, mark)


def number(head: str, mark: Mark) -> Column:
    """A column of plain ratios."""
    return Column(head, words.number, mark)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of raw cells under their columns; `note` stands below."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Items:
    """A list; each item has a term in bold (or "") and plain text."""

    items: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Text to be shown as it is: a command, a formula."""

    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, drawn when a format needs it. stem: its file's name; alt: what is seen, in words.

    `draw` is called inside `pictures.style()`.
    """

    stem: str
    alt: str
    draw: Callable[[], Figure]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Quantity:
    """What the vertical axis of a chart may show. key: its name in the points' values; label: with its unit."""

    key: str
    label: str
    mark: Mark
    log: bool = True


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a chart: one variant on one chip at x (a number, or a category). hover: lines shown beside it."""

    chip: str
    variant: str
    x: float | str
    values: Mapping[str, float | None]
    hover: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a chart that belongs to a chip, such as a ceiling, drawn where `quantity` is shown."""

    chip: str
    label: str
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    quantity: str


@dataclass(frozen=True, slots=True)
class Chart:
    """An interactive picture, for pages only: other formats have the pictures beside it.

    kind: `points` (scatter), `lines` (a line for each variant and chip along x), `bars` (x is a category). Where
    there are several quantities, the reader switches between them.
    """

    id: str
    title: str
    kind: Literal["points", "lines", "bars"]
    x_label: str
    quantities: tuple[Quantity, ...]
    points: tuple[Point, ...]
    lines: tuple[Line, ...] = ()
    x_log: bool = True


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: tuple[Block, ...]


Block = Paragraph | Items | Code | Table | Picture | Chart | Section


@dataclass(frozen=True, slots=True)
class Document:
    """A report. stem: the name of its files. lead: what is reported, in a line or two below the title."""

    stem: str
    title: str
    lead: str
    blocks: tuple[Block, ...] = ()


def walk(blocks: Iterable[Block]) -> Iterator[Block]:
    """All blocks in reading order, sections before what they hold."""
    for block in blocks:
        yield block
        if isinstance(block, Section):
            yield from walk(block.blocks)


def pictures(document: Document) -> Sequence[Picture]:
    """The pictures of a document in reading order."""
    return [block for block in walk(document.blocks) if isinstance(block, Picture)]
