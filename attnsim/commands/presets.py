"""attnsim presets: the real workloads that --preset takes."""

from __future__ import annotations

import click


@click.command(
    epilog="""\b
Example:
  attnsim presets
  attnsim predict --hw b200 --preset hunyuanvideo
"""
)
def command() -> None:
    """List the workloads that `--preset` takes, each with its title and source."""
    from .. import _presets

    for name in _presets.names():
        found = _presets.preset(name)
        click.echo(f"{name}\n  {found.title}\n  {found.source}")
