"""attnsim autotune export: tuned configs, studies and recordings as files."""

from __future__ import annotations

import click

from ...simulator.errors import InputError, unknown
from .._options import write_output

FORMATS = ("json", "t4")


@click.command(
    "export",
    epilog="""\b
Examples:
  attnsim autotune export --output records.json
  attnsim autotune export 3fa2c1 --output recording.json
  attnsim autotune export recording.json --format t4 --output results.json
""",
)
@click.argument("what", required=False, metavar="[STUDY|FILE]")
@click.option("--storage", metavar="URL|FILE", help="Where studies are (default: the file under ~/.cache/attnsim).")
@click.option("--format", "form", default="json", show_default=True, help="json, or t4 (Kernel Tuner's results).")
@click.option("--output", metavar="FILE", help="Write there in place of standard output.")
def command(what: str | None, storage: str | None, form: str, output: str | None) -> None:
    """Write the tuned configs that `attention` uses, or one STUDY or recording FILE.

    What is written can be read again: `attnsim autotune import`, `--device replay:FILE`.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if what is None:
        if form == "t4":
            raise InputError("T4 holds measurements: name a study or a recording")
        from ...kernels.records import export

        write_output(export(), output)
        return
    from ...autotune.archives import t4
    from .show import recording

    found = recording(what, storage)
    if form == "t4":
        write_output(t4.dump(found), output)
    else:
        write_output(found.to_json(), output)
