"""Prediction: everything known about one variant on one chip, as the contract of outputs has it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .bounds import Bound
from .calibration import confidence, expected, interval, overhead, widening
from .counts import Counts
from .hardware import Hardware
from .predict import Candidate, Choice, Evaluation, evaluate
from .problem import Problem, nbytes
from .schedule import Term
from .tiling import Tile
from .variants import Variant

RUNGS = ("flops", "roofline", "tiles", "schedule", "measured")
FLOORS = RUNGS[:3]


def ratio(a: float | None, b: float | None) -> float | None:
    """a / b, or None where either is missing or b is zero."""
    return None if a is None or b is None or b == 0 else a / b


def plain(x: Any) -> Any:
    """Numbers as JSON has them: ints where exact, floats else, tuples as lists, other objects as text."""
    if x is None or isinstance(x, (bool, str, int)):
        return x
    if isinstance(x, float):
        return int(x) if x.is_integer() and abs(x) < 2**53 else (x if math.isfinite(x) else None)
    if isinstance(x, (tuple, list)):
        return [plain(one) for one in x]
    if hasattr(x, "item") and getattr(x, "ndim", 1) == 0:
        return plain(x.item())
    if hasattr(x, "shape"):
        return f"array of {'x'.join(map(str, x.shape))}"
    return getattr(x, "__name__", type(x).__name__)


def as_tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists, as JSON has them, back to the tuples they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def config_fields(config: Tile) -> dict[str, Any]:
    """A tile or config as JSON has it."""
    return {name: plain(value) for name, value in asdict(config).items()}


@dataclass(frozen=True)
class Prediction:
    """The ladder of one variant on one chip, with its counts and the reasons.

    `problem` is as asked, `prepared` as the variant sees it. `baseline` is what speedups refer to. Attributes
    and methods have the names of the JSON; `to_dict()` is one element of its `predictions`.
    """

    variant: Variant
    problem: Problem
    prepared: Problem
    hardware: Hardware
    evaluation: Evaluation
    baseline_variant: Variant
    baseline: Evaluation | None
    choice: Choice
    baseline_time_s: float | None = None
    measured_s: float | None = None
    warnings: tuple[str, ...] = ()

    @property
    def chosen(self) -> Candidate:
        return self.evaluation.chosen

    def rung_time(self, rung: str) -> float | None:
        """Seconds at flops | roofline | tiles | schedule | measured, or None."""
        return _rung(self.evaluation, rung, self.measured_s)

    def baseline_rung_time(self, rung: str) -> float | None:
        """The baseline's seconds at a rung: floors as computed, then its schedule or the time that was given."""
        if rung in ("schedule", "measured"):
            return self.baseline_time
        return None if self.baseline is None else _rung(self.baseline, rung, None)

    def rung_speedup(self, rung: str) -> float | None:
        """The baseline's time at that rung over the variant's."""
        return None if self.baseline is None else ratio(self.baseline_rung_time(rung), self.rung_time(rung))

    @property
    def time_s(self) -> float | None:
        """The predicted time: the `schedule` rung."""
        return self.rung_time("schedule")

    @property
    def speedup(self) -> float | None:
        """The predicted speedup: at the `schedule` rung."""
        return self.rung_speedup("schedule")

    @property
    def baseline_time(self) -> float | None:
        """The baseline's time as given, or its schedule."""
        if self.baseline_time_s is not None:
            return self.baseline_time_s
        return None if self.baseline is None else _rung(self.baseline, "schedule", None)

    @property
    def speedup_bound(self) -> float | None:
        """The baseline's schedule or given time over the variant's tiles: no kernel of that tiling gains more."""
        return ratio(self.baseline_time, self.rung_time("tiles"))

    @property
    def terms(self) -> tuple[Term, ...]:
        """Schedule terms over `ladder.tiles`, `tile_choice` first; zero terms are left out."""
        chosen, tiles = self.chosen, self.evaluation.tiles_s
        if chosen.time_s is None or chosen.bound is None or tiles is None:
            return ()
        choice = Term(
            "tile_choice", max(chosen.bound.time_s - tiles, 0.0), "the fastest kernel's tile has a later floor"
        )
        return tuple(t for t in (choice, *chosen.terms) if t.time_s > 0)

    @property
    def limited_by(self) -> str | None:
        """The unit that sets the floor, or the schedule term that outweighs it."""
        bound = self.chosen.bound
        if bound is None:
            return None
        largest = max(self.terms, key=lambda t: t.time_s, default=None)
        if largest is not None and largest.time_s > bound.time_s:
            return "latency" if largest.name == "launch" else largest.name
        return bound.limited_by

    @property
    def interval_s(self) -> tuple[float, float] | None:
        """Range of the predicted time; never below the floor. Where constants are fitted, nine of ten measured times of
        new problems lie in the range of its size (on a chip of their own; wider on others); else by the known error."""
        time, constants, tiles = self.time_s, self.chosen.constants, self.rung_time("tiles")
        if time is None or tiles is None:
            return None
        low, high = expected(constants, self.hardware.name, time)
        kernel = self.chosen.implementation
        if self.choice.framework is not None and kernel is not None:
            known = overhead.nearest(self.choice.framework, self.hardware, kernel.name, self.prepared)
            if known is not None and known.intervals:
                low, high = interval(known.intervals, time, widening(constants, self.hardware.name))
        return max(tiles, float(low)), float(high)

    @property
    def confidence(self) -> str | None:
        """fitted | zero-shot | literature, or None without a schedule."""
        return None if self.time_s is None else confidence(self.chosen.constants, self.hardware.name)

    @property
    def fits(self) -> dict[str, int | None]:
        """Largest batch, and largest context at this batch, whose operands of one layer fit the chip's memory."""
        capacity = self.hardware.hbm_bytes
        fixed = moving = 0.0
        for tensor in self.evaluation.graph.tensors:
            if tensor.role == "weight":
                fixed += tensor.bytes
            elif tensor.role != "intermediate":
                moving += tensor.bytes
        moving = max(moving, self.evaluation.graph.cache_bytes)
        if capacity is None or moving == 0:
            return {"batch": None, "context": None}
        scale = max(capacity - fixed, 0) / moving
        return {"batch": int(self.prepared.batch * scale), "context": int(self.prepared.kv_len * scale)}

    @property
    def tile(self) -> dict[str, list[int]] | None:
        """Sides of the chosen tile along query and key axes (of a recurrent part: its chunk); None without tiles."""
        chosen = self.chosen
        if not any(p.summary is not None or p.part.chunk for p in chosen.parts):
            return None
        shown = chosen.tile
        for tiled in chosen.parts:
            if tiled.summary is None and tiled.part.chunk and not any(p.summary for p in chosen.parts):
                shown = tiled.tile
        return {"query": list(shown.query), "key": list(shown.key)}

    def tile_counts(self) -> dict[str, int] | None:
        """visited, full, partial, skipped tiles of one query head of one batch element, unpacked."""
        main = self.evaluation.graph.main
        if main.mask is None or not self.variant.has_pairs:
            return None
        tile = self.chosen.tile
        s = main.mask.tiles(tile.query, tile.key)
        return {k: plain(float(getattr(s, k))) for k in ("visited", "full", "partial", "skipped")}

    def reached(self) -> dict[str, float] | None:
        """Share of each floor and of the schedule that the measured time reached."""
        if self.measured_s is None:
            return None
        times = ((rung, self.rung_time(rung)) for rung in RUNGS[:4])
        return {rung: time / self.measured_s for rung, time in times if time is not None}

    def to_dict(self) -> dict[str, Any]:
        """One element of `predictions` (see DESIGN, outputs and names)."""
        from .explainers import reason, suggestion

        chosen, useful, graph = self.chosen, self.evaluation.useful, self.evaluation.graph
        main = graph.main
        tiles = self.tile_counts()
        flops, elements = self.evaluation.projections
        interval = self.interval_s
        schedule: dict[str, Any] | None = None
        if self.time_s is not None and interval is not None:
            schedule = {
                "time_s": self.time_s, "speedup": self.rung_speedup("schedule"), "limited_by": self.limited_by,
                "low_s": interval[0], "high_s": interval[1],
                "terms": [{"name": t.name, "time_s": float(t.time_s), "reason": t.reason} for t in self.terms],
            }  # fmt: skip
        return {
            "variant": self.variant.id,
            "parameters": {name: plain(value) for name, value in self.variant.parameters().items()},
            "hardware": self.hardware.name,
            "conditions": {"clock_hz": self.hardware.clock_max_hz, "cache": self.problem.cache},
            "direction": self.problem.direction,
            "implementation": chosen.implementation.name if chosen.implementation else None,
            "baseline": self.baseline_variant.id,
            "tile": self.tile,
            "packed_heads": chosen.tile.packed_heads,
            "pairs": plain(main.pairs) if self.variant.has_pairs and main.mask is not None else None,
            "tiles": tiles,
            "flops": _flops(useful),
            "bytes": _bytes(useful),
            "tiled": {"flops": _flops(chosen.counts), "bytes": _bytes(chosen.counts)},
            "projections": {"flops": plain(flops), "bytes": plain(nbytes(elements, self.problem.dtype))},
            "cache_bytes": plain(graph.cache_bytes),
            "arithmetic_intensity": ratio(useful.matrix_flops, useful.hbm_bytes),
            "ladder": {
                "flops": self._floor_dict("flops", self.evaluation.flops),
                "roofline": self._floor_dict("roofline", self.evaluation.roofline),
                "tiles": self._floor_dict("tiles", _tiles_bound(self.evaluation)),
                "schedule": schedule,
                "measured": self._measured_dict(),
            },
            "speedup_bound": self.speedup_bound,
            "limited_by": self.limited_by,
            "reason": reason(self),
            "suggestion": suggestion(self),
            "confidence": self.confidence,
            "error_percent": chosen.constants.error_percent if chosen.constants and self.time_s else None,
            "fits": self.fits,
            "warnings": list(self.warnings),
        }

    def _floor_dict(self, rung: str, bound: Bound | None) -> dict[str, Any] | None:
        if bound is None:
            return None
        return {
            "time_s": float(self.rung_time(rung) or 0.0), "speedup": self.rung_speedup(rung),
            "limited_by": bound.limited_by,
        }  # fmt: skip

    def _measured_dict(self) -> dict[str, Any] | None:
        if self.measured_s is None:
            return None
        return {
            "time_s": self.measured_s, "speedup": self.rung_speedup("measured"), "reached": self.reached(),
            "limited_by": self.limited_by,
        }  # fmt: skip

    def evaluated(self, *, variant: Variant | None = None, problem: Problem | None = None,
                  hardware: Hardware | None = None, choice: Choice | None = None) -> Evaluation:  # fmt: skip
        """All rungs with one thing changed. Raises InputError where the variant refuses it."""
        variant = variant or self.variant
        prepared = variant.prepare(problem or self.problem)
        return evaluate(variant, prepared, hardware or self.hardware, choice or self.choice)

    def again(self, **changed: Any) -> float | None:
        """The predicted time with one thing changed, as in `evaluated` (None where that has no schedule)."""
        return _rung(self.evaluated(**changed), "schedule", None)

    def with_measured(self, seconds: float) -> Prediction:
        """The same prediction beside a measured time."""
        return replace(self, measured_s=seconds)


def _rung(evaluation: Evaluation, rung: str, measured_s: float | None) -> float | None:
    """Seconds of an evaluation at one rung."""
    if rung == "measured":
        return measured_s
    if rung == "schedule":
        time = evaluation.chosen.time_s
        return None if time is None else float(time)
    if rung == "tiles":
        return None if evaluation.tiles_s is None else float(evaluation.tiles_s)
    bound: Bound | None = getattr(evaluation, rung)
    return None if bound is None else float(bound.time_s)


def _tiles_bound(evaluation: Evaluation) -> Bound | None:
    """The bound of the candidate that the `tiles` rung is the minimum of."""
    bounds = [c.bound for c in evaluation.candidates if c.bound is not None]
    return min(bounds, key=lambda b: float(b.time_s), default=None)


def _flops(c: Counts) -> dict[str, Any]:
    return {"matrix": plain(c.matrix_flops), "vector": plain(c.vector), "special": plain(c.special)}


def _bytes(c: Counts) -> dict[str, Any]:
    return {"hbm": plain(c.hbm_bytes), "l2": plain(c.l2_bytes)}
