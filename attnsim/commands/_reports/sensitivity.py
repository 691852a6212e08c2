"""attnsim report sensitivity: what if a number of the chip, the problem or the model were halved or doubled."""

from __future__ import annotations

from typing import Any

import click

from ._shared import of_predictions, output_options, shared_options


@click.command(
    params=shared_options("measured", "baseline_time", "baseline"),
    epilog="""\b
Examples:
  attnsim report sensitivity mha --hw b200 --out what-if
  attnsim report sensitivity moba sliding-window --hw h100,b200 --seq 32k --causal --out what-if --format html
  attnsim report sensitivity mla --hw mi300x --seq 1 --kv-len 32k --batch 64 --out decode --format pdf
""",
)
@output_options
@click.pass_context
def command(context: click.Context, /, variants: tuple[str, ...], out: str, forms: str, **options: Any) -> None:
    """How the predicted time of VARIANTs moves with each number, as elasticities and a tornado picture.

    With no VARIANT: one of each family.
    """
    from ...reports.kinds.sensitivity import document

    of_predictions(context, document, variants, out, forms, options)
