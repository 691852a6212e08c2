"""attnsim recommend: strides and tiles of neighbourhood attention, ranked."""

from __future__ import annotations

import json
from typing import Any

import click

from ._options import parse_overrides, parse_parameters, parse_sides, parse_size, problem_arguments, problem_options


def rows(found: list[Any], top: int) -> list[dict[str, Any]]:
    """The first `top` recommendations, and stride 1 where it is not among them."""
    from ..simulator.prediction import plain

    shown = found[:top] + [one for one in found[top:] if one.exact]
    result = []
    for one in shown:
        p = one.prediction
        kernel = p.chosen.implementation
        result.append({
            "rank": found.index(one) + 1, "stride": list(one.stride), "implementation": kernel.name if kernel else None,
            "tile": {"query": list(p.chosen.tile.query), "key": list(p.chosen.tile.key)}, "time_s": p.time_s,
            "speedup": p.speedup, "speedup_over_stride_1": one.gain, "flops_speedup": p.rung_speedup("flops"),
            "tiles_speedup": p.rung_speedup("tiles"), "tiles": p.tile_counts(),
            "pairs": plain(p.evaluation.graph.main.pairs), "same_pattern": one.exact, "reason": one.reason,
        })  # fmt: skip
    return result


@click.command(
    epilog="""\b
Examples:
  attnsim recommend gna --hw b200 --shape 30x48x80 --window 18x24x24
  attnsim recommend gna --hw h100 --shape 256x256 --heads 24 -p window=80x80 --top 5 --format json
"""
)
@click.argument("variant")
@click.option("--hw", "hardware", default="b200", show_default=True, metavar="NAME|FILE", help="The chip.")
@problem_options
@click.option("--window", metavar="AxBxC", help="Keys along each axis.")
@click.option("--dilation", metavar="AxBxC", help="Distance of the keys along each axis.")
@click.option("-p", "parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the variant.")
@click.option("--set", "override", multiple=True, metavar="FIELD=VALUE", help="Change a number of the chip's profile.")
@click.option("--top", default="10", show_default=True, metavar="N", help="How many to show.")
@click.option("--format", "form", default="table", show_default=True, help="table or json.")
def command(variant: str, hardware: str, parameter: tuple[str, ...], override: tuple[str, ...], top: str, form: str,
            **options: Any) -> None:  # fmt: skip
    """Rank the strides and tile shapes of VARIANT (gna) by predicted time, each with the reason.

    A coarser stride lets neighbouring queries share a window, so that tiles are full: faster, and a coarser pattern
    than stride 1.
    """
    from ..reports.words import seconds, times, workload
    from ..simulator.api import load_hardware, split_arguments
    from ..simulator.errors import unknown
    from ..simulator.problem import Problem, check_size
    from ..simulator.recommend import recommend

    if form not in ("table", "json"):
        raise unknown("format", form, ("table", "json"))
    sides = {n: parse_sides(n, options[n]) for n in ("window", "dilation") if options.get(n) is not None}
    arguments = {**problem_arguments(options), **parse_parameters(parameter), **sides}
    made, sizes, _ = split_arguments(variant, arguments)
    chip = load_hardware(hardware, parse_overrides(override))
    most = check_size("top", parse_size("top", top))
    found = recommend(made, made.prepare(Problem.make(**sizes)), chip)
    entries = rows(found, most)
    if form == "json":
        click.echo(json.dumps(entries, indent=2))
        return
    from .hw import print_table

    click.echo(f"{chip.title}: {workload(found[0].prediction)}")
    table = [
        [str(e["rank"]), _by(e["stride"]), e["implementation"], f"{_by(e['tile']['query'])}/{_by(e['tile']['key'])}",
         seconds(e["time_s"]), times(e["speedup"]), times(e["speedup_over_stride_1"]), times(e["flops_speedup"]),
         e["reason"] + (" (the exact sliding window)" if e["same_pattern"] else "")]
        for e in entries
    ]  # fmt: skip
    heads = ("rank", "stride", "kernel", "tile", "time", "over dense", "over stride 1", "FLOPs promise", "reason")
    print_table(heads, table)


def _by(sides: list[int]) -> str:
    return "x".join(map(str, sides))
