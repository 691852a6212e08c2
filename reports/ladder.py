"""The speedup ladder as plain values: from the FLOP-wise promise down to what is predicted, with the reason for each
step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..simulator.explainers import UNIT_NAMES
from ..simulator.prediction import FLOORS, RUNGS, Prediction, ratio
from .document import Mark
from .words import amount, plural, seconds, times

RUNG_MARKS: dict[str, Mark] = {
    "flops": "bounded", "roofline": "bounded", "tiles": "bounded", "schedule": "predicted", "measured": "measured",
}  # fmt: skip
SAME = 1.005
"""Factors below this are no step."""
LARGEST_TERMS = 2


@dataclass(frozen=True, slots=True)
class Step:
    """A rung that is known: seconds, speedup over the baseline at the same rung, and why it differs from the one
    before."""

    rung: str
    time_s: float
    speedup: float | None
    why: str

    @property
    def mark(self) -> Mark:
        return RUNG_MARKS[self.rung]


@dataclass(frozen=True, slots=True)
class Ladder:
    """The rungs of one prediction that are known, in order. `missing`: why there are no more."""

    prediction: Prediction
    steps: tuple[Step, ...]
    missing: str = ""

    @property
    def relative(self) -> bool:
        """Whether speedups say something: the variant is not the baseline itself, and all rungs have one."""
        p = self.prediction
        return p.baseline is not p.evaluation and all(step.speedup is not None for step in self.steps)

    @property
    def kept(self) -> float | None:
        """Share of the promised speedup that the last rung has; None where none is promised."""
        first, last = self.steps[0].speedup, self.steps[-1].speedup
        return ratio(last, first) if self.relative and first is not None and first > 1 else None

    @property
    def finding(self) -> str:
        """What the ladder shows, in words."""
        first, last = self.steps[0], self.steps[-1]
        name = self.prediction.variant.id
        became = "measured" if last.rung == "measured" else "predicted" if last.rung == "schedule" else "at best"
        if self.relative:
            return f"{name}: {times(first.speedup)} promised, {times(last.speedup)} {became}"
        return f"{name}: {seconds(first.time_s)} of matrix work, {seconds(last.time_s)} {became}"


def ladder(p: Prediction) -> Ladder | str:
    """The ladder of a prediction, or why it has none."""
    steps: list[Step] = []
    d = p.to_dict()
    for rung in RUNGS:
        time = p.rung_time(rung)
        if time is not None:
            before = steps[-1].rung if steps else None
            steps.append(Step(rung, time, p.rung_speedup(rung), _why(p, d, rung, before)))
    said = next((w for w in p.warnings if w.startswith(("no floor", "no schedule"))), "")
    return Ladder(p, tuple(steps), said) if steps else said or f"nothing is known of it on {p.hardware.name}"


def without_promise(ladders: Sequence[Ladder]) -> str:
    """What ladders show together of which none promises a speedup: the speedups, or else the times, that they end at.

    ladders: one or more.
    """
    found = [(end, one.prediction.variant.id) for one in ladders if one.relative and (end := one.steps[-1].speedup)]
    floors = all(one.steps[-1].rung in FLOORS for one in ladders)
    if not found:
        taken = [one.steps[-1].time_s for one in ladders]
        name, least = ladders[0].prediction.baseline_variant.id, seconds(min(taken))
        span = least if max(taken) == min(taken) else f"{least} to {seconds(max(taken))}"
        return f"{name} takes {'at least ' if floors else ''}{span}"
    (high, first), (low, last) = max(found), min(found)
    said = f"FLOPs promise no speedup, {first} reaches {'at most ' if floors else ''}{times(high)}"
    return said if first == last else f"{said}, {last} {times(low)}"


def _why(p: Prediction, d: dict[str, Any], rung: str, before: str | None) -> str:
    """The reason of one step."""
    if before is None:
        return _promise(p)
    now, then = p.rung_time(rung), p.rung_time(before)
    assert now is not None
    grown = ratio(now, then) or 1.0
    if rung == "measured":
        said = f"given: {grown:.2f} times the {'predicted time' if before == 'schedule' else before + ' floor'}"
        beaten = [floor for floor in FLOORS if now < (p.rung_time(floor) or 0.0)]
        # Another tiling can beat the floor of the tiles; nothing correct beats the others.
        doubt = "that cannot be" if beaten != ["tiles"] else "another tiling than assumed, or skipped work"
        return f"{said}; below the floor of {' and '.join(beaten)}: {doubt}" if beaten else said
    if grown <= SAME:
        parts = [f"no step: {_limit(d, rung)} as before"]
    else:
        cause = _roofline(p) if rung == "roofline" else _tiles(d) if rung == "tiles" else _schedule(p)
        parts = [f"{times(grown)} the time: {cause}"]
    base = ratio(p.baseline_rung_time(rung), p.baseline_rung_time(before))
    if base is not None and base > SAME and p.baseline is not p.evaluation:
        parts.append(f"the time of {p.baseline_variant.id} grows {times(base)}")
    return "; ".join(parts)


def _promise(p: Prediction) -> str:
    own = amount(float(p.evaluation.useful.matrix_flops), "FLOP")
    if p.baseline is None or p.baseline is p.evaluation:
        return f"{own} of useful matrix work at the {p.prepared.matrix_dtype} peak"
    dense = amount(float(p.baseline.useful.matrix_flops), "FLOP")
    return f"{own} of useful matrix work, {p.baseline_variant.id} has {dense}"


def _limit(d: dict[str, Any], rung: str) -> str:
    """What sets a floor."""
    entry = d["ladder"][rung]
    name = entry["limited_by"] if entry else None
    return f"{UNIT_NAMES.get(name, name)} is the limit" if name else "nothing is added"


def _roofline(p: Prediction) -> str:
    bound = p.evaluation.roofline
    assert bound is not None
    matrix = bound.units[0]
    beside = f", matrix work {seconds(float(matrix))}" if matrix is not None and bound.limited_by != "matrix" else ""
    name = UNIT_NAMES[bound.limited_by]
    return f"{name} at peak takes {seconds(float(bound.time_s))}{beside}"


def _tiles(d: dict[str, Any]) -> str:
    """Pairs that tiles add, partial tiles: what grew from useful to tiled counts."""
    said = []
    useful, tiled, tiles = d["flops"]["matrix"], d["tiled"]["flops"]["matrix"], d["tiles"]
    more = ratio(tiled, useful)
    if more is not None and more > SAME:
        said.append(f"tiles compute {times(more)} the useful FLOPs")
    if tiles and tiles["partial"]:
        share = tiles["partial"] / tiles["visited"]
        said.append(f"{share:.0%} of {plural(tiles['visited'], 'visited tile')} are partial")
    return ", ".join([*said, _limit(d, "tiles")])


def _schedule(p: Prediction) -> str:
    """The largest terms with their reasons."""
    largest = sorted(p.terms, key=lambda t: -t.time_s)[:LARGEST_TERMS]
    said = [f"{t.name} +{seconds(t.time_s)} ({t.reason})" for t in largest]
    rest = len(p.terms) - len(largest)
    return ", ".join(said) + (f", and {plural(rest, 'smaller term')}" if rest > 0 else "")
