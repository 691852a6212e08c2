"""Measurements that were made elsewhere: one file a format.

inductor, t4   `recognises(text)` and `parse(text, path, context) -> Recording`
landscapes     published tables, read one landscape at a time
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...simulator.errors import InputError
from ..measurement import Recording
from ..measurement import read as read_recording

FOREIGN = ("inductor", "t4")
"""Formats of other tools, in the order they are tried."""


@dataclass(frozen=True)
class Context:
    """What a file of another tool may leave open: the chip, the kernel that the times are of, the variant with its
    parameters, and sizes. What the file does state is taken from there."""

    hardware: str | None = None
    implementation: str | None = None
    variant: str = "mha"
    arguments: Mapping[str, Any] = field(default_factory=dict)


def read(path: str | Path, context: Context | None = None) -> Recording:
    """A recording from a file of any known format, told by its content. Raises InputError."""
    text = text_of(path)
    for name in FOREIGN:
        module = importlib.import_module(f"{__name__}.{name}")
        if module.recognises(text):
            found: Recording = module.parse(text, str(path), context or Context())
            return found
    if text.lstrip().startswith("{"):
        return read_recording(path)
    raise InputError(f"{str(path)!r} is no recording, no TorchInductor AUTOTUNE log and no T4 file")


def text_of(path: str | Path) -> str:
    """What a file says. Raises InputError where it cannot be read."""
    try:
        return Path(path).read_text(errors="replace")
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from None
