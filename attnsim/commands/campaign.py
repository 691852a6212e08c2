"""attnsim campaign: everything worth doing on a machine with a device, within a budget, resumable."""

from __future__ import annotations

import io
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..simulator.errors import unknown
from ._options import parse_budget

if TYPE_CHECKING:
    from ..autotune.campaign import Plan
    from ..autotune.devices import Device

DEVICES = ("cuda", "cpu")
MEANING = (
    "sure: the kernel's own config gives the right answer. predicted, error: of the config that was fastest, by the "
    "profile named. kendall: rank correlation of predicted and measured times. first K: the best time over the best "
    "among the model's first K."
)


def default_folder(device: Device) -> Path:
    """benchmarks/measured/<chip>/<today>."""
    from ..simulator.hardware import Hardware

    chip = Hardware.load(device.hardware).name
    return Path("benchmarks") / "measured" / chip / time.strftime("%Y-%m-%d", time.gmtime())


@click.command(
    epilog="""\b
Examples:
  attnsim campaign --device cuda --budget 9m
  attnsim campaign --device cuda --budget 9m --out h100-campaign      (again: goes on where it stopped)
  attnsim campaign --device cpu --budget 90s --out /tmp/campaign
  attnsim campaign --device cpu --dry-run
"""
)
@click.option("--device", "given", help="cuda or cpu (default: cuda where there is one).")
@click.option("--budget", default="9m", show_default=True, help="Seconds, minutes or hours of this call: 90s, 9m, 1h.")
@click.option("--out", metavar="DIR", help="Where files go; a campaign that is there goes on (default: "
              "benchmarks/measured/<chip>/<date>).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print what would be done and how long it may take.")
def command(given: str | None, budget: str, out: str | None, dry_run: bool) -> None:
    """Measure what is worth measuring on this machine, the most valuable first, and judge the predictions.

    Correctness of every kernel on a fixed list of problems, the chip's own rates, then times of the configs of every
    problem: some of each first, all in the end. Killed at any moment, it goes on in the same folder.
    """
    from ..autotune import campaign
    from ..autotune.devices import default_device, open_device
    from ..autotune.profiles import kind_of

    budget_s = parse_budget(budget)
    name = given or default_device()
    if kind_of(name) not in DEVICES:
        raise unknown("device", name, DEVICES)
    with ExitStack() as stack:
        device = open_device(name)
        if hasattr(device, "close"):
            stack.callback(device.close)
        made = campaign.plan(device, out or default_folder(device))
        if dry_run:
            click.echo(planned(made, budget_s))
            return
        result = run(made, budget_s)
    click.echo(table(result))
    click.echo(f"{ended(result)}; everything is in {made.out}")


def run(made: Plan, budget_s: float) -> dict[str, Any]:
    """Go on with a campaign, a bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ..autotune import campaign

    columns = (TextColumn("{task.description:<40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("", total=None)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(shown, description=what, completed=done, total=total)

        return campaign.run(made, budget_s, tell)


def planned(made: Plan, budget_s: float) -> str:
    """What is left to do, in its order, and how long it may take."""
    from ..autotune import campaign

    chip = made.landscapes[0].task.chip.name if made.landscapes else made.device.hardware
    lines = [f"{made.device.name} ({chip}), {len(made.landscapes)} problems, into {made.out}"]
    total = 0.0
    for what, configs, seconds in campaign.estimates(made):
        total += seconds
        count = f"{configs} configs" if configs else ""
        lines.append(f"  {what:<20}{count:>14}   about {lasting(seconds)}")
    lines += [f"{name}: left out, {reason}" for name, reason in made.untunable.items()]
    left = "all of it" if total <= budget_s else "the first of it"
    return "\n".join([*lines, f"about {lasting(total)} in all; the budget of {lasting(budget_s)} allows {left}"])


def lasting(seconds: float) -> str:
    """A time that is waited for."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else \
        f"{seconds / 3600:.1f} h"  # fmt: skip


def ended(result: dict[str, Any]) -> str:
    """How far it came."""
    done = f"{result['measured']} of {result['configs']} configs measured"
    told = done if result["stopped"] == "done" else f"{done}, the budget is spent; the same command goes on"
    return told + (f"; no profile: {result['profile_error']}" if result["profile_error"] else "")


def table(result: dict[str, Any]) -> str:
    """A line a problem, the means, and what went wrong."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from ..reports.words import seconds

    called = list(result["means"])[-1]  # the measured profile where there is one
    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    heads = ("problem", "configs", "sure", "best", "predicted", "error", "kendall", "first 1", "first 4")
    for index, head in enumerate(heads):
        grid.add_column(head, justify="left" if index in (0, 2) else "right", no_wrap=True)
    for row in result["problems"]:
        found, default = row["predictions"][called], row["default"]
        grid.add_row(
            row["problem"], f"{row['measured']}/{row['configs']}",
            "-" if default is None else "yes" if default["outcome"] == "ok" else default["outcome"],
            seconds(row["best"] and row["best"]["measured_s"]), seconds(found["predicted_s"]),
            text(found["error"], "+.0%"), text(found["kendall"], ".2f"), text(found["first1"], ".1%"),
            text(found["first4"], ".1%"),
        )  # fmt: skip
    mean = result["means"][called]
    grid.add_section()
    grid.add_row("means", "", "", "", "", text(mean["median_error"], ".0%"), text(mean["kendall"], ".2f"),
                 text(mean["first1"], ".1%"), text(mean["first4"], ".1%"))  # fmt: skip
    buffer = io.StringIO()
    Console(file=buffer, width=140, highlight=False, color_system=None).print(grid)
    lines = [line.rstrip() for line in buffer.getvalue().rstrip().splitlines()]
    return "\n".join([*lines, "", *troubles(result), f"{called}. {MEANING}"])


def text(value: float | None, form: str) -> str:
    """A number, a dash where there is none."""
    return "-" if value is None else format(value, form)


def troubles(result: dict[str, Any]) -> list[str]:
    """Problems whose own config failed, what else failed, and problems that were left out."""
    lines = []
    for row in result["problems"]:
        default = row["default"]
        if default is not None and default["outcome"] != "ok":
            lines.append(f"{row['problem']}: {default['outcome']}: {default['reason']}")
        failed = {name: count for name, count in row["outcomes"].items() if name != "ok"}
        if failed:
            lines.append(f"{row['problem']}: {', '.join(f'{count} {name}' for name, count in failed.items())}")
    return [*lines, *(f"{name}: left out: {reason}" for name, reason in result["untunable"].items())]
