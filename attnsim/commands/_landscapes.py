"""attnsim validate --data landscapes:FILE: the model's order of measured configs, as a table or json."""

from __future__ import annotations

import io
import json
from typing import Any

MEANING = (
    "kendall: rank correlation of predicted and measured time over the configs that ran. first K: the best time over "
    "the best time among the model's first K; 0 where all of those failed."
)


def rendered(path: str, form: str) -> str:
    """What is printed of a file of landscapes. Raises InputError for a file that is none."""
    from ..autotune import landscapes

    records = landscapes.records(path)
    if form == "json":
        return json.dumps(records, indent=1, allow_nan=False)
    return table(records, landscapes.summary(records))


def table(records: list[dict[str, Any]], means: dict[str, Any]) -> str:
    """A line a landscape that is modelled, then those that are not, with the reason."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for index, head in enumerate(
        ("landscape", "chip", "configs", "kendall", "first 1", "first 2", "first 4", "assumed")
    ):
        grid.add_column(head, justify="right" if 2 <= index < 7 else "left", no_wrap=index < 7)

    def text(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    modelled = [record for record in records if record["reason"] is None]
    for record in modelled:
        grid.add_row(
            record["landscape_id"], record["hardware"], str(record["configs"]), text(record["kendall"], ".2f"),
            *(text(record[f"first{k}"], ".1%") for k in (1, 2, 4)), ", ".join(record["assumed"]),
        )  # fmt: skip
    if modelled:
        grid.add_section()
        grid.add_row(
            f"geometric mean of {len(modelled)}", "", "", "", *(text(means[f"first{k}"], ".1%") for k in (1, 2, 4)), ""
        )
    buffer = io.StringIO()
    Console(file=buffer, width=150, highlight=False, color_system=None).print(grid)
    lines = [line.rstrip() for line in buffer.getvalue().rstrip().splitlines()] if modelled else []
    left = [f"  {record['landscape_id']}: {record['reason']}" for record in records if record["reason"] is not None]
    if left:
        lines += ["", f"Not modelled ({len(left)} of {len(records)}):", *left]
    return "\n".join([*lines, "", MEANING])
