"""attnsim calibrate: fit the constants of predicted times to measured ones."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .._files import write_file
from ..simulator.errors import InputError
from ._options import names

if TYPE_CHECKING:
    from ..autotune.calibrate import Fit, Sample
    from ..autotune.user_calibration import UserFit


@click.command(
    epilog="""\b
Examples:
  attnsim calibrate --data silicon --chip h100
  attnsim calibrate --data silicon --chip h100,b200 --implementation fa3
  attnsim calibrate --data mytimings.csv --hw mychip.toml --output mychip-fitted.toml

A CSV file of timings has a row a call: heads, head_dim, seq (queries) and time_s, time_ms or time_us; and where they
differ from the defaults batch (1), kv_heads (heads), kv_len (seq), v_dim (head_dim), causal (true), window (none),
dtype (bf16), kv_dtype (dtype) and implementation (the known kernel that fits best).
"""
)
@click.option("--data", default="silicon", show_default=True, help="Measured latencies: silicon, the public tables of "
              "aiconfigurator-core (pip install 'attnsim[silicon]'), or a CSV file of your own.")  # fmt: skip
@click.option("--chip", metavar="NAME,..", help="Only these chips of silicon.")
@click.option("--implementation", metavar="NAME,..", help="Only these kernels of silicon.")
@click.option("--write", is_flag=True, help="Write what silicon fits into the calibration files of this installation.")
@click.option("--hw", "hardware", metavar="NAME|FILE", help="The chip of a CSV file: a profile or a chip's name.")
@click.option("--output", metavar="FILE", help="Where to write the profile with what a CSV file fits.")
def command(
    data: str, chip: str | None, implementation: str | None, write: bool, hardware: str | None, output: str | None
) -> None:  # fmt: skip
    """Fit the constants of kernels and frameworks to measured latencies, from scratch, and say how good the fit is."""
    _check_installed()
    if data == "silicon":
        if hardware is not None or output is not None:
            raise InputError("--hw and --output belong to a CSV file: --data mytimings.csv --hw mychip.toml")
        _silicon(names("--chip", chip), names("--implementation", implementation), write)
        return
    if Path(data).suffix.lower() != ".csv":
        raise InputError(f"unknown data {data!r}; allowed: silicon, or the name of a CSV file")
    if chip is not None or implementation is not None or write:
        raise InputError("--chip, --implementation and --write belong to silicon; a CSV file takes --hw and --output")
    if hardware is None:
        raise InputError("--hw is missing: the chip that was measured, as a profile or a name")
    _own(data, hardware, output)


def _check_installed() -> None:
    """Raises InputError that names the extra where what a fit needs is missing."""
    missing = [name for name in ("scipy", "tomlkit") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"a fit needs {' and '.join(missing)}: pip install 'attnsim[silicon]'")


def _silicon(chips: list[str] | None, kernels: list[str] | None, write: bool) -> None:
    """Refit the shipped constants from the calibration rows."""
    from ..autotune import calibrate, calibration_files

    found = calibrate.jobs(chips, kernels)
    if not found:
        raise InputError("no calibration file of these chips and kernels has constants to fit")
    for one_chip, job in found:
        samples = calibrate.samples_of(one_chip, job)
        if not samples:
            click.echo(f"{job.path.parent.name}/{job.path.name}: no calibration rows on {one_chip}")
            continue
        fit = calibrate.fit(job.path, samples, held=calibrate.held(job.path))
        click.echo(_constants(fit) + "\n\n" + _errors(fit, calibrate.samples_of(one_chip, job, split="held-out")))
        if write:
            calibration_files.write(fit)


def _constants(fit: Fit) -> str:
    """Constants as shipped and as found."""
    from ..simulator.calibration import read
    from ._grid import grid

    shipped = read(fit.path)[0]
    rows = [
        [one.name, *(f"{v:.4g}" for v in (getattr(shipped, one.name), getattr(fit.constants, one.name), one.low,
                                          one.high))]
        for one in fit.fitted
    ]  # fmt: skip
    return grid(("constant", "shipped", "found", "low", "high"), rows, 1, f"{fit.path.parent.name}/{fit.path.name}")


def _errors(fit: Fit, held_out: list[Sample]) -> str:
    """Overheads and the errors of each table on both splits."""
    from ..autotune.calibrate import errors
    from ._grid import grid

    heads = ("framework", "operation", "type", "split", "rows", "MAPE", "median", "P90", "fixed us", "q passes",
             "kv passes", "token clocks")  # fmt: skip
    rows = []
    for split, samples in (("calibration", fit.samples), ("held-out", held_out)):
        for one in samples:
            o = fit.overheads[one.key]
            scalars = (o.fixed_s * 1e6, o.query_passes, o.kv_passes, o.token_clocks)
            rows.append([
                f"{one.key[0]} {one.key[1]}", f"{one.table.operation} {one.table.kernel_source}", one.key[5], split,
                f"{len(one.rows):,}", *(f"{e:.1f}" for e in errors(fit.ratios(one))), *(f"{s:.3g}" for s in scalars),
            ])  # fmt: skip
    return grid(heads, rows, 4)


def _own(data: str, hardware: str, output: str | None) -> None:
    """Fit a user's rows, say how good it is, and write the profile."""
    from ..autotune import user_calibration
    from ..simulator.hardware import Hardware

    chip = Hardware.load(hardware)
    rows = user_calibration.read_timings(Path(data))
    fits = user_calibration.fit(user_calibration.tables(rows, chip), chip)
    click.echo("\n\n".join(_own_report(one) for one in fits))
    if len(rows) < 30:
        click.echo(f"\n{len(rows)} rows are few: 30 or more, of all sizes, pin the constants better.")
    if output is None:
        click.echo("\nNothing is written: --output FILE keeps this in a profile, for predict --hw FILE.")
    else:
        text = user_calibration.profile_text(hardware, fits, Path(data).name)
        write_file(Path(output), text.encode())
        click.echo(f"\nWrote {output}: predict --hw {output} uses it.")


def _own_report(one: UserFit) -> str:
    """Constants before and after, and the error of rows that a fit has not seen."""
    from ..autotune.calibrate import errors
    from ..simulator.calibration.overhead import SCALARS
    from ._grid import grid

    rows = [[f.name, f"{getattr(one.started, f.name):.4g}", f"{getattr(one.constants, f.name):.4g}"]
            for f in one.fitted]  # fmt: skip
    rows += [[f"overhead {name}", "-", f"{getattr(one.overhead, name):.4g}"] for name in SCALARS]
    mean, median, p90 = errors(one.ratios)
    text = grid(("constant", "known", "found"), rows, 1, f"{one.implementation}: {one.rows} rows")
    seen = f"mean {mean:.1f} %, median {median:.1f} %, P90 {p90:.1f} %"
    return f"{text}\n\nError of rows that the fit has not seen (each left out once, in five parts): {seen}."
