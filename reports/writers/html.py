"""A document as one page that opens from disk: charts by plotly, tables by DataTables as itables ships it."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..document import MARKS, Block, Chart, Column, Document, Section, Table, walk
from . import _figures as figures

if TYPE_CHECKING:
    from . import Album

PAGE = Path(__file__).parent / "_page"
SCRIPTS = ("page.js", "labels.js", "charts.js", "tables.js", "main.js")
LONG = 100
"""Rows from which a table's cells are handed over as JSON."""
FACETS = ("chip", "variant")


def write(document: Document, album: Album) -> dict[str, bytes]:
    """`<stem>.html`. The same document gives the same bytes. Raises InputError where a library is not installed."""
    try:
        import jinja2

        plotly = _plotly() if any(isinstance(block, Chart) for block in walk(document.blocks)) else ""
        script, style = _datatables() if any(isinstance(block, Table) for block in walk(document.blocks)) else ("", "")
    except ImportError as error:
        from . import missing

        raise missing("html", error) from error
    from markupsafe import Markup

    page = _Page(document, album)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    imports = {"imports": {"datatables": data_uri("text/javascript", script.encode())}} if script else None
    text = environment.get_template("page.html.jinja").render(
        document=document, page=page, marks=MARKS, facets=page.facets, quantities=page.quantities,
        data=Markup(embedded(page.data())), imports=imports and Markup(embedded(imports)),
        plotly=Markup(plotly), styles=[Markup(style), Markup((PAGE / "page.css").read_text())],
        script=Markup("\n".join((PAGE / name).read_text() for name in SCRIPTS)),
    )  # fmt: skip
    return {f"{document.stem}.html": text.encode()}


def _plotly() -> str:
    """plotly.js of the installed package."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _datatables() -> tuple[str, str]:
    """Script (an ES module) and style of DataTables; itables itself would import IPython."""
    found = importlib.util.find_spec("itables")
    if found is None or found.origin is None:
        raise ImportError("no itables", name="itables")
    bundle = Path(found.origin).parent / "html" / "dt_bundle.js"
    return bundle.read_text(encoding="utf-8"), bundle.with_suffix(".css").read_text(encoding="utf-8")


def data_uri(kind: str, data: bytes) -> str:
    """Bytes as an address that needs no file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def embedded(data: Any) -> str:
    """JSON that may stand inside a script element, whatever its texts hold."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


class _Page:
    """What the template and the script ask of a document."""

    def __init__(self, document: Document, album: Album) -> None:
        self._album = album
        blocks = list(walk(document.blocks))
        self._charts = [block for block in blocks if isinstance(block, Chart)]
        self._tables = [block for block in blocks if isinstance(block, Table)]
        self._numbers = {id(block): f"{type(block).__name__.lower()}-{n}" for n, block in enumerate(blocks, start=1)}
        self.facets = {name: _facet(name, self._charts, self._tables) for name in FACETS}

    def kind(self, block: Block) -> str:
        """The block's name in the template."""
        return type(block).__name__

    def id(self, block: Block) -> str:
        """A name that is the block's own on the page."""
        return self._numbers[id(block)]

    def sections(self, blocks: Iterable[Block]) -> list[Section]:
        """For the table of contents."""
        return [block for block in blocks if isinstance(block, Section)]

    def image(self, picture: Any) -> str:
        """The picture's address."""
        return data_uri("image/svg+xml", self._album.encoded(picture, "svg"))

    def is_long(self, table: Table) -> bool:
        """Whether its rows are handed over as JSON."""
        return len(table.rows) >= LONG

    def order(self, column: Column, cell: Any) -> str:
        """What a cell is sorted by: its number, or its text."""
        value = figures.number(cell)
        return column.text(cell) if value is None and cell is not None else "" if value is None else repr(value)

    @property
    def quantities(self) -> list[dict[str, Any]]:
        """The switches of quantities: one for all charts that offer the same."""
        groups: dict[tuple[str, ...], list[Chart]] = {}
        for chart in self._charts:
            if len(chart.quantities) > 1:
                groups.setdefault(tuple(q.key for q in chart.quantities), []).append(chart)
        return [
            {"name": "Show" if len(groups) == 1 else f"Show in {charts[0].title}", "id": f"quantity-{n}",
             "charts": " ".join(map(self.id, charts)), "choices": charts[0].quantities}
            for n, charts in enumerate(groups.values(), start=1)
        ]  # fmt: skip

    def data(self) -> dict[str, Any]:
        """What the page's script works on."""
        chips, variants = (self.facets[name]["names"] for name in FACETS)
        charts = {
            self.id(chart): {
                **figures.figure(chart, chips, variants), "file": chart.id, "quantity": chart.quantities[0].key,
                "axes": {quantity.key: figures.y_axis(quantity) for quantity in chart.quantities},
            }
            for chart in self._charts
        }  # fmt: skip
        return {"charts": charts, "tables": {self.id(table): self._table(table) for table in self._tables}}

    def _table(self, table: Table) -> dict[str, Any]:
        """Columns, the facet names of each row, and the cells (text, order) of a long table."""
        columns = list(enumerate(table.columns))
        kept = {}
        for name in FACETS:
            place = next((index for index, column in columns if column.facet == name), None)
            if place is not None:
                kept[name] = [self.facets[name]["given"][str(row[place])] for row in table.rows]
        spec: dict[str, Any] = {"numeric": [_numbers(table, index) for index, _ in columns], "facets": kept}
        if self.is_long(table):
            spec["right"] = [column.numeric for column in table.columns]
            spec["rows"] = [
                [[column.text(row[i]), self.order(column, row[i])] if spec["numeric"][i] else column.text(row[i])
                 for i, column in columns]
                for row in table.rows
            ]  # fmt: skip
        return spec


def _numbers(table: Table, index: int) -> bool:
    """Whether a column is sorted by number: all that it holds are numbers."""
    held = [row[index] for row in table.rows if row[index] is not None]
    return bool(held) and all(figures.number(cell) is not None for cell in held)


def _facet(facet: str, charts: Sequence[Chart], tables: Sequence[Table]) -> dict[str, Any]:
    """All names of chips or variants in reading order, what the page calls them, and the name that each cell gives.

    A cell may have parameters in brackets behind a name that stands alone elsewhere.
    """
    columns = [(table, i) for table in tables for i, column in enumerate(table.columns) if column.facet == facet]
    drawn = [getattr(one, facet) for chart in charts for one in (*chart.points, *chart.lines) if hasattr(one, facet)]
    cells = [str(row[i]) for table, i in columns for row in table.rows]
    known = {*drawn, *cells}
    given = {name: name for name in drawn}
    for cell in cells:
        bare = re.sub(r" \(.*\)$", "", cell)
        given.setdefault(cell, bare if bare in known else cell)
    head = columns[0][0].columns[columns[0][1]].head if columns else facet
    return {"names": list(dict.fromkeys(given.values())), "title": f"{head.capitalize()}s", "given": given}
