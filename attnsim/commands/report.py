"""attnsim report: predictions as pictures and documents."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..simulator.errors import InputError, unknown
from .predict import collect
from .predict import command as predict_command

NOT_SHARED = ("form", "output")
"""Options of `predict` that a report has no use for."""
SHARED = [param for param in predict_command.params if param.name not in NOT_SHARED]


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, all of them or none; it is made if need be. Raises InputError.

    They are written to a folder inside first and then moved, so that nobody sees half of one.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    staging = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            if (folder / name).is_dir():
                raise IsADirectoryError(21, "Is a directory", name)
        staging = Path(tempfile.mkdtemp(dir=folder, prefix=".report-"))
        for name, data in files.items():
            (staging / name).write_bytes(data)
        for name in files:
            os.replace(staging / name, folder / name)
        staging.rmdir()
    except OSError as error:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        why = "it is a file, not a folder" if folder.is_file() else error.strerror
        raise InputError(f"cannot write to {str(folder)!r}: {why}") from None


def command_line(context: click.Context) -> str:
    """The command that reproduces a report: what was given, with the folder left open."""
    words = context.command_path.split()
    options = []
    for param in context.command.params:
        if context.get_parameter_source(str(param.name)) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[str(param.name)]
        if isinstance(param, click.Argument):
            words += value
        elif isinstance(value, bool):
            assert isinstance(param, click.Option)
            options.append(param.opts[0] if value else param.secondary_opts[0])
        else:
            for one in value if isinstance(value, tuple) else (value,):
                options += [max(param.opts, key=len), "DIR" if param.name == "out" else str(one)]
    return shlex.join(words + options)


class Reports(click.Group):
    """The kinds of reports; a mistyped one is answered with the nearest."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            raise unknown("report", args[0], self.commands)
        return super().resolve_command(ctx, args)


@click.group(cls=Reports, no_args_is_help=False)
def command() -> None:
    """Pictures and documents of predictions.

    \b
    attnsim report roofline --hw b200,h100 --out DIR
    """


@command.command(
    params=SHARED,
    epilog="""\b
Examples:
  attnsim report roofline --hw b200 --out roofline
  attnsim report roofline mha gqa mla --hw h100,b200 --seq 1 --kv-len 32k --batch 16 --out decode
  attnsim report roofline gna mha --hw b200 --shape 30x48x80 --heads 24 -p window=18x24x24 --out video --format pdf
""",
)
@click.option("--out", required=True, metavar="DIR", help="Folder for the files; made if need be.")
@click.option("--format", "forms", default="svg,png", show_default=True, metavar="FORMAT[,FORMAT]",
              help="Of the pictures: svg, png, pdf.")  # fmt: skip
@click.pass_context
def roofline(context: click.Context, /, variants: tuple[str, ...], out: str, forms: str, **options: Any) -> None:
    """The hierarchical roofline of each chip with VARIANTs as points, and a Markdown document beside it.

    With no VARIANT: one of each family.
    """
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot write to {out!r}: it is a file, not a folder")
    results, _ = collect(variants, options)
    from ..reports.roofline import report

    formats = [form.strip() for form in forms.lower().split(",") if form.strip()]
    files = report(results, formats=formats, command=command_line(context))
    write_folder(folder, files)
    for name in files:
        click.echo(str(folder / name))
