"""attnsim validate: predictions against measured latencies."""

from __future__ import annotations

import json

import click

from ..simulator.errors import InputError, unknown
from ._options import names, write_output

FORMATS = ("table", "json", "md")


@click.command(
    epilog="""\b
Examples:
  attnsim validate --data silicon
  attnsim validate --data silicon --chip h100,b200 --op context,decode --framework vllm --split held-out
  attnsim validate --data silicon --chip l40s --format json --output l40s.json
  attnsim validate --data silicon --chip h100 --picture h100.png
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
    "--op", metavar="NAME,..", help="Only these operations, such as context, encoder, decode, mla-decode, gdn-chunk."
)
@click.option("--framework", metavar="NAME,..", help="Only these frameworks: trtllm, vllm, sglang.")
@click.option("--split", metavar="NAME,..", help="Only these splits: calibration, held-out, zero-shot.")
@click.option(
    "--format",
    "form",
    default="table",
    show_default=True,
    help="table, json (finer) or md (of silicon, by case).",
)
@click.option("--picture", metavar="FILE", help="Draw predicted against measured latency (.png, .svg, .pdf).")
@click.option("--output", metavar="FILE", help="Write there in place of standard output.")
def command(
    data: str, device: str | None, chip: str | None, op: str | None, framework: str | None, split: str | None,
    form: str, picture: str | None, output: str | None,
) -> None:  # fmt: skip
    """Compare predictions with measured latencies: rows that beat a floor, and the error of the schedule.

    A row per chip, framework, operation and split: how far the predicted latency is off, how many measured ones its
    range holds, how many pairs it ranks right, how many rows are faster than a floor (there must be none), and what
    simpler predictors reach. Rows known to be wrong are excluded by name.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    chosen = {"--chip": chip, "--op": op, "--framework": framework, "--split": split, "--picture": picture}
    if device is not None:
        if data != "silicon" or any(option is not None for option in chosen.values()):
            raise InputError(f"--device measures a list of its own: --data, {', '.join(chosen)} do not apply")
        from ._validate_device import rendered as measured

        write_output(measured(device, form), output)
        return
    source, _, path = data.partition(":")
    if source == "landscapes":
        if not path:
            raise InputError("data landscapes names no file; allowed: landscapes:FILE.csv")
        if any(option is not None for option in chosen.values()):
            raise InputError(f"{', '.join(chosen)} choose rows of silicon, not of landscapes")
        from ._landscapes import rendered

        write_output(rendered(path, form), output)
        return
    if data != "silicon":
        raise unknown("data", data, ("silicon", "landscapes:FILE"))
    from . import _silicon

    _silicon.check_picture(picture)
    found = _silicon.validated(
        names("--chip", chip), names("--framework", framework), names("--op", op), names("--split", split),
        _silicon.keys_of(form),
    )  # fmt: skip
    if form == "json":
        text = json.dumps(found.records, indent=1)
    else:
        text = _silicon.md(found) if form == "md" else _silicon.table(found)
    write_output(text, output)
    if picture is not None:
        _silicon.draw(found, picture)
