"""attnsim report compare: variants over a range of lengths."""

from __future__ import annotations

from typing import Any

import click

from ...simulator.errors import InputError
from .._options import parse_overrides
from ..predict import asked
from ..sweep import parse_grid
from ._shared import check_output, command_line, finish, output_options, shared_options

DEFAULT_LENGTHS = "1k..1M"
RANGES = ("..", ",", ":")


def lengths_asked(options: dict[str, Any]) -> tuple[str | None, list[int]]:
    """The axis (None: not stated) and its lengths; in the options its longest stands for it. Raises InputError."""
    if options.get("shape") or options.get("documents"):
        raise InputError("compare ranges over one axis of tokens: give --seq or --kv-len, not --shape or --documents")
    given = {name: options[name] for name in ("seq", "kv_len") if options.get(name)}
    ranged = [name for name, text in given.items() if any(mark in text for mark in RANGES)]
    if len(ranged) > 1:
        raise InputError("seq and kv-len are both ranges: give one range, such as --seq 1 --kv-len 1k..1M")
    if not given:
        return None, parse_grid("seq", DEFAULT_LENGTHS)
    axis = ranged[0] if ranged else ("kv_len" if "kv_len" in given else "seq")
    lengths = parse_grid(axis.replace("_", "-"), given[axis])
    if min(lengths) < 1:
        raise InputError(f"{axis.replace('_', '-')} is {min(lengths)}; allowed: 1 and more")
    options[axis] = str(max(lengths))
    return axis, lengths


@click.command(
    params=shared_options("measured", "baseline_time"),
    epilog="""\b
Examples:
  attnsim report compare --hw b200 --out lengths
  attnsim report compare mha moba sliding-window --hw b200,h100 --seq 1k..1M --causal --out prefill --format html
  attnsim report compare mha gqa mla --hw h100 --seq 1 --kv-len 1k..1M --batch 16 --out decode --format md,png
""",
)
@output_options
@click.pass_context
def command(context: click.Context, /, variants: tuple[str, ...], out: str, forms: str, **options: Any) -> None:
    """Time and memory of VARIANTs over a range of lengths, and from which length on each beats the baseline.

    --seq takes one length or a range (1k..1M doubles; the default); --seq 1 --kv-len 1k..1M ranges over a cache. With
    no VARIANT: one of each family.
    """
    folder, formats = check_output(out, forms)
    axis, lengths = lengths_asked(options)
    question = asked(variants, options)
    if axis is None:
        decoding = question.arguments.get("kv_len", 0) > question.arguments.get("seq", 0)
        axis = "kv_len" if decoding else "seq"
    if axis == "seq" and "shape" in question.arguments:
        question.arguments.pop("shape")
    from ...reports.kinds.compare import document, left_out
    from ...simulator.api import load_hardware
    from ...simulator.crossover import curve, questions

    changed = parse_overrides(options.get("override", ()))
    chips = [load_hardware(name, changed) for name in question.chips]
    every = questions(
        question.variants, chips, axis, question.arguments, own=question.own, baseline=options.get("baseline") or "mha"
    )
    curves = [curve(one, lengths) for one in every]
    finish(document(curves, command_line(context)), folder, formats, left_out(curves))
