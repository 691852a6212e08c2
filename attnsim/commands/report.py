"""attnsim report: predictions, landscapes and validations as pictures and documents; one file a kind in `_reports/`."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from ..simulator.errors import unknown


class Reports(click.Group):
    """The kinds of reports are the files of a folder; a mistyped one is answered with the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        folder = Path(__file__).parent / "_reports"
        return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            raise unknown("report", cmd_name, self.list_commands(ctx))
        found: click.Command = importlib.import_module(f"{__package__}._reports.{cmd_name}").command
        return found


@click.group(cls=Reports, no_args_is_help=False)
def command() -> None:
    """Pictures and documents that go into a paper, a design review or an issue.

    \b
    attnsim report roofline --hw b200,h100 --out DIR --format html
    """
