"""attnsim variants: what can be predicted."""

from __future__ import annotations

import json
from typing import Any

import click


def describe(name: str) -> dict[str, Any]:
    """id, title, family, paper, aliases, parameters with defaults, and the phases a variant has."""
    from ..simulator import variants
    from ..simulator.prediction import plain

    cls = variants.get_class(name)
    phases = ["prefill"] + ["decode"] * cls.decode + ["backward"] * cls.backward
    defaults = {key: plain(value) for key, value in cls().parameters().items()}
    return {
        "id": cls.id, "title": cls.title, "family": cls.family, "paper": cls.paper, "aliases": list(cls.aliases),
        "parameters": defaults, "phases": phases,
    }  # fmt: skip


def matches(entry: dict[str, Any], search: str) -> bool:
    """Whether any text of the entry holds the words searched for."""
    text = " ".join([entry["id"], entry["title"], entry["family"], entry["paper"], *entry["aliases"]]).lower()
    return all(word in text for word in search.lower().split())


@click.command(
    epilog="""\b
Examples:
  attnsim variants
  attnsim variants --family linear
  attnsim variants --search window --format json
  attnsim variants --paper 2504.16922
"""
)
@click.option("--family", help="Only this family.")
@click.option("--search", metavar="TEXT", help="Words in id, title, paper or aliases.")
@click.option("--paper", metavar="ID", help="An arXiv id.")
@click.option("--format", "form", default="table", show_default=True, help="table or json.")
def command(family: str | None, search: str | None, paper: str | None, form: str) -> None:
    """List the attention variants."""
    from ..simulator import variants
    from ..simulator.errors import InputError, unknown

    if form not in ("table", "json"):
        raise unknown("format", form, ("table", "json"))
    entries = [describe(name) for name in variants.names()]
    if family is not None:
        families = sorted({entry["family"] for entry in entries})
        if family not in families:
            raise unknown("family", family, families)
        entries = [entry for entry in entries if entry["family"] == family]
    if search is not None:
        entries = [entry for entry in entries if matches(entry, search)]
    if paper is not None:
        entries = [entry for entry in entries if entry["paper"] == paper]
    if not entries:
        raise InputError("no variant matches; `attnsim variants` lists all of them")
    if form == "json":
        click.echo(json.dumps(entries, indent=2))
        return
    import shutil

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    for head in ("id", "title", "family", "paper", "parameters", "phases"):
        grid.add_column(head, no_wrap=head in ("id", "paper"))
    for entry in entries:
        parameters = ", ".join(f"{k}={v}" for k, v in entry["parameters"].items())
        texts = (entry[key] for key in ("id", "title", "family", "paper"))
        grid.add_row(*texts, parameters, " ".join(entry["phases"]))
    Console(highlight=False, width=max(shutil.get_terminal_size((140, 24)).columns, 130)).print(grid)
