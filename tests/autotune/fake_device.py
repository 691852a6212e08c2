"""A device whose times are computed, and which writes down what it does: one line when a measurement starts, one when
it is done. Other processes import it too."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnsim.autotune.measurement import Measurement
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.simulator.config import Config

CONFIGS = tuple(
    Config((q,), (k,), warps=w, stages=s) for q, k, w, s in itertools.product((64, 128), (32, 64), (4, 8), (1, 2, 3))
)


def task() -> Task:
    """What is tuned."""
    return Task.make("mha", "h100", "triton-flash", seq=4096, heads=8)


def seconds_of(config: Config) -> float:
    """A time that only the largest tile with the most stages reaches; no two configs are alike."""
    q, k = config.query[0], config.key[0]
    return 1e-3 * (2 - q / 128 - 0.3 * k / 64) + 1e-5 * (3 - config.stages) + 1e-6 * config.warps


@dataclass
class FakeDevice:
    """log: where it writes, nowhere by default. wait_s: how long a measurement takes. outcomes: of configs that are
    not ok. cost_s: what a measurement is said to have taken. factor: times are so much longer."""

    log: str = ""
    wait_s: float = 0.0
    configs: tuple[Config, ...] = CONFIGS
    outcomes: dict[Config, str] = field(default_factory=dict)
    cost_s: float = 0.0
    factor: float = 1.0
    final_factors: dict[Config, float] = field(default_factory=dict)
    timed: bool = True
    spills: dict[Config, int] = field(default_factory=dict)
    name: str = "fake"
    hardware: str = "h100"

    def space(self, task: Task) -> Space:
        return Space.among(self.configs)

    def measure(self, task: Task, config: Config, time_limit_s: float) -> Measurement:
        self.write("start", config)
        time.sleep(self.wait_s)
        self.write("done", config)
        outcome = self.outcomes.get(config, "ok" if self.timed else "compiled")
        seconds = (seconds_of(config) * self.factor,) * 3 if outcome == "ok" else ()
        reason = "" if outcome in ("ok", "compiled") else f"it was {outcome}"
        return Measurement(task, config, outcome, seconds, reason, compile_s=self.cost_s / 2, measure_s=self.cost_s / 2,
                           registers=100, spill_bytes=self.spills.get(config, 0))  # fmt: skip

    def finalists(self, task: Task, configs: Sequence[Config]) -> list[Measurement]:
        for config in configs:
            self.write("final", config)
        return [
            Measurement(task, c, "ok", (seconds_of(c) * self.factor * self.final_factors.get(c, 1.0),) * 3)
            for c in configs
        ]  # fmt: skip

    def write(self, word: str, config: Config) -> None:
        """One line, whole, whoever else writes."""
        if self.log:
            with open(self.log, "ab", buffering=0) as file:
                file.write(f"{word} {os.getpid()} {config}\n".encode())


def lines(log: str | Path, word: str) -> list[str]:
    """The configs of the lines that start with a word, in their order."""
    found = [line.split(" ", 2) for line in Path(log).read_text().splitlines()]
    return [config for first, _, config in found if first == word]


def processes(log: str | Path) -> list[int]:
    """The processes that started measurements, in their order."""
    found = [line.split(" ", 2) for line in Path(log).read_text().splitlines()]
    return [int(pid) for first, pid, _ in found if first == "start"]
