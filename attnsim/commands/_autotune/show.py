"""attnsim autotune show: what is kept, or one study or recording in full."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..hw import check_format, print_table


@click.command(
    "show",
    epilog="""\b
Examples:
  attnsim autotune show
  attnsim autotune show 3fa2c1
  attnsim autotune show recording.json --format json
""",
)
@click.argument("what", required=False, metavar="[STUDY|FILE]")
@click.option("--storage", metavar="URL|FILE", help="Where studies are (default: the file under ~/.cache/attnsim).")
@click.option("--format", "form", default="table", show_default=True, help="table or json.")
def command(what: str | None, storage: str | None, form: str) -> None:
    """List studies and tuned configs; or show every measurement of one STUDY (part of its name will do), of a
    recording, of a TorchInductor log or of a T4 file that states its task.
    """
    from ._recordings import HEADS, compared

    check_format(form)
    if what is None:
        overview(storage, form)
        return
    found = compared(recording(what, storage))
    if form == "json":
        tasks = [{"task": one.task.to_dict(), "measurements": one.rows()} for one in found]
        click.echo(json.dumps(tasks, indent=2, allow_nan=False))
        return
    for one in found:
        click.echo(f"{one.task}: {one.verdict()}")
        print_table(HEADS, one.cells())


def recording(what: str, storage: str | None) -> Any:
    """A file's recording, or a study's. Raises InputError."""
    from ...autotune import archives
    from ._studies import recording_of

    return archives.read(what) if Path(what).is_file() else recording_of(what, storage)


def overview(storage: str | None, form: str) -> None:
    """Studies, then tuned configs."""
    from ...kernels import records
    from ...reports.words import seconds
    from ._studies import kept, summary

    studies = [summary(study) for study in kept(storage)]
    tuned = list(records.load().values())
    if form == "json":
        found = {"studies": [study.to_dict() for study in studies], "records": tuned}
        click.echo(json.dumps(found, indent=2, allow_nan=False))
        return
    if studies:
        rows = [[s.id, s.said, str(s.measured), seconds(s.best_s), s.stopped] for s in studies]
        print_table(("study", "of", "measured", "best", "stopped"), rows)
    else:
        click.echo("no studies: attnsim autotune VARIANT makes one")
    if tuned:
        print_table(("chip", "kernel", "problems", "config", "measured", "found with"), [record_row(r) for r in tuned])
    else:
        click.echo("no tuned configs: attnsim autotune VARIANT --device cuda records its winner")


def record_row(record: dict[str, Any]) -> list[str]:
    """A tuned config as a row."""
    from ...kernels.records import kernel_called
    from ...reports.words import seconds
    from ...simulator.buckets import RANGES
    from ...simulator.prediction import as_tuples

    bucket = record["bucket"]
    sizes = [f"{name} {'-'.join(map(str, dict.fromkeys(bucket[name])))}" for name in RANGES if name in bucket]
    config = kernel_called(record["kernel"]).config_type(**as_tuples(record["config"]))
    versions = " ".join(f"{name} {number}" for name, number in record["versions"].items())
    return [record["hardware"], record["kernel"], f"{bucket['variant']}, {', '.join(sizes)}", str(config),
            seconds(record.get("seconds")), versions]  # fmt: skip
