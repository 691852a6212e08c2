"""The `attnsim` command: one file a command in `commands/`, imported when it is asked for."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import NoReturn

import click

from . import __version__
from .simulator.errors import InputError, unknown


class CommandFolder(click.Group):
    """Commands are the files of a folder; each has a click command called `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        folder = Path(__file__).parent / "commands"
        return sorted(p.stem for p in folder.glob("*.py") if not p.stem.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{__package__}.commands.{cmd_name}")
        found: click.Command = module.command
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            raise unknown("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)


@click.command(cls=CommandFolder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="attnsim")
def cli() -> None:
    """How fast can an attention mechanism be on a chip, how fast will it be, and what limits it.

    \b
    attnsim predict --hw b200
    attnsim predict gna --hw b200 --shape 30x48x80 --heads 24 -p window=18x24x24 -p stride=16x8x8
    attnsim explain moba
    """


def _fail(message: str) -> NoReturn:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(2)


def main() -> None:
    """Entry point: every mistake of the user is one line on standard error and exit code 2."""
    try:
        sys.exit(cli.main(prog_name="attnsim", standalone_mode=False) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(0)
    except InputError as error:
        _fail(str(error))
    except click.NoSuchOption as error:
        takes_parameters = error.ctx and any(o.name == "parameter" for o in error.ctx.command.params)
        hint = " A variant's own parameters are given as -p NAME=VALUE." if takes_parameters else ""
        _fail(error.format_message() + ("" if error.possibilities else hint))
    except click.ClickException as error:
        _fail(error.format_message())
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
