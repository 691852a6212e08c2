"""attnsim predict: the ladder of variants on chips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ..simulator.errors import InputError, unknown
from ._options import (
    parse_chips,
    parse_overrides,
    parse_parameters,
    parse_time,
    problem_arguments,
    problem_options,
    tile_arguments,
    tile_options,
    write_output,
)

if TYPE_CHECKING:
    from ..simulator.api import LeftOut

FORMATS = ("table", "json", "csv", "md")


ABSORBED = 128
"""New tokens up to which a model's latent attention is served absorbed: about where the FLOPs of both forms meet."""


def _own_parameters(variant: str, shown: dict[str, dict[str, Any]], arguments: dict[str, Any]) -> dict[str, Any]:
    """Parameters that a preset or a model states for a variant; few new tokens take the absorbed latent form."""
    own = shown.get(variant, {})
    few = arguments.get("seq", ABSORBED + 1) <= ABSORBED and arguments.get("kv_len", 0) > ABSORBED
    return {"form": "absorbed", **own} if variant == "mla" and own and few else own


@dataclass(frozen=True)
class Asked:
    """What a command line asks about. arguments: sizes, choices and parameters; own: parameters of single variants."""

    variants: list[str]
    chips: list[str]
    arguments: dict[str, Any]
    own: dict[str, dict[str, Any]]


def asked(variants: tuple[str, ...], options: dict[str, Any]) -> Asked:
    """The options of the command line, presets and configs filled in. Raises InputError."""
    from ..simulator.api import FIRST_VARIANTS
    from ..simulator.variants import get_class

    arguments: dict[str, Any] = {}
    names: list[str] = list(variants)
    shown: dict[str, dict[str, Any]] = {}
    for option in ("preset", "config"):
        if options.get(option):
            from .. import _presets

            found = _presets.preset(options[option]) if option == "preset" else _presets.read_config(options[option])
            arguments.update(found.arguments)
            shown.update(found.parameters)
            names = names or list(found.variants)
    given = problem_arguments(options)
    if "shape" in given or "documents" in given:
        arguments.pop("seq", None)
        arguments.pop("kv_len", None)
    if "seq" in given or "documents" in given:
        arguments.pop("shape", None)
        if "kv_len" not in given:
            arguments.pop("kv_len", None)
    arguments.update(given)
    arguments |= tile_arguments(options)
    if options.get("implementation") is not None:
        arguments["implementation"] = options["implementation"]
    if options.get("framework") is not None:
        arguments["framework"] = options["framework"]
    if options.get("layer"):
        arguments["layer"] = True
    parameters = parse_parameters(options.get("parameter", ()))
    chips = parse_chips(options["hardware"])
    names = list(dict.fromkeys(get_class(name).id for name in names or FIRST_VARIANTS))
    own = {name: _own_parameters(name, shown, arguments) for name in names} if shown else {}
    return Asked(names, chips, arguments | parameters, own)


def collect(
    variants: tuple[str, ...], options: dict[str, Any], left_out: list[LeftOut] | None = None
) -> tuple[list[Any], dict[str, Any]]:
    """Predictions for the options of the command line, and the arguments they were made with.

    left_out: where given, variants that refuse the problem are noted there and the others predicted.
    """
    from ..simulator.api import predict

    question = asked(variants, options)
    names, chips = question.variants, question.chips
    measured, baseline_time = options.get("measured"), options.get("baseline_time")
    if measured is not None and (len(names) > 1 or len(chips) > 1):
        raise InputError("--measured belongs to one variant on one chip")
    results = predict(
        names, chips, baseline=options.get("baseline") or "mha",
        measured=None if measured is None else parse_time("measured", measured),
        baseline_time=None if baseline_time is None else parse_time("baseline-time", baseline_time),
        overrides=parse_overrides(options.get("override", ())), parameters=question.own, left_out=left_out,
        **question.arguments,
    )  # fmt: skip
    return results, question.arguments


@click.command(
    epilog="""\b
Examples:
  attnsim predict --hw b200
  attnsim predict gna --hw b200 --heads 24 --shape 30x48x80 -p window=18x24x24 -p stride=16x8x8
  attnsim predict mha --hw h100,b200 --preset llama-3-8b-decode-8k
  attnsim predict sliding-window --hw h100 --seq 32k --causal -p window=4096 --measured 2.1ms
  attnsim predict mla --hw b200 --config config.json --seq 1 --kv-len 32k --batch 64 --format json
"""
)
@click.argument("variants", nargs=-1, metavar="[VARIANT ...]")
@click.option("--hw", "hardware", default="b200", show_default=True, metavar="NAME[,NAME|FILE]",
              help="Chips by name, or profile files; or all.")  # fmt: skip
@problem_options
@click.option("-p", "parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the variant.")
@click.option("--set", "override", multiple=True, metavar="FIELD=VALUE", help="Change a number of the chip's profile.")
@tile_options
@click.option("--implementation", metavar="NAME", help="The kernel to predict (default: the fastest that accepts).")
@click.option("--framework", metavar="NAME", help="What serves, such as vllm or vllm-0.24.0: adds what it does around "
              "the kernel (default: the kernel alone).")  # fmt: skip
@click.option("--preset", metavar="NAME", help="A real workload.")
@click.option("--config", metavar="FILE", help="A Hugging Face config.json.")
@click.option("--baseline", default="mha", show_default=True, metavar="VARIANT", help="What speedups refer to.")
@click.option("--baseline-time", metavar="TIME", help="The baseline's measured time, such as 135ms.")
@click.option("--measured", metavar="TIME", help="The variant's measured time: adds the last rung.")
@click.option("--layer", is_flag=True, help="Count the plain Q, K, V and output projections in.")
@click.option("--plot", is_flag=True, help="Draw the roofline below the table.")
@click.option("--format", "form", default="table", show_default=True, help="table, json, csv or md.")
@click.option("--output", metavar="FILE", help="Write there in place of standard output.")
def command(variants: tuple[str, ...], plot: bool, form: str, output: str | None, **options: Any) -> None:
    """Predict how fast VARIANTs can be and will be, and what limits them.

    With no VARIANT: one of each family on a default workload.
    """
    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    if plot and form != "table":
        raise InputError(f"--plot draws below the table; format is {form!r}")
    results, _ = collect(variants, options)
    from . import _render

    text = getattr(_render, form)(results)
    if plot:
        from ._plot import plots

        text += f"\n\n{plots(results)}"
    write_output(text, output)
