"""Times and memory of variants over a range of lengths, and the lengths at which the faster one changes.

Everything rests on `sweep`, which equals `predict` point by point. Lengths between those asked about are whole
tokens, found by trying more of them until neighbours differ.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .api import make_choice, predict_one, split_arguments
from .errors import InputError
from .hardware import Hardware
from .prediction import Prediction
from .problem import Problem
from .sweep import Columns, sweep
from .variants import Variant, make

Lengths = NDArray[np.float64]
RUNGS = ("tiles", "schedule")
"""The floor of the tiles, and what is predicted."""
MANY, FEW = 512, 15
"""Lengths tried at a time: of variants that take arrays, and of those that are predicted one by one."""


@dataclass(frozen=True)
class Question:
    """A variant on a chip with all but one size fixed. axis: `seq`, or `kv_len` for the length of a cache.

    arguments: the other sizes and choices, as `sweep` takes them.
    """

    variant: Variant
    hardware: Hardware
    axis: str = "seq"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    baseline: str = "mha"

    @property
    def at_once(self) -> int:
        """How many lengths are tried together."""
        return MANY if self.variant.vectorised else FEW

    @property
    def is_baseline(self) -> bool:
        return self.variant == make(self.baseline)

    def columns(self, lengths: Lengths) -> Columns:
        """All of `sweep` at some lengths. Raises InputError where any of them is refused."""
        return sweep(self.variant.id, hardware=self.hardware, baseline=self.baseline, **self._given(lengths))

    def _given(self, length: Any) -> dict[str, Any]:
        """Arguments of `predict` and `sweep` at some length."""
        own = {name: value for name, value in self.variant.parameters().items() if value is not None}
        return {**self.arguments, **own, self.axis: length}

    def column(self, name: str, lengths: Lengths) -> Lengths:
        """One column, NaN at lengths that are refused."""
        found = np.full(len(lengths), np.nan)
        for rows, columns in _accepted(self, lengths)[0]:
            found[rows] = columns[name]
        return found

    def prediction(self, length: int) -> Prediction:
        """The whole prediction at one length. Raises InputError."""
        made, sizes, choices = split_arguments(self.variant.id, self._given(length))
        problem = Problem.make(**sizes)
        choice = make_choice(len(problem.shape), choices)
        return predict_one(made, problem, self.hardware, choice, baseline=self.baseline)


@dataclass(frozen=True, slots=True)
class Sample:
    """A variant at one length; None where unknown.

    operand_bytes: what a call must at least read and write (compulsory bytes). cache_bytes: one layer's cache after
    the call, whose keys and values are operands too: the two do not add up.
    """

    length: int
    tiles_s: float | None
    schedule_s: float | None
    low_s: float | None
    high_s: float | None
    roofline_speedup: float | None
    tiles_speedup: float | None
    speedup: float | None
    operand_bytes: float
    cache_bytes: float
    matrix_flops: float
    special: float
    limited_by: str | None
    implementation: str | None
    confidence: str | None

    def time_s(self, rung: str) -> float | None:
        """Seconds at `tiles` or `schedule`."""
        return self.schedule_s if rung == "schedule" else self.tiles_s

    def over_baseline(self, rung: str) -> float | None:
        """The speedup at `roofline`, `tiles` or `schedule`."""
        known = {"roofline": self.roofline_speedup, "tiles": self.tiles_speedup, "schedule": self.speedup}
        return known[rung]


@dataclass(frozen=True, slots=True)
class Gap:
    """Lengths, in order, that a variant refuses for one reason."""

    lengths: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A variant over the lengths that it accepts, and those that it refuses."""

    question: Question
    samples: tuple[Sample, ...]
    gaps: tuple[Gap, ...]

    def times(self, rung: str) -> dict[int, float]:
        """Seconds by length, where known."""
        found = ((sample.length, sample.time_s(rung)) for sample in self.samples)
        return {length: seconds for length, seconds in found if seconds is not None}


@dataclass(frozen=True, slots=True)
class Efficiency:
    """From which length on a variant is faster than its baseline, at every longer length tried.

    length: None where it is so nowhere, or nothing is known. low, high: the range tried (None: no time is known).
    """

    rung: str
    length: int | None
    low: int | None
    high: int | None

    @property
    def everywhere(self) -> bool:
        """Whether it is faster at the shortest length tried, and all others."""
        return self.length is not None and self.length == self.low


@dataclass(frozen=True, slots=True)
class Crossing:
    """From `length` on `faster` takes less time than `slower`, up to the next crossing of the two."""

    length: int
    faster: str
    slower: str


def questions(
    variants: Iterable[str], chips: Iterable[Hardware], axis: str, arguments: Mapping[str, Any], *,
    own: Mapping[str, Mapping[str, Any]] | None = None, baseline: str = "mha",
) -> list[Question]:  # fmt: skip
    """Each variant on each chip, chip by chip, and the baseline last where it is not among them.

    arguments: sizes, choices and parameters, as `predict` takes them; own: parameters of single variants. Raises
    InputError for unknown names and impossible values.
    """
    asked = list(variants)
    split: dict[str, tuple[Variant, dict[str, Any]]] = {}
    for name in asked:
        made, sizes, choices = split_arguments(name, {**(own or {}).get(name, {}), **arguments}, asked)
        split.setdefault(made.id, (made, {**sizes, **choices}))
    base = make(baseline)
    if base.id not in split:
        _, sizes, choices = split_arguments(base.id, arguments, asked)
        kept: dict[str, Any] = {name: choices[name] for name in ("layer", "framework") if name in choices}
        split[base.id] = (base, {**sizes, **kept})
    return [
        Question(made, chip, axis, {name: value for name, value in given.items() if name != axis}, base.id)
        for chip in chips for made, given in split.values()
    ]  # fmt: skip


def curve(question: Question, lengths: Sequence[int]) -> Curve:
    """A variant at the lengths, those that it refuses left out with the reason."""
    asked = np.asarray(sorted(set(lengths)), dtype=np.float64)
    accepted, refused = _accepted(question, asked)
    samples = [sample for rows, columns in accepted for sample in _samples(asked[rows], columns)]
    reasons: dict[str, list[int]] = {}
    for row, why in refused:
        reasons.setdefault(why, []).append(int(asked[row]))
    gaps = tuple(Gap(tuple(group), why) for why, group in reasons.items())
    return Curve(question, tuple(sorted(samples, key=lambda sample: sample.length)), gaps)


Accepted = list[tuple[NDArray[np.int64], Columns]]


def _accepted(question: Question, lengths: Lengths) -> tuple[Accepted, list[tuple[int, str]]]:
    """(rows, columns) of the lengths that are accepted, and (row, why) of the others: halves until one is left."""
    accepted: Accepted = []
    refused: list[tuple[int, str]] = []
    waiting = [np.arange(len(lengths))]
    while waiting:
        rows = waiting.pop()
        try:
            accepted.append((rows, question.columns(lengths[rows])))
        except InputError as error:
            if len(rows) > 1:
                waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
            else:
                refused.append((int(rows[0]), str(error)))
    return accepted, refused


def _samples(lengths: Lengths, columns: Columns) -> list[Sample]:
    def number(name: str, row: int) -> float | None:
        value = float(columns[name][row])
        return value if math.isfinite(value) else None

    made = []
    for row, length in enumerate(lengths):
        scheduled = number("ladder.schedule.time_s", row) is not None
        made.append(Sample(
            int(length), number("ladder.tiles.time_s", row), number("ladder.schedule.time_s", row),
            number("ladder.schedule.low_s", row) if scheduled else None,
            number("ladder.schedule.high_s", row) if scheduled else None,
            number("ladder.roofline.speedup", row), number("ladder.tiles.speedup", row),
            number("ladder.schedule.speedup", row),
            float(columns["bytes.hbm"][row]), float(columns["cache_bytes"][row]), float(columns["flops.matrix"][row]),
            float(columns["flops.special"][row]), columns["limited_by"][row],
            columns["implementation"][row] if scheduled else None, columns["confidence"][row],
        ))  # fmt: skip
    return made


def boundary(
    holds: Callable[[Lengths], NDArray[np.bool_]], low: int, high: int, at_once: int, resolution: float = 0.0
) -> int:
    """The least length above `low` from which on `holds` is true wherever it was tried, up to `high`.

    holds: false at low, true at high; takes and gives arrays. at_once: lengths tried together; an interval of no more
    is tried whole, 1 is bisection. resolution: share of the length that may be left undecided (0: to the token).

    >>> boundary(lambda lengths: lengths >= 300, 256, 512, 1)
    300
    """
    while high - low > max(1, int(low * resolution)):
        tried = np.unique(np.linspace(low, high, min(at_once, high - low - 1) + 2)[1:-1].round())
        failing = np.flatnonzero(~holds(tried))
        if not len(failing):
            high = int(tried[0])
            continue
        last = int(failing[-1])
        low = int(tried[last])
        high = int(tried[last + 1]) if last + 1 < len(tried) else high
    return high


def efficiency(
    known: Curve, rung: str, *, probes: int = MANY, at_once: int | None = None, resolution: float = 0.0
) -> Efficiency:
    """The length from which on the variant of a curve is faster than its baseline for good, within the curve's range.

    Beside the curve's own lengths, `probes` more are tried where the variant takes arrays (tiles that are not filled
    make times jump, so that two curves may cross more than once). at_once, resolution: as `boundary` has them.
    """
    question = known.question
    name = f"ladder.{rung}.speedup"
    speedups = {sample.length: sample.over_baseline(rung) for sample in known.samples}
    if question.variant.vectorised and len(speedups) > 1 and probes:
        more = np.unique(np.geomspace(min(speedups), max(speedups), probes).round())
        speedups |= dict(zip(map(int, more), map(float, question.column(name, more)), strict=True))
    tried = [(length, s > 1) for length, s in sorted(speedups.items()) if s is not None and not math.isnan(s)]
    if not tried:
        return Efficiency(rung, None, None, None)
    low, high = tried[0][0], tried[-1][0]
    if not tried[-1][1]:
        return Efficiency(rung, None, low, high)
    lost = [length for length, won in tried if not won]
    together = at_once or question.at_once

    def wins(lengths: Lengths) -> NDArray[np.bool_]:
        won: NDArray[np.bool_] = question.column(name, lengths) > 1
        return won

    def found_above(length: int) -> int:
        after = min(n for n, _ in tried if n > length)
        return boundary(wins, length, after, together, resolution)

    found = found_above(lost[-1]) if lost else low
    while not resolution and found < high:
        # Curves that meet at a small angle cross again soon, if at all: most are tried close by.
        later = found + np.unique(np.geomspace(1, min(found, high - found), together).round())
        failing = later[~wins(later)]
        if not len(failing):
            break
        found = found_above(int(failing[-1]))
    return Efficiency(rung, found, low, high)


def crossings(one: Curve, other: Curve, rung: str) -> list[Crossing]:
    """Where two curves cross between lengths that both have; crossings closer than those lengths may be missed."""
    a, b = one.times(rung), other.times(rung)
    shared = [length for length in sorted(a.keys() & b.keys()) if a[length] != b[length]]
    column, found = f"ladder.{rung}.time_s", []
    names = one.question.variant.id, other.question.variant.id
    for before, after in itertools.pairwise(shared):
        first = a[after] < b[after]
        if (a[before] < b[before]) == first:
            continue
        ahead, behind = (one, other) if first else (other, one)

        def faster(n: Lengths, ahead: Curve = ahead, behind: Curve = behind) -> NDArray[np.bool_]:
            won: NDArray[np.bool_] = ahead.question.column(column, n) < behind.question.column(column, n)
            return won

        at_once = min(one.question.at_once, other.question.at_once)
        length = boundary(faster, before, after, at_once)
        found.append(Crossing(length, *(names if first else names[::-1])))
    return found


def leads(curves: Sequence[Curve], rung: str) -> list[tuple[int, Curve]]:
    """Which curve is the lowest, from which length on, in order of length; handovers are found to the token."""
    times = [one.times(rung) for one in curves]
    lengths = sorted(set().union(*times)) if times else []
    found: list[tuple[int, Curve]] = []
    for before, after in zip([None, *lengths], lengths, strict=False):
        best = _lowest(times, after)
        if before is None:
            found.append((after, curves[best]))
        elif curves[best] is not found[-1][1]:
            # Only those near the front somewhere around can come to lead in between.
            near = [
                index for index, known in enumerate(times)
                if any(n in known and known[n] <= NEAR * times[_lowest(times, n)][n] for n in (before, after))
            ]  # fmt: skip
            found += _handovers([curves[i] for i in near], rung, before, after, found[-1][1], curves[best])
    return found


NEAR = 2.0
"""Times of the fastest up to which others are asked whether they lead between two lengths."""


def _lowest(times: Sequence[Mapping[int, float]], length: int) -> int:
    return min((i for i, known in enumerate(times) if length in known), key=lambda i: times[i][length])


def _handovers(
    near: Sequence[Curve], rung: str, before: int, after: int, leader: Curve, last: Curve
) -> list[tuple[int, Curve]]:
    """From the leader at one length to that at another, with those that lead in between."""
    column = f"ladder.{rung}.time_s"
    at_once = min(one.question.at_once for one in near)

    def leading(lengths: Lengths) -> NDArray[np.int64]:
        table = np.stack([one.question.column(column, lengths) for one in near])
        first: NDArray[np.int64] = np.argmin(np.where(np.isnan(table), np.inf, table), axis=0)
        return first

    def passed(own: int, lengths: Lengths) -> NDArray[np.bool_]:
        handed: NDArray[np.bool_] = leading(lengths) != own
        return handed

    found: list[tuple[int, Curve]] = []
    while leader is not last:
        own = next(index for index, one in enumerate(near) if one is leader)
        before = boundary(functools.partial(passed, own), before, after, at_once)
        leader = near[int(leading(np.asarray([float(before)]))[0])]
        found.append((before, leader))
    return found
