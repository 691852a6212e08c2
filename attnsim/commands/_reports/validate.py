"""attnsim report validate: predicted against measured latencies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...simulator.errors import InputError, unknown
from .. import _silicon
from .._options import names
from ._shared import check_output, chosen_chips, command_line, finish, output_options

if TYPE_CHECKING:
    from ...autotune.accuracy import Validation
    from ...simulator.hardware import Hardware

SILICON = "silicon"


@click.command(
    epilog="""\b
Examples:
  attnsim report validate --hw h100 --operation encoder --out encoder
  attnsim report validate --hw h100 --out h100 --format html
  attnsim report validate --hw h100,b200 --operation context,decode --framework vllm --out vllm --format pdf,png
  attnsim report validate --data published.csv --hw h100 --out papers --format md,svg
  attnsim report validate --data mytimings.csv --hw mychip.toml --out mine --format html
"""
)
@click.option("--data", default=SILICON, show_default=True, metavar="silicon|FILE.csv", help="Measurements: silicon, "
              "the public latency tables of aiconfigurator-core (pip install 'attnsim[silicon]'), or a CSV table: of "
              "your own timings as `attnsim calibrate` reads them, or of published times.")  # fmt: skip
@click.option("--hw", "hardware", metavar="NAME[,NAME]", help="Only these chips (default: all); of timings of "
              "your own the chip that was measured, a name or a profile.")  # fmt: skip
@click.option("--framework", metavar="NAME[,NAME]", help="Only these frameworks of silicon: trtllm, vllm, sglang.")
@click.option("--operation", metavar="NAME[,NAME]", help="Only these operations of silicon, such "
              "as context, encoder, decode, mla-decode.")  # fmt: skip
@click.option("--split", metavar="NAME[,NAME]", help="Only these splits of silicon: calibration, held-out, zero-shot.")
@output_options
@click.pass_context
def command(
    context: click.Context, /, data: str, hardware: str | None, framework: str | None, operation: str | None,
    split: str | None, out: str, forms: str,
) -> None:  # fmt: skip
    """Predicted against measured latency: errors by chip, case, framework and operation; the rows behind them."""
    folder, formats = check_output(out, forms)
    asked = chosen_chips(hardware)
    chosen = {"--framework": framework, "--operation": operation, "--split": split}
    if data == SILICON:
        found, source, origins = _silicon_rows(asked, chosen)
    else:
        if Path(data).suffix.lower() != ".csv":
            raise unknown("data", data, (SILICON, "the name of a .csv file"))
        for option, value in chosen.items():
            if value is not None:
                raise InputError(f"{option} chooses rows of silicon, not of a file")
        found, source, origins = _file_rows(data, asked)
    from ...reports.kinds.validate import document
    from ...simulator.api import load_hardware

    if not found.rows:
        raise InputError("none of the measured rows has a prediction: no known kernel takes them")
    measured = dict.fromkeys(one.checked.table.chip for one in found.rows)
    profiles = asked or {chip: load_hardware(chip) for chip in measured}
    finish(document(found, profiles, source, command_line(context), origins), folder, formats)


def _keys() -> Sequence[Sequence[str]]:
    from ...autotune import accuracy

    return accuracy.COARSE, accuracy.BY_CASE, accuracy.BY_CHIP


def _silicon_rows(
    chips: Mapping[str, Hardware] | None, chosen: Mapping[str, str | None]
) -> tuple[Validation, str, dict[str, str]]:
    """The rows of the public tables, who measured them, and what they were read from."""
    from importlib.metadata import version

    from ...autotune.silicon import PACKAGE, data_directory
    from ...reports.provenance import digest

    frameworks, operations, splits = (names(option, value) for option, value in chosen.items())
    found = _silicon.validated(None if chips is None else list(chips), frameworks, operations, splits, _keys())
    package = f"{PACKAGE.replace('_', '-')} {version(PACKAGE)}"
    read: dict[str, set[str]] = {}
    for one in found.rows:
        read.setdefault(one.checked.table.chip, set()).add(one.checked.table.path)
    root = data_directory()
    origins = {
        f"{package}, {len(paths)} tables of {chip}":
            f"sha256 of all {digest(b''.join((root / path).read_bytes() for path in sorted(paths)))}"
        for chip, paths in read.items()
    }  # fmt: skip
    return found, f"calls of serving frameworks, by the public tables of {package}", origins


def _file_rows(data: str, chips: Mapping[str, Hardware] | None) -> tuple[Validation, str, dict[str, str]]:
    """The rows of a CSV table, who measured them, and what they were read from."""
    from ...autotune import timings
    from ...autotune.accuracy import Validation
    from ...autotune.silicon import SPLITS
    from ...reports.provenance import data_files

    found = Validation()
    for checked in timings.check(Path(data), chips).values():
        found.add(checked, SPLITS, tuple(keys for keys in _keys() if "case" not in keys))
    origins = {name: f"sha256 {digits}" for name, digits in data_files([Path(data)]).items()}
    return found, f"as {Path(data).name} states", origins
