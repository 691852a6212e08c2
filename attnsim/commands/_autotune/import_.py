"""attnsim autotune import: measurements of other tools as a recording, or exported records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...simulator.errors import InputError
from .._options import parse_parameters, problem_arguments, problem_options


@click.command(
    "import",
    epilog="""\b
Examples:
  attnsim autotune import inductor.log --hw h100 --output recording.json
  attnsim autotune import results.json --hw a100 --seq 4k --heads 16 --head-dim 64 --causal --output recording.json
  attnsim autotune import records.json
""",
)
@click.argument("file")
@click.option("--output", metavar="REC", help="The recording to write (not for records).")
@click.option("--hw", "hardware", metavar="NAME|FILE", help="The chip, where the file does not state it.")
@click.option("--variant", default="mha", show_default=True, help="The variant, where the file does not state it.")
@click.option("--kernel", metavar="NAME", help="The kernel that was measured (default: another Triton kernel).")
@problem_options
@click.option("-p", "parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the variant.")
def command(
    file: str, output: str | None, hardware: str | None, variant: str, kernel: str | None, parameter: tuple[str, ...],
    **options: Any,
) -> None:  # fmt: skip
    """Make a recording of FILE: a TorchInductor AUTOTUNE log of flex_attention or Kernel Tuner's T4 results.

    What kind it is, is told by its content. A recording can be shown, exported, and replayed as a device. A file of
    records (`attnsim autotune export`) is added to those that `attention` uses, in place of older ones.
    """
    from ...autotune import archives, measurement
    from ...reports.words import plural
    from ._recordings import compared

    if is_records(file):
        if output is not None:
            raise InputError(f"{file!r} holds tuned configs, which are kept with the others; leave --output out")
        from ...kernels import records

        count = records.merge(archives.text_of(file), file)
        click.echo(f"{plural(count, 'tuned config')} added to {records.path()}")
        return
    if output is None:
        raise InputError("--output REC is missing: the recording to write")
    arguments = {**problem_arguments(options), **parse_parameters(parameter)}
    found = archives.read(file, archives.Context(hardware, kernel, variant, arguments))
    measurement.write(output, found.provenance, found.measurements)
    click.echo(f"{found.provenance.get('format', 'recording')}: {plural(len(found.tasks), 'problem')}, "
               f"{plural(len(found.measurements), 'config')}, written to {output}")  # fmt: skip
    for one in compared(found):
        click.echo(f"{one.task}\n  {plural(len(one.measurements), 'config')}, {one.verdict()}")
    for note in found.provenance.get("notes", ()):
        click.echo(f"note: {note}", err=True)


def is_records(file: str) -> bool:
    """Whether a file holds tuned configs."""
    from ...autotune import archives

    text = archives.text_of(Path(file)).lstrip()
    return text.startswith("{") and '"records"' in text and '"measurements"' not in text
