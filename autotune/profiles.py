"""Profiles that are measured: by what, as which text, and where they are kept."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from pathlib import Path

CALIBRATED = {"cpu": "host", "cuda": "microbenchmarks"}
"""What can be measured, and the module here whose `profile(device)` does it."""


def kind_of(device: str) -> str:
    """A device's name without its argument.

    >>> kind_of("cuda:1"), kind_of("cpu")
    ('cuda', 'cpu')
    """
    return device.partition(":")[0]


def measured(device: str) -> str:
    """The text of a device's profile, measured now: of this host for all but GPUs. Raises InputError where that cannot
    be done."""
    module = CALIBRATED.get(kind_of(device), CALIBRATED["cpu"])
    text: str = importlib.import_module(f"{__package__}.{module}").profile(device)
    return text


def kept_profile(device: str) -> Path:
    """Where `hw calibrate --save` keeps the profile of a device: $ATTNSIM_PROFILE_<DEVICE>, or in ~/.cache/attnsim."""
    given = os.environ.get(f"ATTNSIM_PROFILE_{device.upper()}")
    return Path(given) if given else Path.home() / ".cache" / "attnsim" / f"{device}.toml"


def best_profile(device: str) -> str:
    """The kept profile of a device where there is one, else the device's own name."""
    path = kept_profile(device)
    return str(path) if path.is_file() else device


def toml(inherits: str, title: str, numbers: Iterable[tuple[str, float, str, str]], label: str, source: str) -> str:
    """The text of a profile that differs from another one.

    numbers: field, value, kind and how it was measured. label: of `source`, which says what all of them come from.
    """
    lines = ["format = 1", f'inherits = "{inherits}"', f'title = "{plain(title)}"', "", "[numbers]"]
    for name, value, kind, how in numbers:
        lines.append(f'{name} = {{ value = {value:.6g}, kind = "{kind}", source = "[{label}] {plain(how)}" }}')
    return "\n".join([*lines, "", "[sources]", f'{label} = "{plain(source)}"']) + "\n"


def plain(text: str) -> str:
    """Without what a TOML string may not hold."""
    return "".join(c for c in text if c.isprintable() and c not in '"\\')
