"""attnsim validate: predictions against measured latencies."""

from __future__ import annotations

import io
import json
from typing import Any

import click

from ..simulator.errors import InputError, unknown
from ._options import write_output

FORMATS = ("table", "json")
MEANING = (
    "Errors: predicted over measured latency, in percent (size: mean, median, 90th percentile; signed median: below 0 "
    "is predicted too fast). Predicted is the kernel's schedule plus the framework's overhead, with constants from "
    "literature, not fitted to these rows. beat: rows faster than a floor, which no honest measurement is."
)


def names(option: str, text: str | None) -> list[str] | None:
    """Names joined by commas, or None where the option is not given."""
    if text is None:
        return None
    given = [name.strip() for name in text.split(",") if name.strip()]
    if not given:
        raise InputError(f"{option} names nothing")
    return given


@click.command(
    epilog="""\b
Examples:
  attnsim validate --data silicon
  attnsim validate --data silicon --chip h100,b200 --op context,decode --framework vllm --split held-out
  attnsim validate --data silicon --chip l40s --format json --output l40s.json
  attnsim validate --data landscapes:published.csv
  attnsim validate --device cpu
"""
)
@click.option("--data", default="silicon", show_default=True, help="Where measurements come from: silicon, the public "
              "latency tables of aiconfigurator-core (pip install 'attnsim[silicon]'), or landscapes:FILE, measured "
              "times of many tiles (a CSV table of published ones, a recording, or a folder of them).")  # fmt: skip
@click.option("--device", metavar="cpu|cuda", help="Measure here, in place of --data: speedups of windows and "
              "neighbourhoods over dense attention, predicted and measured.")  # fmt: skip
@click.option("--chip", metavar="NAME,..", help="Only these chips.")
@click.option(
    "--op", metavar="NAME,..", help="Only these operations: context, encoder, decode, mla-context, mla-decode."
)
@click.option("--framework", metavar="NAME,..", help="Only these frameworks: trtllm, vllm, sglang.")
@click.option("--split", metavar="NAME,..", help="Only these splits: calibration, held-out, zero-shot.")
@click.option(
    "--format", "form", default="table", show_default=True, help="table or json (finer: by kernel and dtype)."
)
@click.option("--output", metavar="FILE", help="Write there in place of standard output.")
def command(
    data: str, device: str | None, chip: str | None, op: str | None, framework: str | None, split: str | None,
    form: str, output: str | None,
) -> None:  # fmt: skip
    """Compare predictions with measured latencies: rows that beat a floor, and the error of the schedule.

    A row per chip, framework, operation and split: how many rows, how many of them are faster than roofline or tiles
    (there must be none), and how far the predicted latency is off. Rows known to be wrong are excluded by name.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if device is not None:
        if data != "silicon" or any(option is not None for option in (chip, op, framework, split)):
            raise InputError("--device measures a list of its own: --data, --chip, --op, --framework and --split do "
                             "not apply")  # fmt: skip
        from ._validate_device import rendered as measured

        write_output(measured(device, form), output)
        return
    source, _, path = data.partition(":")
    if source == "landscapes":
        if not path:
            raise InputError("data landscapes names no file; allowed: landscapes:FILE.csv")
        if any(option is not None for option in (chip, op, framework, split)):
            raise InputError("--chip, --op, --framework and --split choose rows of silicon, not of landscapes")
        from ._landscapes import rendered

        write_output(rendered(path, form), output)
        return
    if data != "silicon":
        raise unknown("data", data, ("silicon", "landscapes:FILE"))
    operations = names("--op", op)
    from ..autotune import validate

    records = validate.validate(
        names("--chip", chip), names("--framework", framework),
        None if operations is None else [name.replace("mla-", "mla ") for name in operations], names("--split", split),
        keys=validate.FINE if form == "json" else validate.COARSE,
    )  # fmt: skip
    if not records:
        raise InputError(
            "no measured rows match; the splits of a chip are calibration and held-out, or zero-shot alone"
        )
    write_output(json.dumps(records, indent=1) if form == "json" else table(records), output)


def table(records: list[dict[str, Any]]) -> str:
    """A line a record, what was left out and why, and what the numbers mean."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    heads = ("chip", "framework", "operation", "split", "kernel, mostly", "rows", "beat roofline", "beat tiles",
             "MAPE", "median", "P90", "signed median", "excluded", "no kernel")  # fmt: skip
    for index, head in enumerate(heads):
        grid.add_column(head, justify="right" if index > 4 else "left", no_wrap=index < 5)
    for record in records:
        errors = (record[name] for name in ("mape", "median", "p90", "signed_median"))
        grid.add_row(
            record["chip"], f"{record['framework']} {record['version']}", record["op"], record["split"],
            record["implementation"] or "-", f"{record['rows']:,}", f"{record['roofline_violations']:,}",
            f"{record['tiles_violations']:,}", *("-" if e is None else f"{e:.1f}" for e in errors),
            f"{record['excluded']:,}", f"{record['rows'] - record['predicted']:,}",
        )  # fmt: skip
    buffer = io.StringIO()
    Console(file=buffer, width=170, highlight=False, color_system=None).print(grid)
    lines = [line.rstrip() for line in buffer.getvalue().rstrip().splitlines()]
    return "\n".join([*lines, "", *_left_out(records), MEANING])


def _left_out(records: list[dict[str, Any]]) -> list[str]:
    """What is not counted in the rows, or not predicted, and why."""
    reasons: dict[str, int] = {}
    for record in records:
        for name, count in record["reasons"].items():
            reasons[name] = reasons.get(name, 0) + count
    lines = []
    if reasons:
        named = ", ".join(f"{name} {count:,}" for name, count in reasons.items())
        lines.append(f"Excluded, known to be wrong (autotune/silicon_known_bad.toml says why): {named}.")
    missing = sum(record["rows"] - record["predicted"] for record in records)
    if missing:
        why = "no known kernel takes them (head_dim above 256 outside decoding)"
        lines.append(f"No kernel: {missing:,} rows are not predicted, since {why}.")
    return lines
