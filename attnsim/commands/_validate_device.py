"""attnsim validate --device: predicted against measured speedups, as a table or JSON."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..autotune.devices import Device, open_device
from ..autotune.profiles import kind_of
from ..reports.words import seconds

if TYPE_CHECKING:
    from ..autotune.validate_device import Record

MEANING = (
    "Speedup: time of dense attention over the same tokens, over the time of the mask. Error: predicted over measured "
    "speedup, in percent. Times are the shortest of all repetitions; predicted ones are of the schedule."
)


def rendered(name: str, form: str) -> str:
    """Measure on a device and compare. Raises InputError for a device that is not here, or that gives no times."""
    from ..autotune.validate_device import check_timed, validate_device

    device = open_device(name)
    try:
        check_timed(device)
        if form == "table":
            click.echo(first_line(device))
        records = validate_device(device, progress=progress if sys.stderr.isatty() else None)
    finally:
        close = getattr(device, "close", None)
        if close is not None:
            close()
    return json.dumps([one.to_dict() for one in records], indent=1) if form == "json" else table(records, name)


def progress(what: str) -> None:
    """One line on standard error that the next one replaces."""
    click.echo(f"\r\x1b[2K{what[:110]}", err=True, nl=False)


def first_line(device: Device) -> str:
    """Which profile predicts, and how to have a better one."""
    profile = device.hardware
    if profile.endswith(".toml"):
        return f"Profile: {profile}, calibrated on this machine."
    return (f"Profile: {profile}, as shipped, not calibrated here: attnsim hw calibrate "
            f"{kind_of(device.name)} --save measures this machine and keeps its own.")  # fmt: skip


def table(records: Sequence[Record], device: str) -> str:
    """A line a case, how many are within the limit, and what the numbers mean."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from ..autotune.validate_device import LIMITS

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    heads = ("variant", "problem", "kernel", "dense predicted", "measured", "mask predicted", "measured",
             "predicted speedup", "measured", "error", "drift", "flags")  # fmt: skip
    for index, head in enumerate(heads):
        grid.add_column(head, justify="right" if 2 < index < 11 else "left", no_wrap=index < 2)
    for one in records:
        said = " ".join(f"{name}={sides(value)}" for name, value in one.parameters.items())
        size = one.problem.get("shape", one.problem.get("seq", ""))
        causal = " causal" if one.problem.get("causal") else ""
        times = (one.dense_predicted_s, one.dense_measured_s, one.predicted_s, one.measured_s)
        speedups = (one.predicted_speedup, one.measured_speedup)
        grid.add_row(
            f"{one.variant} {said}", f"{sides(size)}{causal}", one.implementation or "-", *map(seconds, times),
            *("-" if value is None else f"{value:.2f}x" for value in speedups),
            *("-" if value is None else f"{value:+.1f} %" for value in (one.error_percent, one.drift_percent)),
            ", ".join(one.flags) or one.reason or "-",
        )  # fmt: skip
    buffer = io.StringIO()
    Console(file=buffer, width=190, highlight=False, color_system=None).print(grid)
    lines = [line.rstrip() for line in buffer.getvalue().rstrip().splitlines()]
    limit = LIMITS.get(kind_of(device), LIMITS["cuda"])
    within = sum(one.within is True for one in records)
    return "\n".join([*lines, "", f"Within {limit:g} %: {within} of {len(records)}. {MEANING}"])


def sides(value: object) -> str:
    """Numbers joined by x, as the command line takes them."""
    return "x".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
