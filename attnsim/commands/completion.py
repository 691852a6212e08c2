"""attnsim completion: shell completion."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog="""\b
Install it, for example in bash or fish:
  attnsim completion bash >> ~/.bashrc
  attnsim completion fish > ~/.config/fish/completions/attnsim.fish
"""
)
@click.argument("shell")
def command(shell: str) -> None:
    """Print the completion script of SHELL: bash, zsh or fish."""
    from click.shell_completion import get_completion_class

    from ..cli import cli
    from ..simulator.errors import unknown

    found = get_completion_class(shell) if shell in SHELLS else None
    if found is None:
        raise unknown("shell", shell, SHELLS)
    click.echo(found(cli, {}, "attnsim", "_ATTNSIM_COMPLETE").source())
