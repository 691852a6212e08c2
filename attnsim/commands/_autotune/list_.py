"""attnsim autotune list: the configs worth trying, without a device."""

from __future__ import annotations

import json
from typing import Any

import click

from .._options import parse_parameters, parse_size, problem_arguments, problem_options, write_output
from ..hw import check_format, print_table


@click.command(
    "list",
    epilog="""\b
Examples:
  attnsim autotune list mha --hw b200 --seq 16k --causal --top 5
  attnsim autotune list gqa --hw h100 --seq 1 --kv-len 32k --kv-heads 8 --format json
""",
)
@click.argument("variant")
@click.option("--hw", "hardware", default="b200", show_default=True, metavar="NAME|FILE", help="The chip.")
@problem_options
@click.option("-p", "parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the variant.")
@click.option("--kernel", metavar="NAME", help="The kernel (default: the fastest predicted one of ours).")
@click.option("--top", default="5", show_default=True, metavar="N", help="How many.")
@click.option("--format", "form", default="table", show_default=True, help="table or json.")
@click.option("--output", metavar="FILE", help="Write the JSON there in place of standard output.")
def command(
    variant: str, hardware: str, parameter: tuple[str, ...], kernel: str | None, top: str, form: str,
    output: str | None, **options: Any,
) -> None:  # fmt: skip
    """The first configs of VARIANT in the model's order, legal on the chip, for another library's tuner to try.

    `triton` in the JSON is what `triton.Config` takes. Needs neither a device nor triton.
    """
    from ...autotune.hooks import candidates, listed
    from ...autotune.task import Task
    from ...reports.words import seconds
    from ...simulator.problem import check_size

    check_format(form)
    most = check_size("top", parse_size("top", top))
    task = Task.make(variant, hardware, kernel, **problem_arguments(options), **parse_parameters(parameter))
    found = candidates(task, most)
    if form == "json" or output is not None:
        write_output(json.dumps(listed(task, found), indent=2, allow_nan=False), output)
        return
    click.echo(str(task))
    rows = [
        [str(index), str(one.config), seconds(one.predicted_s), seconds(one.floor_s)]
        for index, one in enumerate(found, start=1)
    ]
    print_table(("rank", "config", "predicted", "floor"), rows)
