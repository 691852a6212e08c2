"""How to reproduce a report: command, version, profiles, calibrations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

from .. import __version__
from ..simulator.hardware import NUMBERS, Hardware
from ..simulator.prediction import Prediction

MARKS = (
    "**counted**: exact counts of the operator. **bounded**: a floor that no correct implementation beats (counts over "
    "peaks at the highest clock). **predicted**: floors plus modelled terms. **measured**: given by the user."
)


def profile_hash(hardware: Hardware) -> str:
    """Twelve digits that change with any text or number of a profile."""
    content = json.dumps(hardware.to_dict(), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _profile(hardware: Hardware) -> str:
    changed = [f"{n} = {getattr(hardware, n):g}" for n in NUMBERS if hardware.note(n)[0] == "override"]
    text = f"- hardware profile: `{hardware.name}`, sha256 `{profile_hash(hardware)}`"
    if changed:
        text += f", changed for this report: {', '.join(changed)}"
    return text + f"; {'validated on ' + hardware.validated if hardware.validated else 'works, not validated'}"


def _calibrations(predictions: Iterable[Prediction]) -> list[str]:
    lines = []
    for p in predictions:
        kernel, constants = p.chosen.implementation, p.chosen.constants
        if kernel is None or p.time_s is None:
            continue
        if constants is None:
            line = f"- calibration: `{kernel.name}`: no constants of its own ({p.confidence})"
        else:
            line = f"- calibration: `{kernel.name}/{p.hardware.generation}`: {p.confidence}"
            line += f", known error about {constants.error_percent:.0f} %" if constants.error_percent else ""
        lines.append(line)
    return sorted(set(lines))


def reproduce(predictions: Sequence[Prediction], command: str | None) -> list[str]:
    """Markdown lines: the command, the version, and what the numbers rest on."""
    lines = ["## How to reproduce", ""]
    if command:
        lines += ["```", command, "```", ""]
    chips = {profile_hash(p.hardware): p.hardware for p in predictions}
    lines.append(f"- attnsim {__version__}")
    lines += [_profile(chip) for chip in chips.values()]
    return [*lines, *_calibrations(predictions), "", MARKS]
