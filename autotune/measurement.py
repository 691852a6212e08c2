"""Measurement: one config of one task, tried. Recording: many of them in a file, with where they come from.

A recording is a JSON file: `format`, `provenance` (device, versions, commit, date, command, ...) and `measurements`,
each with its task, config, outcome and every repetition. `replay:<file>` serves it as a device.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._files import make_folder, write_file
from ..simulator.errors import InputError, unknown
from ..simulator.prediction import config_fields
from ..simulator.tiling import Tile
from .task import Task

OUTCOMES = (
    "ok", "failed to compile", "out of resources", "wrong answer", "timeout", "invalid", "compiled", "correct",
)  # fmt: skip
"""What can become of a config. Without a time: "compiled", for a chip that is not there; "correct", interpreted."""
FORMAT = 1


@dataclass(frozen=True)
class Measurement:
    """One config of one task, tried.

    seconds: every repetition, in the order measured. reason: why it is not "ok". compile_s, measure_s: what trying it
    cost. registers (of a thread), spill_bytes (of a thread), shared_memory_bytes (of a block): as compiled, where
    known. flags: what is doubtful ("unsteady": runs disagree by more than 5 %; "outliers"). conditions: what the time
    depends on besides: device, clock, temperature, versions, date.
    """

    task: Task
    config: Tile
    outcome: str
    seconds: tuple[float, ...] = ()
    reason: str = ""
    compile_s: float | None = None
    measure_s: float | None = None
    registers: int | None = None
    spill_bytes: int | None = None
    shared_memory_bytes: int | None = None
    flags: tuple[str, ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.outcome not in OUTCOMES:
            raise unknown("outcome", self.outcome, OUTCOMES)
        if (self.outcome == "ok") != bool(self.seconds):
            raise InputError(f"a measurement that is {self.outcome!r} with {len(self.seconds)} times")

    @property
    def median_s(self) -> float | None:
        """The median of its repetitions; None where nothing was timed."""
        return statistics.median(self.seconds) if self.seconds else None

    @property
    def spread(self) -> float | None:
        """Between the quartiles, over the median."""
        if len(self.seconds) < 2:
            return None
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / statistics.median(self.seconds)

    @property
    def cost_s(self) -> float:
        """Seconds that trying it took, compilation included."""
        return (self.compile_s or 0.0) + (self.measure_s or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "task": self.task.to_dict(), "config": config_fields(self.config), "outcome": self.outcome,
            "seconds": list(self.seconds), "reason": self.reason, "compile_s": self.compile_s,
            "measure_s": self.measure_s, "registers": self.registers, "spill_bytes": self.spill_bytes,
            "shared_memory_bytes": self.shared_memory_bytes, "flags": list(self.flags),
            "conditions": dict(self.conditions),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measurement:
        """From what `to_dict` gave. Raises InputError for anything else."""
        task = Task.from_dict(data["task"])
        rest = {name: value for name, value in data.items() if name not in ("task", "config")}
        rest |= {name: tuple(rest.get(name, ())) for name in ("seconds", "flags")}
        try:
            return cls(task, task.config(data["config"]), **rest)
        except TypeError as error:
            raise InputError(f"not a measurement: {error}") from None


@dataclass(frozen=True)
class Recording:
    """Measurements and where they come from."""

    provenance: Mapping[str, Any]
    measurements: tuple[Measurement, ...]

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The distinct tasks, in their order."""
        return tuple({m.task.key: m.task for m in self.measurements}.values())

    def of(self, task: Task) -> tuple[Measurement, ...]:
        """The measurements of a task."""
        return tuple(m for m in self.measurements if m.task.key == task.key)

    def to_json(self) -> str:
        """As its file has it."""
        data = {"format": FORMAT, "provenance": dict(self.provenance),
                "measurements": [m.to_dict() for m in self.measurements]}  # fmt: skip
        return json.dumps(data, indent=1, allow_nan=False) + "\n"


def write(path: str | Path, provenance: Mapping[str, Any], measurements: Sequence[Measurement]) -> None:
    """Write a recording; the file is replaced whole. Raises InputError where that is impossible."""
    text = Recording(provenance, tuple(measurements)).to_json()
    make_folder(Path(path).parent)
    write_file(Path(path), text.encode())


def read(path: str | Path) -> Recording:
    """Read a recording. Raises InputError for a file that is none."""
    try:
        data = json.loads(Path(path).read_text())
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is no recording: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT or "measurements" not in data:
        raise InputError(f"{str(path)!r} is no recording of format {FORMAT}")
    try:
        return Recording(data["provenance"], tuple(Measurement.from_dict(m) for m in data["measurements"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{str(path)!r} is no recording: {error!r}") from None
