"""A device with a clock of its own, whose times are known, and a few problems to measure on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from attnsim.autotune.measurement import Measurement
from attnsim.autotune.problems import Named
from attnsim.autotune.rank import predict_config
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.simulator.tiling import Tile

SIZES = {"batch": 1, "heads": 8, "head_dim": 128, "seq": 2048}
AMONG = (
    Named("dense", "dense", "mha", SIZES),
    Named("causal", "causal", "mha", SIZES | {"causal": True}),
    Named(
        "decode", "decode", "gqa", {"batch": 4, "heads": 8, "kv_heads": 2, "head_dim": 128, "seq": 1, "kv_len": 8192}
    ),
)
CONFIG_S = 10.0
Seconds = Callable[[Task, Tile], float]


def as_predicted(task: Task, config: Tile) -> float:
    """Times that the model would rank without a mistake."""
    return 2 * (predict_config(task, config).predicted_s or 1.0)


def reversed_(task: Task, config: Tile) -> float:
    return 1e-6 / as_predicted(task, config)


@dataclass
class Fake:
    """A device with a clock of its own. calls: what was tried. fails: outcomes by number of the call from 1; `raises`:
    an exception. kill_at: the call in which its process is killed. slow_at: one that takes 100 times as long."""

    seconds: Seconds = as_predicted
    fails: dict[int, str] = field(default_factory=dict)
    raises: dict[int, BaseException] = field(default_factory=dict)
    kill_at: int = 0
    slow_at: int = 0
    name: str = "fake"
    hardware: str = "h100"
    timed: bool = True
    now_s: float = 0.0
    calls: list[tuple[str, Tile]] = field(default_factory=list)

    def space(self, task: Task) -> Space:
        return Space.of(task)

    def measure(self, task: Task, config: Tile, time_limit_s: float) -> Measurement:
        self.calls.append((task.key, config))
        count = len(self.calls)
        if count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if count in self.raises:
            raise self.raises[count]
        self.now_s += CONFIG_S * (100 if count == self.slow_at else 1)
        if count in self.fails:
            return Measurement(task, config, self.fails[count], reason="it was to fail", measure_s=CONFIG_S)
        return Measurement(task, config, "ok", (self.seconds(task, config),) * 3, measure_s=CONFIG_S)

    def finalists(self, task: Task, configs: Sequence[Tile]) -> list[Measurement]:
        raise NotImplementedError
