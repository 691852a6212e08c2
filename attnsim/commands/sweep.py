"""attnsim sweep: a grid of problems, variants and chips to a table."""

from __future__ import annotations

import io
import itertools
import math
from pathlib import Path
from typing import Any

import click

from .._files import write_file
from ._options import parse_chips, parse_parameters, parse_size, problem_arguments, problem_options

MOST_POINTS = 2**22
"""Points of one call at most: about 3 GB of columns."""
ROWS = 2**16
"""Rows turned into text at a time."""
GRID = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "v_dim")


def parse_grid(name: str, text: str) -> list[int]:
    """Sizes to sweep: `1k,2k,4k`, `1k..1M` (doubling) or `1000:9000:500` (start, stop, step). Raises InputError."""
    from ..simulator.errors import InputError

    found: list[int] = []
    for word in text.split(","):
        if ".." in word:
            first, last = (parse_size(name, side) for side in word.split("..", 1))
            if not 1 <= first <= last:
                raise InputError(f"{name} range {word!r} is empty")
            while first <= last:
                found.append(first)
                first *= 2
        elif ":" in word:
            sides = [parse_size(name, side) for side in word.split(":")]
            if len(sides) != 3 or sides[2] < 1 or sides[0] > sides[1]:
                raise InputError(f"{name} range {word!r}; allowed: start:stop:step")
            values = range(sides[0], sides[1] + 1, sides[2])
            check_points(len(values))
            found += values
        else:
            found.append(parse_size(name, word))
    return found


def check_points(points: int) -> None:
    """Raises InputError for grids that no memory holds."""
    from ..simulator.errors import InputError

    if points > MOST_POINTS:
        raise InputError(f"a grid of {points:,} points; at most {MOST_POINTS:,} are swept in one call")


def collect(variants: tuple[str, ...], chips: list[str], grid: dict[str, list[int]], rest: dict[str, Any]) -> Any:
    """Columns of the whole grid: variant by variant, chip by chip, points in order; a progress bar on stderr."""
    import numpy as np
    from rich.console import Console
    from rich.progress import track

    from ..simulator.api import PROBLEM_NAMES, declared_by
    from ..simulator.sweep import sweep

    jobs = list(itertools.product(variants, chips))
    check_points(math.prod(len(values) for values in grid.values()) * len(jobs))
    axes = np.meshgrid(*grid.values(), indexing="ij") if grid else []
    sizes: dict[str, Any] = {name: axis.ravel().astype(np.float64) for name, axis in zip(grid, axes, strict=True)}
    parts = []
    every = {name for variant in variants for name in declared_by(variant)}
    console = Console(stderr=True)
    for variant, chip in track(jobs, "sweeping", console=console, transient=True, disable=not console.is_terminal):
        # Parameters that only other variants declare are left to them.
        others = every - declared_by(variant) - set(PROBLEM_NAMES)
        mine = {name: value for name, value in rest.items() if name not in others}
        parts.append(sweep(variant, hardware=chip, **sizes, **mine))
    names = list(dict.fromkeys(name for part in parts for name in part))
    return {
        name: np.concatenate([p[name] if name in p else np.full(len(p["variant"]), None, dtype=object) for p in parts])
        for name in names
    }


def encode(columns: Any, suffix: str) -> bytes:
    """CSV or Parquet. Raises InputError where pyarrow is missing."""
    from ..simulator.errors import InputError

    if suffix == ".parquet":
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError:
            raise InputError("Parquet needs pyarrow: pip install pyarrow") from None
        table = pyarrow.table({name: pyarrow.array(column) for name, column in columns.items()})
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink)
        return bytes(sink.getvalue())
    import csv

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for start in range(0, len(columns["variant"]), ROWS):
        block = (column[start : start + ROWS].tolist() for column in columns.values())
        writer.writerows(zip(*([_cell(v) for v in column] for column in block), strict=True))
    return buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    """Nothing for what is unavailable, whole numbers without a point."""
    if value is None or value != value:
        return ""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


@click.command(
    epilog="""\b
Examples:
  attnsim sweep mha sliding-window --hw b200,h100 --seq 1k..1M --causal --output sweep.csv
  attnsim sweep mha --seq 1 --kv-len 1k..128k --batch 1,16,64 --kv-heads 8 --output decode.parquet
"""
)
@click.argument("variants", nargs=-1, required=True, metavar="VARIANT ...")
@click.option("--hw", "hardware", default="b200", show_default=True, metavar="NAME[,NAME|FILE]",
              help="Chips by name, or profile files; or all.")  # fmt: skip
@problem_options
@click.option("-p", "parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the variants.")
@click.option("--output", metavar="FILE", help="A .csv or .parquet file (default: CSV on standard output).")
def command(variants: tuple[str, ...], hardware: str, parameter: tuple[str, ...], output: str | None,
            **options: Any) -> None:  # fmt: skip
    """Every rung for a grid of problems, VARIANTs and chips.

    Sizes take lists (1k,2k), doublings (1k..1M) and ranges (1000:9000:500); the grid is their product.
    """
    from ..simulator.errors import InputError

    suffix = Path(output).suffix if output else ".csv"
    if suffix not in (".csv", ".parquet"):
        raise InputError(f"output {output!r}; allowed: a name that ends in .csv or .parquet")
    grid = {name: parse_grid(name.replace("_", "-"), options.pop(name)) for name in GRID if options.get(name)}
    rest = {**problem_arguments(options), **parse_parameters(parameter)}
    data = encode(collect(variants, parse_chips(hardware), grid, rest), suffix)
    if output:
        write_file(Path(output), data)
    else:
        click.echo(data.decode(), nl=False)
