"""attnsim report anatomy: what a variant is, and what a kernel of it touches."""

from __future__ import annotations

from typing import Any

import click

from ..explain import formula_lines
from ._shared import check_output, command_line, finish, gather, output_options, shared_options


@click.command(
    params=shared_options(),
    epilog="""\b
Examples:
  attnsim report anatomy sliding-window --hw b200 --out anatomy
  attnsim report anatomy mla dsa moba --hw h100,b200 --seq 1 --kv-len 32k --batch 16 --out decode --format html
  attnsim report anatomy gna --hw b200 --shape 30x48x80 --heads 24 -p window=18x24x24 --out video --format pdf
""",
)
@output_options
@click.pass_context
def command(context: click.Context, /, variants: tuple[str, ...], out: str, forms: str, **options: Any) -> None:
    """Definition, formulas, dataflow, tile map, counts and kernels of each VARIANT.

    With no VARIANT: one of each family.
    """
    folder, formats = check_output(out, forms)
    gathered = gather(variants, options)
    from ...reports.kinds.anatomy import document

    variants_met = {p.variant.id: p.variant for p in gathered.predictions}
    formulas = {name: formula_lines(variant) for name, variant in variants_met.items()}
    made = document(gathered.predictions, command_line(context), gathered.left_out, formulas)
    finish(made, folder, formats, gathered.left_out)
