"""attnsim report ladder: from the FLOP-wise promise to the predicted or measured time, step by step."""

from __future__ import annotations

from typing import Any

import click

from ._shared import of_predictions, output_options, shared_options


@click.command(
    params=shared_options(),
    epilog="""\b
Examples:
  attnsim report ladder moba --hw b200 --out ladder
  attnsim report ladder gna --hw b200 --shape 30x48x80 --heads 24 -p window=18x24x24 --measured 42ms --out video
  attnsim report ladder mha gqa mla --hw h100,b200 --seq 1 --kv-len 32k --batch 16 --out decode --format html,pdf
""",
)
@output_options
@click.pass_context
def command(context: click.Context, /, variants: tuple[str, ...], out: str, forms: str, **options: Any) -> None:
    """The speedup ladder of VARIANTs as waterfalls, with the reason for each step.

    With no VARIANT: one of each family.
    """
    from ...reports.kinds.ladder import document

    of_predictions(context, document, variants, out, forms, options)
