"""Every variant on every chip at a few standard workloads: which is fastest where, and from which length on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .api import make_choice, predict_one, split_arguments
from .crossover import Efficiency, Question, curve, efficiency
from .errors import InputError
from .hardware import Hardware
from .predict import Evaluation
from .prediction import Prediction, ratio
from .problem import Problem
from .variants import Variant, get_class, make

BASELINE = "mha"


@dataclass(frozen=True)
class Workload:
    """A problem that variants are compared at. key: its name in files. arguments: sizes, as `predict` takes them.

    axis: the size that a length is sought along from which on a variant is faster (None: not sought, a layout of
    several axes). directions: passes whose times add up.
    """

    key: str
    title: str
    arguments: Mapping[str, Any]
    axis: str | None = None
    directions: tuple[str, ...] = ("forward",)


WORKLOADS = (
    Workload("prefill-8k", "causal prefill of 8k tokens", {"seq": 8192, "causal": True}, "seq"),
    Workload("prefill-128k", "causal prefill of 128k tokens", {"seq": 131072, "causal": True}, "seq"),
    Workload("decode-32k", "decoding over 32k keys, batch 16", {"seq": 1, "kv_len": 32768, "batch": 16}, "kv_len"),
    Workload("encoder-4k", "bidirectional encoder of 4k tokens", {"seq": 4096}),
    Workload("video-30x48x80", "video of 30x48x80 tokens", {"shape": (30, 48, 80), "heads": 24}),
    Workload("training-8k", "causal training on 8k tokens, forward and backward", {"seq": 8192, "causal": True}, None,
             ("forward", "backward")),
)  # fmt: skip
"""32 heads where not said otherwise, head_dim 128, bf16."""
LENGTHS = tuple(round(512 * 2 ** (step / 8)) for step in range(8 * 11 + 1))
"""Lengths along which an efficiency length is sought, in one pass: it is known to the next, about a tenth."""
FEW_LENGTHS = tuple(512 * 4**step for step in range(5))
"""The same for variants that are predicted one length at a time; then halved to a tenth."""
RESOLUTION = 0.1


@dataclass(frozen=True)
class Cell:
    """A variant on a chip at a workload. Seconds and speedups are those of all passes; predictions: one a pass.

    pays: from which length on it is faster than the baseline (None: not sought).
    """

    workload: Workload
    predictions: tuple[Prediction, ...]
    pays: Efficiency | None

    @property
    def variant(self) -> Variant:
        return self.predictions[0].variant

    @property
    def hardware(self) -> Hardware:
        return self.predictions[0].hardware

    @property
    def is_baseline(self) -> bool:
        return self.variant.id == BASELINE

    def time_s(self, rung: str) -> float | None:
        """Seconds at a rung; None where a pass has none."""
        return _sum(p.rung_time(rung) for p in self.predictions)

    def speedup(self, rung: str) -> float | None:
        """The baseline's time at a rung over the variant's."""
        return ratio(_sum(p.baseline_rung_time(rung) for p in self.predictions), self.time_s(rung))

    @property
    def interval_s(self) -> tuple[float, float] | None:
        """The likely range of the time."""
        ranges = [p.interval_s for p in self.predictions]
        low, high = (_sum(None if r is None else r[side] for r in ranges) for side in (0, 1))
        return None if low is None or high is None else (low, high)

    @property
    def slowest(self) -> Prediction:
        """The pass that takes longest: its limit is the cell's."""
        return max(self.predictions, key=lambda p: p.time_s or p.rung_time("tiles") or 0.0)

    @property
    def why_not(self) -> str:
        """Why there is no predicted time, or nothing."""
        if self.time_s("schedule") is not None:
            return ""
        told = (w for p in self.predictions for w in p.warnings if w.startswith(("no schedule", "no floor")))
        return next(told, f"no schedule on {self.hardware.name}")


def _sum(values: Iterable[float | None]) -> float | None:
    total = 0.0
    for value in values:
        if value is None:
            return None
        total += value
    return total


@dataclass(frozen=True)
class Refusal:
    """A variant that a workload is not for, with the reason; the same on every chip."""

    workload: Workload
    variant: str
    why: str


@dataclass(frozen=True)
class Atlas:
    """All cells, workload by workload, chip by chip; and what is refused."""

    workloads: tuple[Workload, ...]
    chips: tuple[Hardware, ...]
    variants: tuple[str, ...]
    cells: tuple[Cell, ...]
    refusals: tuple[Refusal, ...]

    def of(self, workload: Workload) -> list[Cell]:
        return [cell for cell in self.cells if cell.workload is workload]


def fastest(cells: Iterable[Cell]) -> tuple[Cell, str] | None:
    """The cell of the largest speedup by predicted times, or by floors where the baseline's time is not predicted, and
    the rung; the baseline leads where it ties with others. None where neither is known."""
    ordered = sorted(cells, key=lambda cell: not cell.is_baseline)
    for rung in ("schedule", "tiles"):
        known = [(speedup, cell) for cell in ordered if (speedup := cell.speedup(rung)) is not None]
        if known:
            return max(known, key=lambda one: one[0])[1], rung
    return None


def atlas(variants: Sequence[str], chips: Sequence[Hardware], workloads: Sequence[Workload] = WORKLOADS) -> Atlas:
    """Every variant with its default parameters on every chip. Raises InputError where all refuse."""
    ids = tuple(dict.fromkeys(get_class(name).id for name in variants))
    cells: list[Cell] = []
    refusals: dict[tuple[str, str, str], Refusal] = {}
    lengths: dict[Any, Efficiency | None] = {}
    for workload in workloads:
        for chip in chips:
            memo: dict[Any, Evaluation] = {}
            for name in ids:
                try:
                    made = _predict(workload, name, chip, memo)
                except InputError as error:
                    refusals.setdefault((workload.key, name, str(error)), Refusal(workload, name, str(error)))
                    continue
                cells.append(Cell(workload, made, _pays(workload, made[0], lengths)))
    if not cells:
        raise InputError("; ".join(dict.fromkeys(one.why for one in refusals.values())) or "nothing to compare")
    return Atlas(tuple(workloads), tuple(chips), ids, tuple(cells), tuple(refusals.values()))


def _predict(workload: Workload, name: str, chip: Hardware, memo: dict[Any, Evaluation]) -> tuple[Prediction, ...]:
    """One prediction a pass. Raises InputError where the variant refuses."""
    predictions = []
    for direction in workload.directions:
        made, sizes, choices = split_arguments(name, {**workload.arguments, "direction": direction})
        problem = Problem.make(**sizes)
        if problem.queries == 1 and not made.decode:
            raise InputError(f"{made.id} does not decode one token at a time")
        choice = make_choice(len(problem.shape), choices)
        predictions.append(predict_one(made, problem, chip, choice, baseline=BASELINE, memo=memo))
    return tuple(predictions)


def _pays(workload: Workload, p: Prediction, known: dict[Any, Efficiency | None]) -> Efficiency | None:
    """From which length on a variant is faster than the baseline, all else as in the workload; workloads that differ
    in nothing else share it."""
    if workload.axis is None or p.variant == make(BASELINE):
        return None
    others = {name: value for name, value in workload.arguments.items() if name != workload.axis}
    key = (workload.axis, tuple(sorted(others.items())), p.variant.id, id(p.hardware))
    if key not in known:
        rung = "schedule" if p.time_s is not None else "tiles"
        question = Question(p.variant, p.hardware, workload.axis, others, BASELINE)
        tried = curve(question, LENGTHS if p.variant.vectorised else FEW_LENGTHS)
        known[key] = efficiency(tried, rung, probes=0, at_once=1, resolution=RESOLUTION)
    return known[key]
