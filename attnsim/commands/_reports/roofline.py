"""attnsim report roofline: where variants stand under a chip's roofs."""

from __future__ import annotations

from typing import Any

import click

from ._shared import of_predictions, output_options, shared_options


@click.command(
    params=shared_options(),
    epilog="""\b
Examples:
  attnsim report roofline --hw b200 --out roofline
  attnsim report roofline mha gqa mla --hw h100,b200 --seq 1 --kv-len 32k --batch 16 --out decode --format html
  attnsim report roofline gna mha --hw b200 --shape 30x48x80 --heads 24 -p window=18x24x24 --out video --format pdf
""",
)
@output_options
@click.pass_context
def command(context: click.Context, /, variants: tuple[str, ...], out: str, forms: str, **options: Any) -> None:
    """The hierarchical roofline of each chip with VARIANTs as points.

    With no VARIANT: one of each family.
    """
    from ...reports.kinds.roofline import document

    of_predictions(context, document, variants, out, forms, options)
