"""attnsim report atlas: every variant on every chip."""

from __future__ import annotations

from typing import Any

import click

from .._options import names, parse_chips, parse_overrides
from ._shared import check_output, command_line, finish, output_options


@click.command(
    epilog="""\b
Examples:
  attnsim report atlas --hw b200,h100 --out atlas
  attnsim report atlas --hw all --out atlas --format html
  attnsim report atlas mha gqa mla moba gated-deltanet --hw h100,mi300x --workload decode-32k --out decode
""",
)
@click.argument("variants", nargs=-1, metavar="[VARIANT ...]")
@click.option("--hw", "hardware", default="all", show_default=True, metavar="NAME[,NAME|FILE]",
              help="Chips by name, or profile files; or all.")  # fmt: skip
@click.option("--workload", metavar="NAME[,NAME]", help="Only these standard workloads (default: all).")
@click.option("--set", "override", multiple=True, metavar="FIELD=VALUE", help="Change a number of the chips' profiles.")
@output_options
@click.pass_context
def command(
    context: click.Context, /, variants: tuple[str, ...], hardware: str, workload: str | None,
    override: tuple[str, ...], out: str, forms: str,
) -> None:  # fmt: skip
    """Which variant is fastest on which chip at standard workloads, from which length on, and what limits it.

    With no VARIANT: all that there are, with their default parameters.
    """
    folder, formats = check_output(out, forms)
    from ...reports.kinds.atlas import document
    from ...simulator.api import load_hardware
    from ...simulator.atlas import WORKLOADS, atlas
    from ...simulator.errors import unknown
    from ...simulator.variants import names as all_variants

    asked: Any = names("--workload", workload)
    for key in asked or ():
        if key not in [one.key for one in WORKLOADS]:
            raise unknown("workload", key, [one.key for one in WORKLOADS])
    changed = parse_overrides(override)
    chips = [load_hardware(name, changed) for name in parse_chips(hardware)]
    found = atlas(variants or all_variants(), chips, [one for one in WORKLOADS if asked is None or one.key in asked])
    finish(document(found, command_line(context)), folder, formats)
