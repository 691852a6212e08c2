"""What the kinds of reports share: options, predictions that may leave variants out, and files written whole."""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ...simulator.errors import InputError
from .._options import parse_chips
from ..predict import collect
from ..predict import command as predict_command

if TYPE_CHECKING:
    from ...reports.document import Document
    from ...simulator.api import LeftOut
    from ...simulator.hardware import Hardware
    from ...simulator.prediction import Prediction

DEFAULT_FORMATS = "md,svg,png"
NOT_SHARED = ("form", "output", "plot")
"""Options of `predict` that a report has no use for."""


def shared_options(*leave_out: str) -> list[click.Parameter]:
    """The parameters of `attnsim predict` (variants, chips, problem), those named left out."""
    return [param for param in predict_command.params if param.name not in (*NOT_SHARED, *leave_out)]


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--out` and `--format`."""
    function = click.option(
        "--format", "forms", default=DEFAULT_FORMATS, show_default=True, metavar="FORMAT[,FORMAT]",
        help="Documents: html (one file, interactive), md, pdf, latex. Pictures alone: svg, png.",
    )(function)  # fmt: skip
    return click.option("--out", required=True, metavar="DIR", help="Folder for the files; made if need be.")(function)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Predictions chip by chip, and the variants that refuse the problem."""

    predictions: list[Prediction]
    left_out: tuple[LeftOut, ...]


def gather(variants: tuple[str, ...], options: Mapping[str, Any]) -> Gathered:
    """Predictions for the options of the command line. Variants that refuse the problem are left out and named.

    Raises InputError for unknown names and impossible sizes, and where every variant refuses.
    """
    left_out: list[LeftOut] = []
    predictions, _ = collect(variants, dict(options), left_out)
    if not predictions:
        reasons = dict.fromkeys(one.why for one in left_out)
        raise InputError("; ".join(reasons) if len(reasons) == 1 else f"nothing to report: {left_out[0]}")
    return Gathered(predictions, tuple(left_out))


def chosen_chips(text: str | None) -> dict[str, Hardware] | None:
    """The profiles that `--hw` names, by their names; None for all that there are measurements of.

    Raises InputError for an unknown one.
    """
    from ...simulator.api import load_hardware

    if text is None or text.strip().lower() == "all":
        return None
    return {profile.name: profile for profile in map(load_hardware, parse_chips(text))}


def check_output(out: str, forms: str) -> tuple[Path, list[str]]:
    """The folder and the formats, before anything is computed. Raises InputError."""
    from ...reports.writers import check

    if not out:
        raise InputError("--out names no folder")
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"cannot write to {out!r}: it is a file, not a folder")
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"cannot write to {out!r}: {str(nearest)!r} is a file, not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"cannot write to {out!r}: no permission in {str(nearest)!r}")
    return folder, check(forms.split(","))


def finish(document: Document, folder: Path, forms: Iterable[str], left_out: Iterable[LeftOut] = ()) -> None:
    """Write the document's files and list them; variants left out are named on standard error."""
    from ...reports.writers import write

    files = write(document, forms)
    write_folder(folder, files)
    for one in left_out:
        click.echo(f"left out: {one}", err=True)
    for name in files:
        click.echo(str(folder / name))


def of_predictions(
    context: click.Context, document: Callable[..., Document], variants: tuple[str, ...], out: str, forms: str,
    options: Mapping[str, Any],
) -> None:  # fmt: skip
    """A report over predictions: `document(predictions, command, left_out)`, written. Raises InputError."""
    folder, formats = check_output(out, forms)
    gathered = gather(variants, options)
    finish(document(gathered.predictions, command_line(context), gathered.left_out), folder, formats, gathered.left_out)


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
                raise IsADirectoryError(errno.EISDIR, f"{name!r} in it is a folder")
        staging = Path(tempfile.mkdtemp(dir=folder, prefix=".report-"))
        for name, data in files.items():
            (staging / name).write_bytes(data)
        for name in files:
            os.replace(staging / name, folder / name)
        staging.rmdir()
    except BaseException as error:  # an interrupted run leaves nothing behind either
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if not isinstance(error, OSError):
            raise
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
