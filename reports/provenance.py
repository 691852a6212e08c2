"""How to reproduce a report: command, versions, profiles, calibrations, data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from .. import __version__
from ..simulator import calibration
from ..simulator.hardware import NUMBERS, Hardware
from ..simulator.implementations import Implementation
from ..simulator.prediction import Prediction
from .document import MARKS, Block, Code, Items, Paragraph, Section

LIBRARIES = ("numpy", "matplotlib")
"""What numbers and pictures are made with."""
DIGITS = 12
"""Of a sha256: enough to tell two files apart."""


def digest(data: bytes) -> str:
    """The first digits of the sha256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def profile_hash(hardware: Hardware) -> str:
    """Twelve digits that change with any text or number of a profile."""
    return digest(json.dumps(hardware.to_dict(), sort_keys=True, default=str).encode())


def data_files(paths: Iterable[Path]) -> dict[str, str]:
    """Name of each file that a report reads -> digest of its content. Raises OSError."""
    return {path.name: digest(path.read_bytes()) for path in paths}


def _profile(hardware: Hardware) -> str:
    text = f"{hardware.name}, sha256 {profile_hash(hardware)}"
    changed = [f"{n} = {getattr(hardware, n):g}" for n in NUMBERS if hardware.note(n)[0] == "override"]
    if changed:
        text += f", changed for this report: {', '.join(changed)}"
    return text + f"; {'validated on ' + hardware.validated if hardware.validated else 'works, not validated'}"


def constants_line(
    kernel: Implementation, generation: str, direction: str, dtype: str, kv_dtype: str, confidence: str
) -> str:
    """The constants of a kernel on a generation: how far to trust them, the digest of their file."""
    path = calibration.path_of(kernel.calibration or kernel.name, generation, direction, dtype, kv_dtype)
    origin = f"sha256 {digest(path.read_bytes())}" if path else "of the profile"
    return f"{kernel.name} on {generation}: {confidence}, {origin}"


def _calibrations(predictions: Iterable[Prediction]) -> list[str]:
    """One line a set of constants that a predicted time rests on."""
    lines = set()
    for p in predictions:
        kernel, constants = p.chosen.implementation, p.chosen.constants
        if kernel is None or p.time_s is None:
            continue
        if constants is None:
            lines.add(f"{kernel.name}: no constants of its own ({p.confidence})")
            continue
        main = p.evaluation.graph.main
        line = constants_line(
            kernel, p.hardware.generation, p.prepared.direction, main.dtype, main.kv_dtype, str(p.confidence)
        )
        line += f", known error about {constants.error_percent:.0f} %" if constants.error_percent else ""
        lines.add(line)
    return sorted(lines)


def reproduce(
    predictions: Sequence[Prediction], command: str | None = None, data: Mapping[str, str] | None = None,
    chips: Iterable[Hardware] = (), constants: Iterable[str] = (),
) -> Section:  # fmt: skip
    """The section that ends every report: the command, the versions, and what the numbers rest on.

    data: names of the files that were read -> their digests (`data_files`), or any other origin. chips, constants
    (`constants_line`): what numbers rest on that are in no prediction here.
    """
    profiles = {profile_hash(chip): chip for chip in (*(p.hardware for p in predictions), *chips)}
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    items = [("attnsim", f"{__version__} ({versions})")]
    items += [("hardware profile", _profile(chip)) for chip in profiles.values()]
    items += [("calibration", line) for line in sorted({*_calibrations(predictions), *constants})]
    items += [("data", f"{name}, {origin}") for name, origin in (data or {}).items()]
    blocks: list[Block] = [Code(command)] if command else []
    blocks += [Items(tuple(items)), Paragraph("What the marks of the numbers mean:"), Items(tuple(MARKS.items()))]
    return Section("How to reproduce", tuple(blocks))
