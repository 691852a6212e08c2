"""What `show` and `import` say of a recording: a row for each measurement, and the model's order beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...autotune.measurement import Measurement, Recording
from ...autotune.rank import rank
from ...autotune.task import Task
from ...simulator.prediction import config_fields

HEADS = ("rank", "config", "measured", "spread", "predicted", "registers", "spills", "outcome", "flags")


@dataclass(frozen=True)
class Compared:
    """A task with a measurement of each config, fastest first, and the order that the model would try them in."""

    task: Task
    measurements: tuple[Measurement, ...]
    predicted_s: dict[Any, float | None]

    @classmethod
    def of(cls, task: Task, measurements: Sequence[Measurement]) -> Compared:
        """Of a config that was measured again, as finalists are, the last measurement counts."""
        last = {m.config: m for m in measurements}.values()
        order = sorted(last, key=lambda m: math.inf if m.median_s is None else m.median_s)
        return cls(task, tuple(order), {r.config: r.predicted_s for r in rank(task, [m.config for m in order])})

    @property
    def best(self) -> Measurement | None:
        """The fastest, None where nothing was timed."""
        return self.measurements[0] if self.measurements and self.measurements[0].seconds else None

    @property
    def first(self) -> Measurement | None:
        """That of the config which the model would try first, None where it has no number."""
        ordered = [config for config, time_s in self.predicted_s.items() if time_s is not None]
        return next((m for config in ordered[:1] for m in self.measurements if m.config == config), None)

    def rows(self) -> list[dict[str, Any]]:
        """As JSON has them."""
        return [
            {"rank": index if m.seconds else None, "config": config_fields(m.config), "outcome": m.outcome,
             "reason": m.reason, "measured_s": m.median_s, "spread": m.spread, "repetitions": len(m.seconds),
             "predicted_s": self.predicted_s.get(m.config), "registers": m.registers, "spill_bytes": m.spill_bytes,
             "shared_memory_bytes": m.shared_memory_bytes, "flags": list(m.flags)}
            for index, m in enumerate(self.measurements, start=1)
        ]  # fmt: skip

    def cells(self) -> list[list[str]]:
        """As the table has them, under HEADS."""
        from ...reports.words import seconds

        return [
            [str(row["rank"] or "-"), str(m.config), seconds(m.median_s),
             "-" if m.spread is None else f"{m.spread:.1%}", seconds(row["predicted_s"]),
             "-" if m.registers is None else str(m.registers), "-" if m.spill_bytes is None else f"{m.spill_bytes} B",
             m.outcome + (f": {m.reason}" if m.reason else ""), ", ".join(m.flags)]
            for m, row in zip(self.measurements, self.rows(), strict=True)
        ]  # fmt: skip

    def verdict(self) -> str:
        """The best against the model's first choice, in a sentence."""
        from ...reports.words import seconds

        best, first = self.best, self.first
        if best is None or best.median_s is None:
            return "none of its configs has a time"
        told = f"best {best.config} in {seconds(best.median_s)}"
        if first is None:
            return f"{told}; the model has no number for it"
        if first.median_s is None:
            return f"{told}; the model's first choice {first.config} {first.outcome}"
        if first.config == best.config:
            return f"{told}, which is the model's first choice"
        return f"{told}; the model's first choice {first.config} reaches {best.median_s / first.median_s:.1%} of it"


def compared(recording: Recording) -> list[Compared]:
    """Every task of a recording."""
    return [Compared.of(task, recording.of(task)) for task in recording.tasks]
