"""attnsim autotune: tune a variant on a device; its sub-commands are the files of `_autotune/`."""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..simulator.errors import InputError, unknown
from ._options import parse_budget, parse_parameters, parse_size, problem_arguments, problem_options

if TYPE_CHECKING:
    from ..autotune.devices import Device
    from ..autotune.study import Result
    from ..autotune.task import Task

CPU_BUDGET_S, CPU_SIZES = 240.0, {"seq": 2048, "heads": 8}
"""What tuning on the cpu may take, and what is tuned there, where nothing is said: a GPU's sizes take it minutes."""
SIZES_GIVEN = {"seq", "shape", "documents", "kv_len", "heads", "kv_heads", "batch"}
"""Any of these says what is tuned."""
TUNE = "VARIANT"
"""The name of the command that tunes: what stands in its place is a variant, so it is never typed."""


class TuneGroup(click.Group):
    """Sub-commands by their names; any other first word is a variant to tune."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        folder = Path(__file__).parent / "_autotune"
        return sorted(p.stem.removesuffix("_") for p in folder.glob("*.py") if not p.stem.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name == TUNE:
            return tune_command
        if cmd_name not in self.list_commands(ctx):
            return None
        stem = f"{cmd_name}_" if cmd_name in ("import", "list") else cmd_name
        found: click.Command = importlib.import_module(f"{__package__}._autotune.{stem}").command
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.list_commands(ctx), *ctx.help_option_names):
            check_word(args[0], self.list_commands(ctx))
            args = [TUNE, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        click.Command.format_options(tune_command, ctx, formatter)
        self.format_commands(ctx, formatter)


class TuneCommand(click.Command):
    """The command that tunes; its help is the group's."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        assert ctx.parent is not None
        ctx.parent.command.format_help(ctx.parent, formatter)


def check_word(word: str, commands: list[str]) -> None:
    """Raises InputError for a first word that is neither an option nor a variant, with the nearest name."""
    from ..simulator import variants

    if word.startswith("-"):
        return
    try:
        variants.get_class(word)
    except InputError:
        from difflib import get_close_matches

        if get_close_matches(word.lower(), commands, cutoff=0.6):
            raise unknown("variant or command", word, (*variants.names(), *commands)) from None
        raise


@click.group(
    cls=TuneGroup, no_args_is_help=True, subcommand_metavar="VARIANT [OPTIONS] | COMMAND",
    epilog="""\b
Examples:
  attnsim autotune sliding-window
  attnsim autotune gna --device offline:b200 --shape 30x48x80 --heads 24 -p window=18x24x24 --trials 8
  attnsim autotune mha --device cuda --seq 16k --causal --budget 9m --compile 8 --export mine.json
  attnsim autotune mha --device replay:mine.json --trials 4
  attnsim autotune mha --hw h100 --device offline:h100 --dry-run
""",
)  # fmt: skip
def command() -> None:
    """Find the fastest tiles of VARIANT: the model ranks, the device decides, the record remembers.

    What is measured is kept at once: killed at any moment, --resume goes on where it stopped. On the cpu, where no
    sizes are given, 2048 tokens of 8 heads are tuned.
    """


@click.command(TUNE, cls=TuneCommand)
@click.argument("variant")
@click.option("--device", "device", metavar="DEVICE", help="cuda, cuda:1, cpu, offline:CHIP (compiles), interpret, "
              "replay:FILE (default: cuda where there is one, else cpu).")  # fmt: skip
@problem_options
@click.option("-p", "parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the variant.")
@click.option("--hw", "hardware", metavar="NAME|FILE", help="The chip's profile (default: the device's).")
@click.option("--implementation", metavar="NAME", help="The kernel (default: the fastest predicted one of ours).")
@click.option("--trials", metavar="N", help="At most so many measurements (default: all that may win).")
@click.option("--budget", metavar="TIME", help="At most so long: 90s, 9m, 1h (default: no limit; on the cpu 4m, "
              "unless --trials is given).")  # fmt: skip
@click.option("--compile", "compile_first", metavar="N", help="Compile the first N for the chip, and order them again.")
@click.option("--storage", metavar="URL|FILE", help="Where the study is kept: an Optuna URL, FILE.db or a journal "
              "FILE.log (default: the file under ~/.cache/attnsim, or $ATTNSIM_STUDIES).")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the latest study of this problem on this device.")
@click.option("--workers", default="1", show_default=True, metavar="N", help="Processes; on GPUs one each.")
@click.option("--engine", default="loky", show_default=True, help="loky (this machine) or ray.")
@click.option("--address", metavar="HOST:PORT", help="A Ray cluster (default: one on this machine).")
@click.option("--dry-run", is_flag=True, help="Print the configs in the model's order, and measure nothing.")
@click.option("--export", metavar="FILE", help="Write a recording: --device replay:FILE reads it.")
@click.option("--format", "form", default="table", show_default=True, help="table or json.")
def tune_command(variant: str, device: str | None, parameter: tuple[str, ...], form: str, dry_run: bool,
                 **options: Any) -> None:  # fmt: skip
    """Tune VARIANT."""
    from ..autotune.devices import default_device, open_device
    from ._autotune import _result
    from .hw import check_format

    check_format(form)
    check_word(variant, [])
    limits = limits_of(options)
    name = device or default_device()
    if name == "cpu" and limits["trials"] is None and limits["budget_s"] is None:
        limits["budget_s"] = CPU_BUDGET_S
    arguments = {**problem_arguments(options), **parse_parameters(parameter)}
    if name == "cpu" and not set(arguments) & SIZES_GIVEN:
        arguments |= CPU_SIZES
    with ExitStack() as stack:
        opened = open_device(name)
        if hasattr(opened, "close"):
            stack.callback(opened.close)
        task = task_of(opened, variant, options["hardware"], options["implementation"], arguments)
        if dry_run:
            click.echo(_result.dry_run(task, opened, limits["compile_first"], limits["workers"], form))
            return
        result = run(task, opened, limits)
        if options["export"] is not None:
            from ..autotune.campaign_steps import provenance
            from ..autotune.measurement import write

            write(options["export"], provenance(opened), result.measurements)
    click.echo(_result.as_json(result) if form == "json" else _result.as_table(result, options["export"]))


def limits_of(options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `tune` from the options. Raises InputError."""
    counts = {name: None if options[name] is None else parse_size(name.partition("_")[0], options[name])
              for name in ("trials", "workers", "compile_first")}  # fmt: skip
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name.partition('_')[0]} is {count}; allowed: a whole number above 0")
    return {
        **counts, "compile_first": counts["compile_first"] or 0,
        "budget_s": None if options["budget"] is None else parse_budget(options["budget"]),
        **{name: options[name] for name in ("storage", "resume", "engine", "address")},
    }  # fmt: skip


def task_of(
    device: Device, variant: str, hardware: str | None, implementation: str | None, arguments: dict[str, Any]
) -> Task:
    """What is tuned: as the options have it, or the task of a recording that they select. Raises InputError."""
    from ..autotune.task import Task
    from ..simulator.api import load_hardware

    if hasattr(device, "recording"):
        from ._autotune._tasks import recorded

        return recorded(device.recording, device.name, variant, hardware, implementation, arguments)
    if hardware is not None:
        asked, there = load_hardware(hardware), load_hardware(device.hardware)
        if asked.target != there.target:
            raise InputError(f"--hw {hardware} ({asked.target or asked.kind}) is not what --device {device.name} is: "
                             f"{there.name} ({there.target or there.kind})")  # fmt: skip
    return Task.make(variant, hardware or device.hardware, implementation, **arguments)


def run(task: Task, device: Device, limits: dict[str, Any]) -> Result:
    """Tune, with a bar on standard error where that is a terminal; an interruption says how to go on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from ..autotune.study import tune
    from ..reports.words import seconds

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        shown = bar.add_task("the first config", total=None)

        def tell(done: int, total: int, best_s: float | None) -> None:
            best = "no time yet" if best_s is None else f"best {seconds(best_s)}"
            bar.update(shown, description=best, completed=done, total=total)

        try:
            return tune(task, device, progress=tell, **limits)
        except KeyboardInterrupt:
            click.echo("interrupted; what was measured is kept: the same command with --resume goes on", err=True)
            raise
