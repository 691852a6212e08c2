"""attnsim report anatomy: what a variant is, and what a kernel of it touches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from ..explain import formula_lines
from ._shared import of_predictions, output_options, shared_options

if TYPE_CHECKING:
    from ...reports.document import Document
    from ...simulator.api import LeftOut
    from ...simulator.prediction import Prediction


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
    from ...reports.kinds.anatomy import document

    def made(predictions: Sequence[Prediction], line: str, left_out: Sequence[LeftOut]) -> Document:
        variants_met = {p.variant.id: p.variant for p in predictions}
        formulas = {name: formula_lines(variant) for name, variant in variants_met.items()}
        return document(predictions, line, left_out, formulas)

    of_predictions(context, made, variants, out, forms, options)
