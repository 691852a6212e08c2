"""A table as text, for output that has no terminal to fit."""

from __future__ import annotations

import io
from collections.abc import Sequence

WIDTH = 200


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int, title: str = "") -> str:
    """Columns under heads: the first `left` of them to the left and unbroken, numbers to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    made = Table(box=SIMPLE_HEAD, pad_edge=False, title=title or None, title_justify="left", title_style="")
    for index, head in enumerate(heads):
        made.add_column(head, justify="left" if index < left else "right", no_wrap=index < left)
    for row in rows:
        made.add_row(*row)
    buffer = io.StringIO()
    Console(file=buffer, width=WIDTH, highlight=False, color_system=None).print(made)
    return "\n".join(line.rstrip() for line in buffer.getvalue().strip("\n").splitlines())
