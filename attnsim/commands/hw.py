"""attnsim hw: the chips that are known, every number of one, and this host measured."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from .._files import make_folder
from ._options import parse_overrides, write_output

FORMATS = ("table", "json")


def check_format(form: str) -> None:
    """Raises InputError for a format that is not one of table and json."""
    from ..simulator.errors import unknown

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)


def summary(name: str) -> dict[str, Any]:
    """What `hw list` shows of a chip."""
    from ..simulator.bounds import matrix_peak
    from ..simulator.hardware import Hardware

    chip = Hardware.load(name)
    peak, bandwidth = matrix_peak(chip, "bf16"), chip.hbm_bandwidth_bytes_per_s
    return {
        "name": chip.name, "title": chip.title, "kind": chip.kind, "generation": chip.generation,
        "sm_count": chip.sm_count, "bf16_peak_flop_per_s": peak, "hbm_bandwidth_bytes_per_s": bandwidth,
        "state": f"validated on {chip.validated}" if chip.validated else "works" if peak and bandwidth
        else "incomplete",
    }  # fmt: skip


def print_table(heads: tuple[str, ...], rows: list[list[str]]) -> None:
    """A table as wide as the terminal, or as it needs where there is none; names are never broken."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        grid.add_column(head, no_wrap=head in ("name", "number", "value", "kind", "config", "predicted", "measured"))
    for row in rows:
        grid.add_row(*row)
    width = max(shutil.get_terminal_size().columns, 120) if sys.stdout.isatty() else 180
    Console(highlight=False, width=width).print(grid)


@click.group(no_args_is_help=True)
def command() -> None:
    """Chips: list them, show every number of one, measure this host."""


@command.command(
    "list",
    epilog="""\b
Example:
  attnsim hw list --format json
""",
)
@click.option("--format", "form", default="table", show_default=True, help="table or json.")
def list_(form: str) -> None:
    """List the chips that are known by name."""
    from ..reports.words import amount
    from ..simulator.hardware import Hardware

    check_format(form)
    chips = [summary(name) for name in Hardware.names()]
    if form == "json":
        click.echo(json.dumps(chips, indent=2))
        return
    rows = [
        [c["name"], c["title"], c["kind"], c["generation"], str(c["sm_count"]),
         amount(c["bf16_peak_flop_per_s"], "FLOP/s"), amount(c["hbm_bandwidth_bytes_per_s"], "B/s"), c["state"]]
        for c in chips
    ]  # fmt: skip
    print_table(("name", "chip", "kind", "generation", "units", "bf16 peak", "memory", "state"), rows)


@command.command(
    epilog="""\b
Examples:
  attnsim hw show b200
  attnsim hw show h100 --set exp_per_clock_per_sm=32 --format json
"""
)
@click.argument("name")
@click.option("--set", "override", multiple=True, metavar="FIELD=VALUE", help="Change a number.")
@click.option("--format", "form", default="table", show_default=True, help="table or json.")
def show(name: str, override: tuple[str, ...], form: str) -> None:
    """Every number of chip NAME (or of a profile file), its kind and its source."""
    from ..simulator.hardware import Hardware

    check_format(form)
    chip = Hardware.load(name, parse_overrides(override)).to_dict()
    if form == "json":
        click.echo(json.dumps(chip, indent=2))
        return
    numbers, sources = chip.pop("numbers"), chip.pop("sources")
    click.echo("\n".join(f"{key}: {value}" for key, value in chip.items() if value not in ("", False)))
    rows = [
        [field, "unknown" if n["value"] is None else f"{n['value']:,.6g}", n["kind"], n["source"]]
        for field, n in numbers.items()
        if n["value"] is not None or n["source"] != "not stated in the profile"
    ]
    print_table(("number", "value", "kind", "source"), rows)
    click.echo("\n".join(f"[{key}] {text}" for key, text in sources.items()))


@command.command(
    epilog="""\b
Examples:
  attnsim hw calibrate cpu --output mine.toml
  attnsim predict mha --hw mine.toml
  attnsim hw calibrate cpu --save
"""
)
@click.argument("name")
@click.option("--output", metavar="FILE", help="Write the profile there (default: standard output).")
@click.option("--save", is_flag=True, help="Keep it as this machine's: autotune and validate use it from then on "
              "($ATTNSIM_PROFILE_CPU or $ATTNSIM_PROFILE_CUDA, or ~/.cache/attnsim).")  # fmt: skip
def calibrate(name: str, output: str | None, save: bool) -> None:
    """Measure this machine and print its profile. NAME is cpu or cuda; the cpu takes some ten seconds."""
    from ..autotune.profiles import CALIBRATED, kept_profile, measured
    from ..simulator.errors import InputError, unknown

    if name not in CALIBRATED:
        raise unknown("device to calibrate", name, CALIBRATED)
    if output is not None and not output.endswith(".toml"):
        raise InputError(f"output {output!r}; allowed: a name that ends in .toml")
    if output is not None and not Path(output).parent.is_dir():
        raise InputError(f"cannot write {output!r}: No such file or directory")
    text = measured(name)
    if save:
        kept = kept_profile(name)
        make_folder(kept.parent)
        write_output(text, str(kept))
        click.echo(f"kept as {kept}", err=True)
    if output is not None or not save:
        write_output(text, output)
