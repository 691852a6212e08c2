"""Chips that choose among measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._options import names

if TYPE_CHECKING:
    from ...simulator.hardware import Hardware


def chosen_chips(text: str | None) -> dict[str, Hardware] | None:
    """The profiles that `--hw` names, by their names; None for all that there are measurements of.

    Raises InputError for an unknown one.
    """
    from ...simulator.api import load_hardware

    given = names("--hw", text)
    if given is None or [name.lower() for name in given] == ["all"]:
        return None
    return {profile.name: profile for profile in map(load_hardware, given)}
