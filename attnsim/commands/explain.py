"""attnsim explain: what a mechanism costs, as formulas, and from where on it pays."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import click

from ._options import parse_parameters

CUBE = (16, 32, 32)
"""The layout of three axes that numbers are shown for."""
LENGTHS = [2**k for k in range(8, 21)]
"""At which variants are compared with dense attention; the first nine of those that are counted one by one."""


SELF, CAUSAL, CROSS = "self-attention (N = M)", "causal self-attention (N = M)", "N queries over M keys, decoding N = 1"


def cases(variant: Any) -> list[tuple[str, Any]]:
    """(case, variant) pairs that have formulas of their own; none for masks counted axis by axis or block by block."""
    from ..simulator.formulas import regime

    if variant.id == "mla":
        expanded, absorbed = (replace(variant, form=form) for form in ("expanded", "absorbed"))
        both = [(SELF, expanded), (CAUSAL, expanded), (CROSS, absorbed)]
        return [(case, one) for case, one in both if variant.form in (None, one.form)]
    if not variant.vectorised:
        return []
    found = [] if variant.causality == "causal" else [(SELF, variant)]
    if variant.causality != "none":
        found.append((CAUSAL, variant))
    if variant.causality == "either" and variant.has_pairs and variant.decode and regime(variant) is None:
        found.append((CROSS, variant))
    return found


def formula_lines(variant: Any) -> list[str]:
    """Formulas of each case, or a number where no closed form exists."""
    from ..simulator.errors import InputError
    from ..simulator.formulas import formulas

    lines: list[str] = []
    for case, one in cases(variant):
        try:
            regime, found = formulas(one, causal=case == CAUSAL, cross=case == CROSS)
        except InputError:
            continue
        form = f", {one.form}" if one.id == "mla" else ""
        lines.append(f"{case}{form}{f', {regime}' if regime else ''}:")
        for formula in found:
            lines += [f"  {formula.quantity} = {formula.text}", f"    LaTeX: {formula.latex}"]
    return lines or numbers(variant)


def axes_given(variant: Any) -> int:
    """Axes of the token layout that the windows of a variant are stated for; 0 if they suit any layout."""
    values = (getattr(variant, name, None) for name in ("window", "stride", "dilation", "shift"))
    return max((len(value) for value in values if isinstance(value, tuple)), default=0)


def smallest(variant: Any) -> int:
    """Tokens that an axis needs at least for a window that is one number."""
    window, dilation = getattr(variant, "window", None), getattr(variant, "dilation", 1)
    return window * dilation if isinstance(window, int) and isinstance(dilation, int) else 1


def layout(variant: Any) -> tuple[int, ...]:
    """A token layout that the variant takes: one axis where it can, as large as its windows need."""
    from ..simulator.errors import InputError
    from ..simulator.variants import per_axis

    many = variant.id in ("gna", "swin") or 1 not in variant.axes
    wide = many and smallest(variant) > min(CUBE)
    axes = axes_given(variant) or (3 if many and not wide else 1)
    if axes > 3:
        raise InputError(f"{variant.id} has parameters for {axes} axes; allowed: 1 to 3")
    sides = ((8192,), (128, 128), CUBE)[axes - 1]
    if not many:
        return sides
    window, dilation = (per_axis(name, getattr(variant, name, 1), len(sides)) for name in ("window", "dilation"))
    return tuple(max(n, (w or 1) * d) for n, w, d in zip(sides, window, dilation, strict=True))


def numbers(variant: Any) -> list[str]:
    """What a variant without a closed form costs on one problem."""
    from ..simulator.counts import counts
    from ..simulator.problem import Problem

    shape = layout(variant)
    problem = variant.prepare(Problem.make(shape=shape))
    graph = variant.graph(problem)
    useful = counts(graph)
    tokens = "x".join(map(str, shape))
    return [
        "no closed form: its pairs are counted one axis or block at a time.",
        f"at {tokens} tokens, 32 heads, head_dim 128, bf16:",
        f"  matrix FLOPs = {useful.matrix_flops:,.0f}",
        f"  exponentials = {useful.special:,.0f}",
        f"  compulsory bytes = {useful.hbm_bytes:,.0f}",
        f"  cache bytes = {graph.cache_bytes:,.0f}",
    ]


def graph_lines(variant: Any) -> list[str]:
    """The operator as dataflow: kernels, their operations and what each reads and writes."""
    from ..simulator.problem import Problem

    graph = variant.graph(variant.prepare(Problem.make(shape=layout(variant))))
    lines = []
    for part in graph.parts:
        lines.append(f"  kernel {part.name} ({part.style})")
        for op in part.ops:
            units = [u for u in ("matrix", "vector", "special") if not (isinstance(getattr(op, u), int)
                                                                       and getattr(op, u) == 0)]  # fmt: skip
            when = ", recomputed by the kernel" if op.recomputed else ""
            reads, writes = ", ".join(op.inputs) or "-", ", ".join(op.outputs) or "-"
            lines.append(f"    {op.name}: {reads} -> {writes} [{', '.join(units) or 'no work'}{when}]")
    return lines


def crossover(variant: Any, chip: Any, rung: str) -> str:
    """The length from which the variant beats dense attention on the chip, by one rung."""
    from ..simulator.crossover import Question, curve, efficiency

    tried = curve(Question(variant, chip), LENGTHS if variant.vectorised else LENGTHS[:9])
    found = efficiency(tried, rung, resolution=1 / 256)
    if found.low is None or found.high is None:
        return f"unknown ({tried.gaps[0].why if tried.gaps else f'no {rung} known'})"
    if found.length is None:
        return f"nowhere in {found.low} .. {found.high:,} tokens"
    if found.everywhere:
        return f"everywhere from {found.low} tokens on"
    return f"from about {found.length:,} tokens on"


def crossover_lines(variant: Any, hardware: str) -> list[str]:
    """Crossover lengths by floor and by schedule, or why there are none."""
    from ..simulator.api import load_hardware

    chip = load_hardware(hardware)
    if 1 not in variant.axes or axes_given(variant) > 1 or variant.id in ("mha", "block-mask"):
        return []
    found = [(rung, crossover(variant, chip, rung)) for rung in ("roofline", "schedule")]
    head = f"faster than dense attention on {chip.name} (batch 1, 32 heads, head_dim 128, bf16):"
    return [head, *(f"  by {rung}: {where}" for rung, where in found)]


@click.command(
    epilog="""\b
Examples:
  attnsim explain sliding-window -p window=1024
  attnsim explain gated-deltanet --hw h100
"""
)
@click.argument("variant")
@click.option("-p", "parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the variant.")
@click.option("--hw", "hardware", default="b200", show_default=True, help="The chip for the crossover length.")
def command(variant: str, parameter: tuple[str, ...], hardware: str) -> None:
    """Formulas, dataflow, references and claims of VARIANT, and where it beats dense attention."""
    from ..simulator import variants

    made = variants.make(variant, parse_parameters(parameter))
    crossing = crossover_lines(made, hardware)
    module = inspect.getdoc(inspect.getmodule(type(made))) or ""
    lines = [f"{made.id}: {made.title}", f"family {made.family}" + (f", arXiv {made.paper}" if made.paper else ""), "",
             " ".join(module.split()), " ".join((inspect.getdoc(type(made)) or "").split()), "",
             f"definition: {made.formula}"]  # fmt: skip
    if made.parameters():
        lines.append("parameters: " + ", ".join(f"{k}={v}" for k, v in made.parameters().items()))
    lines += ["", *formula_lines(made), "", "dataflow:", *graph_lines(made)]
    if made.claims:
        lines += ["", "claims:"]
        for claim in made.claims:
            unverified = "" if claim.checked else " [unverified]"
            lines.append(f"  {claim.figure}: {claim.configuration} ({claim.where}){unverified}")
    click.echo("\n".join([*lines, *(["", *crossing] if crossing else [])]))
