"""attnsim compile: what the compiler makes of a kernel for a chip that need not be there, beside the model's counts."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..simulator.errors import InputError, unknown
from ._options import (
    parse_overrides,
    parse_parameters,
    parse_size,
    problem_arguments,
    problem_options,
    tile_arguments,
    tile_options,
)

if TYPE_CHECKING:
    from ..kernels.resources import Resources
    from ..simulator.config import Config, TritonKernel
    from ..simulator.hardware import Hardware
    from ..simulator.predict import Choice
    from ..simulator.problem import Problem
    from ..simulator.variants import Variant


def configured(
    kernel: TritonKernel, variant: Variant, problem: Problem, hardware: Hardware, choice: Choice, given: dict[str, Any]
) -> Config:
    """The kernel's first config, or the one with the tile, warps and stages asked for. Raises InputError."""
    part = variant.graph(problem).main
    config = kernel.first_config(part, hardware, choice.tile)
    asked: dict[str, Any] = {
        name: parse_size(name, given[name]) for name in ("warps", "stages") if given[name] is not None
    }
    made = replace(config, **asked)
    refusal = kernel.refuses(part, hardware, made)
    if refusal is not None:
        raise InputError(refusal)
    return made


def model_of(
    kernel: TritonKernel, variant: Variant, problem: Problem, hardware: Hardware, config: Config
) -> dict[str, Any]:
    """The model's counts of one visited tile (null for variants without tiles of pairs) and its resource estimates."""
    from ..simulator.prediction import plain
    from ..simulator.tiling import tile_parts

    graph = variant.graph(problem)
    part = graph.main
    tiled = next(t for t in tile_parts(graph, config, hardware, problem.page_size) if t.part is part)
    return {
        "matrix_flops": plain(tiled.tile_matrix) or None, "exponentials": plain(tiled.tile_pairs) or None,
        "shared_memory_bytes": kernel.shared_memory_bytes(part, hardware, config),
        "registers": kernel.registers(part, hardware, config),
    }  # fmt: skip


def compiled(
    kernel: TritonKernel, variant: Variant, sizes: dict[str, Any], config: Config, target: str
) -> tuple[Resources, ...]:
    """The main kernels of the plan, compiled. Raises InputError where an extra is missing or the compiler fails."""
    from ..kernels import for_variant

    module = for_variant(kernel.name, variant.id).__name__.rpartition(".")[2]
    from ..kernels.compile_many import Job, compile_job, compile_many
    from ..kernels.interpret import interpreting

    job = Job(module, variant.id, sizes, config, target, variant.parameters())
    outcome = compile_many([job])[0] if interpreting() else compile_job(job)
    if outcome.error is not None:
        raise InputError(outcome.error)
    return outcome.resources


def entry(found: Resources) -> dict[str, Any]:
    """A compiled kernel as JSON: its loops, and which of them is the main one."""
    main = found.main_loop
    return {**asdict(found), "main_loop": None if main is None else found.loops.index(main)}


@click.command(
    epilog="""\b
Examples:
  attnsim compile mha --hw h100 --causal
  attnsim compile gna --hw b200 --shape 16x32x32 -p window=8x16x16 --q-tile 4x8x8 --kv-tile 2x8x8
  attnsim compile sliding-window --hw mi300x -p window=1024 --tile 128x64 --warps 4 --format json
"""
)
@click.argument("variant")
@click.option("--hw", "hardware", default="b200", show_default=True, metavar="NAME|FILE", help="The chip.")
@problem_options
@click.option("-p", "parameter", multiple=True, metavar="NAME=VALUE", help="A parameter of the variant.")
@click.option("--set", "override", multiple=True, metavar="FIELD=VALUE", help="Change a number of the chip's profile.")
@tile_options
@click.option("--warps", metavar="N", help="Warps of a block (default: the kernel's choice).")
@click.option("--stages", metavar="N", help="Depth of the software pipeline (default: the kernel's choice).")
@click.option("--implementation", metavar="NAME", help="The kernel (default: the fastest of ours that accepts).")
@click.option("--format", "form", default="table", show_default=True, help="table or json.")
def command(variant: str, hardware: str, parameter: tuple[str, ...], override: tuple[str, ...], form: str,
            **options: Any) -> None:  # fmt: skip
    """Compile the kernel that runs VARIANT for a chip, with no such chip at hand, and compare with the model.

    Prints registers, spills, shared memory and what one iteration of the main loop does, beside what the model counts
    for one visited tile.
    """
    from ..autotune.devices.offline import check_target
    from ..autotune.task import pick
    from ..simulator.api import load_hardware, make_choice, split_arguments
    from ..simulator.config import TritonKernel
    from ..simulator.problem import Problem

    if form not in ("table", "json"):
        raise unknown("format", form, ("table", "json"))
    arguments = {**problem_arguments(options), **parse_parameters(parameter), **tile_arguments(options)}
    made, sizes, asked = split_arguments(variant, {**arguments, "implementation": options["implementation"]})
    chip = load_hardware(hardware, parse_overrides(override))
    check_target(chip)
    problem = made.prepare(Problem.make(**sizes))
    choice = make_choice(len(problem.shape), asked)
    kernel = pick(made, problem, chip, choice, TritonKernel)
    config = configured(kernel, made, problem, chip, choice, options)
    model = model_of(kernel, made, problem, chip, config)
    found = compiled(kernel, made, sizes, config, chip.target)
    if form == "json":
        click.echo(json.dumps({
            "attnsim": __version__, "triton": version("triton"), "variant": made.id, "parameters": made.parameters(),
            "problem": problem.to_dict(), "hardware": chip.name, "target": chip.target, "implementation": kernel.name,
            "config": asdict(config), "model": model, "kernels": [entry(one) for one in found],
        }, indent=2, allow_nan=False))  # fmt: skip
        return
    click.echo(f"{chip.title} ({chip.target}): {made.id}, {problem.direction}, {kernel.name} {config}")
    for one in found:
        show(one, model)


def show(found: Resources, model: dict[str, Any]) -> None:
    """The tables of one compiled kernel."""
    from .hw import print_table

    def row(name: str, measured: float | None, expected: float | None) -> list[str]:
        ratio = f"{measured / expected:.3g}" if measured is not None and expected else "-"
        return [name, *("-" if x is None else f"{x:,.0f}" for x in (measured, expected)), ratio]

    main = found.main_loop
    flops, exponentials = (None, None) if main is None else (main.matrix_flops, main.exponentials)
    print_table((found.kernel, "compiler", "model", "ratio"), [
        row("matrix FLOPs of a tile", flops, model["matrix_flops"]),
        *([row("multiply-add FLOPs of a tile", main.fma_flops, None)] if main and not main.matrix else []),
        row("exponentials of a tile", exponentials, model["exponentials"]),
        row("shared memory of a block, bytes", found.shared_memory_bytes, model["shared_memory_bytes"]),
        row("registers of a thread", found.registers, model["registers"]),
        row("spilled bytes of a thread", found.spill_bytes, 0),
    ])  # fmt: skip
    if main is None:
        click.echo("It has no loop.")
        return
    matrix = [[i.name, "x".join(map(str, i.shape)), f"{i.count} a {i.per}", f"{i.flops:,}"] for i in main.matrix]
    others = [[kind.replace("_", " "), "", f"{n} a lane", ""] for kind, n in main.counts.items()]
    print_table(("main loop, one iteration", "M x N x K", "executed", "FLOPs of the block"), matrix + others)
