"""Predicted against measured speedups over dense attention, on a device that is here.

Windows and neighbourhoods are timed in rotation with the dense attention that they replace, round after round, so that
what drifts meets all alike; dense attention comes once more at the end. A time is the shortest repetition of all
rounds: what other processes take only adds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..simulator.errors import InputError
from ..simulator.prediction import config_fields, ratio
from ..simulator.tiling import Tile
from .devices import Device, open_device
from .measurement import Measurement
from .profiles import kind_of
from .rank import predict_config, rank
from .task import Task, plain_mapping

ROUNDS = 3
TIME_LIMIT_S = 120.0
LIMITS = {"cpu": 25.0, "cuda": 15.0}
"""Percent that predicted speedups may be off, by device."""
BLOCK = Tile((128,), (128,))
"""Of flex_attention's mask: torch's own choice."""


@dataclass(frozen=True)
class Case:
    """A mask in place of dense attention over the same tokens. sizes: arguments of `Problem.make`."""

    variant: str
    sizes: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def dense(self) -> Case:
        """All tokens of the case see each other."""
        sizes = {name: value for name, value in self.sizes.items() if name not in ("shape", "causal")}
        return Case("mha", sizes | {"seq": math.prod(self.sizes.get("shape", (self.sizes.get("seq", 1),)))})

    def task(self, hardware: str, implementation: str | None) -> Task:
        """By a kernel (None: the fastest predicted). Raises InputError where there is none."""
        return Task.make(self.variant, hardware, implementation, **self.sizes, **self.parameters)


def cases(device: str) -> tuple[Case, ...]:
    """The fixed list: windows along one axis, centred and causal, and neighbourhoods along one to three. On cuda with
    eight times the tokens and 16 heads in bf16: times of milliseconds on the largest chips."""
    one: dict[str, Any] = {"batch": 1, "heads": 4, "head_dim": 64, "dtype": "fp32"}
    tokens, plane, cube, times = 4096, (64, 64), (16, 16, 16), 1
    if device == "cuda":
        one = {"batch": 1, "heads": 16, "head_dim": 128, "dtype": "bf16"}
        tokens, plane, cube, times = 32768, (128, 256), (32, 32, 32), 2
    line, area, volume = one | {"seq": tokens}, one | {"shape": plane}, one | {"shape": cube}
    side, edge = 16 * times, 8 * times
    return (
        Case("sliding-window", line, {"window": tokens // 4 + 1}),
        Case("sliding-window", line, {"window": tokens // 16 + 1}),
        Case("sliding-window", line | {"causal": True}, {"window": tokens // 4}),
        Case("gna", line, {"window": tokens // 8}),
        Case("gna", area, {"window": (side, side)}),
        Case("gna", area, {"window": (2 * side, 2 * side)}),
        Case("gna", area, {"window": (side, side), "stride": (edge, edge)}),
        Case("gna", volume, {"window": (edge, edge, edge)}),
        Case("gna", volume, {"window": (edge // 2, edge, edge)}),
    )


@dataclass(frozen=True)
class Record:
    """A case, predicted and measured. Times in seconds, `dense_` those of what it replaces; None: not known, `reason`
    says why. error_percent: of the predicted speedup; within: whether that is at most the device's limit.
    drift_percent: how much longer dense attention took at the end than at the beginning."""

    variant: str
    parameters: Mapping[str, Any]
    problem: Mapping[str, Any]
    hardware: str
    implementation: str | None = None
    config: Mapping[str, Any] | None = None
    predicted_s: float | None = None
    measured_s: float | None = None
    dense_predicted_s: float | None = None
    dense_measured_s: float | None = None
    predicted_speedup: float | None = None
    measured_speedup: float | None = None
    error_percent: float | None = None
    within: bool | None = None
    drift_percent: float | None = None
    flags: tuple[str, ...] = ()
    reason: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"flags": list(self.flags)}


@dataclass
class Contender:
    """What is timed: a task with its config, and what each round measured."""

    task: Task
    config: Tile
    found: list[Measurement] = field(default_factory=list)

    @classmethod
    def of(cls, case: Case, device: Device) -> Contender:
        """By the device's kernel, with torch's block size on the cpu, else the config predicted to be the fastest.

        Raises InputError where no kernel takes the case.
        """
        host = device.name == "cpu"
        task = case.task(device.hardware, "flex-cpu" if host else None)
        ranked = rank(task, (BLOCK,) if host else device.space(task).configs)
        if not ranked:
            raise InputError(f"{task.implementation} has no tile for {task}")
        return cls(task, ranked[0].config)

    @property
    def measured_s(self) -> float | None:
        """The shortest repetition."""
        return min((min(m.seconds) for m in self.found if m.seconds), default=None)

    @property
    def predicted_s(self) -> float | None:
        return predict_config(self.task, self.config).predicted_s

    @property
    def reason(self) -> str:
        """Why there is no time."""
        if self.measured_s is not None:
            return ""
        return next((f"{m.outcome}: {m.reason}" for m in self.found if m.reason), "not measured")


def check_timed(device: Device) -> None:
    """Raises InputError for a device that gives no times."""
    if not device.timed:
        raise InputError(f"device {device.name} gives no times; allowed: {', '.join(LIMITS)}")


def validate_device(
    device: str | Device, listed: Sequence[Case] | None = None, *, rounds: int = ROUNDS,
    progress: Callable[[str], object] | None = None,
) -> list[Record]:  # fmt: skip
    """A record a case, on a device by its name or as opened; `progress` is told what is measured.

    Raises InputError for a device that is not here, or that gives no times.
    """
    opened = open_device(device) if isinstance(device, str) else device
    try:
        check_timed(opened)
        kind = kind_of(opened.name)
        chosen = cases(kind) if listed is None else tuple(listed)
        return _validate(opened, chosen, LIMITS.get(kind, LIMITS["cuda"]), rounds, progress)
    finally:
        close = getattr(opened, "close", None)
        if isinstance(device, str) and close is not None:
            close()


def _validate(
    device: Device, listed: tuple[Case, ...], limit: float, rounds: int, progress: Callable[[str], object] | None
) -> list[Record]:
    contenders: dict[Any, Contender] = {}
    pairs: list[tuple[Case, Contender | None, Contender | None, str]] = []
    for case in listed:
        try:
            both = [Contender.of(one, device) for one in (case.dense(), case)]
        except InputError as error:
            pairs.append((case, None, None, str(error)))
            continue
        dense, own = (contenders.setdefault(one.task.key, one) for one in both)
        pairs.append((case, dense, own, ""))
    replaced = list({dense.task.key: dense for _, dense, _, _ in pairs if dense is not None}.values())
    for turn in range(rounds + 1):
        for one in contenders.values() if turn < rounds else replaced:
            if progress is not None:
                progress(f"{'dense again' if turn == rounds else f'round {turn + 1} of {rounds}'}: {one.task}")
            one.found.append(device.measure(one.task, one.config, TIME_LIMIT_S))
    return [
        Record(case.variant, plain_mapping(case.parameters), plain_mapping(case.sizes), device.hardware, reason=reason)
        if dense is None or own is None
        else _record(case, dense, own, device.hardware, limit)
        for case, dense, own, reason in pairs
    ]


def _record(case: Case, dense: Contender, own: Contender, hardware: str, limit: float) -> Record:
    predicted = ratio(dense.predicted_s, own.predicted_s)
    measured = ratio(dense.measured_s, own.measured_s)
    error = None if predicted is None or measured is None else (predicted / measured - 1) * 100
    drift = ratio(dense.found[-1].median_s, dense.found[0].median_s)
    flags = {flag for one in (dense, own) for m in one.found for flag in m.flags}
    return Record(
        case.variant, plain_mapping(case.parameters), plain_mapping(case.sizes), hardware, own.task.implementation,
        config_fields(own.config), own.predicted_s, own.measured_s, dense.predicted_s, dense.measured_s, predicted,
        measured, error, None if error is None else abs(error) <= limit, None if drift is None else (drift - 1) * 100,
        tuple(sorted(flags)), own.reason or dense.reason,
    )  # fmt: skip
