"""How predicted times move with each number of the chip and the problem: every one halved and doubled, one at a time.

The elasticity of a time t in a number x is the slope of log t over log x between the two ends,
`log(t_doubled / t_halved) / log(x_doubled / x_halved)`; where one end cannot be had, the number as it is stands in for
it. -1: twice the number halves the time; 0: it does not matter; 1: twice the number, twice the time. Tiles and waves
come in whole numbers, so that small changes do nothing and others jump: an elasticity is the slope over two octaves and
no derivative. Where the number is continuous (rates, bandwidths, clocks, latencies of a chip), the local elasticity is
the same slope between 1 % less and 1 % more: a central difference. Whole numbers are halved downwards (half of 39
compute units is 19). The fastest kernel is chosen anew each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from .errors import InputError
from .hardware import NUMBERS, Hardware
from .predict import Evaluation
from .prediction import Prediction
from .problem import Problem

Rung = Literal["schedule", "tiles"]
Group = Literal["chip", "problem", "model"]
"""What a number belongs to: the chip; the use of a model (batch, tokens); the model itself."""

FACTORS = (0.5, 2.0)
NEAR = (0.99, 1.01)
"""Steps of the local elasticity."""
MOVES = 1e-3
"""Relative changes of a time below it are none."""
TOGETHER: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("clock", ("clock_max_hz", "clock_sustained_hz")),
    ("compute units", ("sm_count",)),
    ("exp rate", ("exp_per_clock_per_sm",)),
    ("vector rate", ("vector_flop_per_clock_per_sm",)),
    ("HBM bandwidth", ("hbm_bandwidth_bytes_per_s",)),
    ("HBM efficiency", ("hbm_efficiency",)),
    ("HBM capacity", ("hbm_bytes",)),
    ("L2 bandwidth", ("l2_bandwidth_bytes_per_s", "l2_achieved_bytes_per_s")),
    ("L2 capacity", ("l2_bytes",)),
    ("shared memory rate", ("smem_bytes_per_clock_per_sm",)),
    ("shared memory", ("smem_bytes_per_sm", "smem_bytes_per_block")),
    ("launch latency", ("launch_latency_s",)),
    ("fp16 matrix rate", ("matrix_fp16_flop_per_clock_per_sm", "matrix_fp16_acc16_flop_per_clock_per_sm")),
    ("fp8 matrix rate", ("matrix_fp8_flop_per_clock_per_sm", "matrix_fp8_acc16_flop_per_clock_per_sm")),
    *(
        (f"{dtype} matrix rate", (f"matrix_{dtype}_flop_per_clock_per_sm",))
        for dtype in ("fp32", "tf32", "bf16", "int8", "fp6", "fp4")
    ),
)
"""Numbers of a profile that are one to a designer, and its name; any other number moves alone under its own name."""
CONTINUOUS = ("_per_s", "_per_clock_per_sm", "_hz", "_s", "_efficiency")
"""How the names of continuous numbers of a profile end."""
WHOLE_CHIP = ("clock", "compute units")
"""Numbers that speed up all units of a chip at once."""


@dataclass(frozen=True, slots=True)
class End:
    """A number halved or doubled. time_s, floor_s: None where there is none, which `why` explains. kernel: the fastest.

    value: None where the number cannot be so.
    """

    value: float | None
    time_s: float | None = None
    floor_s: float | None = None
    kernel: str | None = None
    why: str = ""

    def at(self, rung: Rung) -> float | None:
        """Seconds at the schedule, or at the floor of the tiles."""
        return self.time_s if rung == "schedule" else self.floor_s


@dataclass(frozen=True, slots=True)
class Moved:
    """One number: as it is, halved and doubled. unit: as in `B/s`; fields: where it stands in a profile."""

    name: str
    group: Group
    unit: str
    now: End
    halved: End
    doubled: End
    fields: tuple[str, ...] = ()
    near: tuple[End, End] | None = None
    """The number 1 % less and 1 % more, where it is continuous."""

    def relative(self, end: End, rung: Rung) -> float | None:
        """The time at an end over the time now."""
        now, then = self.now.at(rung), end.at(rung)
        return None if not now or then is None else then / now

    def elasticity(self, rung: Rung) -> float | None:
        """d log t / d log x over the ends that there are (see the top of this file)."""
        low = self.halved if self.halved.at(rung) else self.now
        high = self.doubled if self.doubled.at(rung) else self.now
        return _slope(low, high, rung)

    def local(self, rung: Rung) -> float | None:
        """d log t / d log x by central difference; None for a number that is not continuous."""
        return None if self.near is None else _slope(*self.near, rung)

    def effect(self, rung: Rung) -> float:
        """The larger of the two changes, as the logarithm of a ratio; 0 where none is known."""
        ratios = (self.relative(end, rung) for end in (self.halved, self.doubled))
        return max((abs(math.log(ratio)) for ratio in ratios if ratio), default=0.0)

    def best(self, rung: Rung) -> tuple[End, float]:
        """The end that is faster, and its time over the time now; the number as it is where neither is."""
        ends = [(end, self.relative(end, rung)) for end in (self.doubled, self.halved)]
        known = [(end, ratio) for end, ratio in ends if ratio is not None]
        return min([(self.now, 1.0), *known], key=lambda one: one[1])

    def switches(self, end: End) -> bool:
        """Whether another kernel is the fastest there."""
        return end.kernel is not None and end.kernel != self.now.kernel


def _slope(low: End, high: End, rung: Rung) -> float | None:
    t0, t1, x0, x1 = low.at(rung), high.at(rung), low.value, high.value
    if not t0 or not t1 or not x0 or not x1 or x0 == x1:
        return None
    return math.log(t1 / t0) / math.log(x1 / x0)


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """All numbers of one prediction by their effect, the largest first; and the names of those that move nothing.

    rung: what effects are measured at; `tiles`, the floor, where the chip or the variant has no schedule.
    """

    prediction: Prediction
    rung: Rung
    moved: tuple[Moved, ...]
    unmoved: tuple[str, ...]

    def of(self, *groups: Group) -> list[Moved]:
        """The numbers of some groups that move something."""
        return [one for one in self.moved if one.group in groups]


def sensitivity(p: Prediction) -> Sensitivity | None:
    """Halve and double every number that a prediction rests on. None where it has neither schedule nor floor."""
    now = _end(p, p.evaluation, None)
    if now.floor_s is None:
        return None
    rung: Rung = "tiles" if now.time_s is None else "schedule"
    used = read(p)
    moves = (*_chip(p, used), *_problem(p), *_model(p))
    tried = [_moved(p, now, move) for move in moves]
    still = [one for one in tried if not _moves(one)]
    nears = {move.name: _near(p, move) for move, one in zip(moves, tried, strict=True) if _moves(one)}
    idle = [name for name, names in numbers_together() if not used & set(names) and _known(p.hardware, names)]
    moving = (replace(one, near=nears[one.name]) for one in tried if one.name in nears)
    order = sorted(moving, key=lambda one: -one.effect(rung))
    return Sensitivity(p, rung, tuple(order), (*(one.name for one in still), *idle))


def numbers_together() -> list[tuple[str, tuple[str, ...]]]:
    """Every number of a profile, those that are one to a designer together, but published peaks, which no time uses."""
    named = {field for _, names in TOGETHER for field in names}
    return [*TOGETHER, *((name, (name,)) for name in NUMBERS if name not in named and not name.startswith("datasheet"))]


class _Traced(Hardware):
    """A chip that notes which of its numbers are read."""

    __slots__ = ("reads",)
    __hash__ = object.__hash__  # a hash over the values would read them all
    reads: set[str]

    def __getattribute__(self, name: str) -> Any:
        if name in _NUMBERS:
            object.__getattribute__(self, "reads").add(name)
        return object.__getattribute__(self, name)


_NUMBERS = frozenset(NUMBERS)


def read(p: Prediction) -> frozenset[str]:
    """Numbers of the chip's profile that its rungs are computed from: another one, changed alone, moves nothing."""
    traced = object.__new__(_Traced)
    object.__setattr__(traced, "reads", set())
    for one in fields(Hardware):
        object.__setattr__(traced, one.name, getattr(p.hardware, one.name))
    p.evaluated(hardware=traced)
    return frozenset(traced.reads)


@dataclass(frozen=True, slots=True)
class _Move:
    """A number that can be changed: `change(factor)` gives the new value and arguments of `Prediction.evaluated`."""

    name: str
    group: Group
    unit: str
    value: float
    change: Callable[[float], tuple[float, dict[str, Any]]]
    fields: tuple[str, ...] = ()


def _known(chip: Hardware, names: Sequence[str]) -> bool:
    return any(getattr(chip, name) for name in names)


def _unit(field: str) -> str:
    """Of a number of a profile, from its name."""
    if field.endswith("_bytes_per_s"):
        return "B/s"
    if field.endswith("_per_clock_per_sm"):
        kind = "FLOP" if "flop" in field else "B" if "bytes" in field else "exp"
        return f"{kind}/clock/unit"
    return "Hz" if field.endswith("_hz") else "s" if field.endswith("_s") else "B" if "bytes" in field else ""


def _chip(p: Prediction, used: frozenset[str]) -> Iterator[_Move]:
    """The numbers of the chip that the prediction reads and that are not 0."""
    for name, names in numbers_together():
        values = {field: getattr(p.hardware, field) for field in names if getattr(p.hardware, field)}
        if not values or not used & set(values):
            continue

        def change(factor: float, values: dict[str, float] = values) -> tuple[float, dict[str, Any]]:
            scaled = {
                field: value * factor if field.endswith(CONTINUOUS) else _whole(value, factor)
                for field, value in values.items()
            }
            return next(iter(scaled.values())), {"hardware": p.hardware.with_numbers(**scaled)}

        first = next(iter(values))
        yield _Move(name, "chip", _unit(first), float(values[first]), change, tuple(values))


def _whole(value: Any, factor: float) -> int:
    """A whole number times 2, or halved downwards. Raises InputError where nothing is left."""
    scaled = int(value * factor)
    if scaled < 1:
        raise InputError(f"half of {value} is no whole number")
    return scaled


def _made(q: Problem, **changes: Any) -> Problem:
    """The problem with some sizes changed, checked again. Raises InputError."""
    sizes = {one.name: getattr(q, one.name) for one in fields(Problem)} | changes
    if sizes["documents"] is not None:
        del sizes["shape"], sizes["kv_len"]
    elif len(sizes["shape"]) > 1:
        del sizes["kv_len"]
    return Problem.make(**sizes)


def _sized(p: Prediction, name: str, group: Group, *sizes: str, unit: str = "") -> _Move:
    """Sizes of the problem that move together."""

    def change(factor: float) -> tuple[float, dict[str, Any]]:
        scaled = {size: _whole(getattr(p.problem, size), factor) for size in sizes}
        variant = p.variant.settled(p.prepared) if group == "model" else p.variant
        return scaled[sizes[0]], {"problem": _made(p.problem, **scaled), "variant": variant}

    return _Move(name, group, unit, float(getattr(p.problem, sizes[0])), change)


def _problem(p: Prediction) -> Iterator[_Move]:
    """The numbers of the problem: those of its use, then those of the model."""
    q = p.problem
    yield _sized(p, "batch", "problem", "batch")
    yield from _tokens(p)
    if q.page_size is not None:
        yield _sized(p, "page_size", "problem", "page_size", unit="tokens")
    yield _sized(p, "heads with kv_heads", "model", "heads", "kv_heads")
    yield _sized(p, "heads", "model", "heads")
    yield _sized(p, "kv_heads", "model", "kv_heads")
    if q.v_dim == q.head_dim:
        yield _sized(p, "head_dim with v_dim", "model", "head_dim", "v_dim")
    yield _sized(p, "head_dim", "model", "head_dim")
    yield _sized(p, "v_dim", "model", "v_dim")


def _tokens(p: Prediction) -> Iterator[_Move]:
    """Lengths: of the documents, of each axis, or of queries and keys (one number where they are the same tokens)."""
    q = p.problem
    if q.documents is not None:

        def longer(factor: float, lengths: tuple[int, ...] = q.documents) -> tuple[float, dict[str, Any]]:
            scaled = tuple(_whole(length, factor) for length in lengths)
            return sum(scaled), {"problem": _made(q, documents=scaled)}

        yield _Move("documents (lengths)", "problem", "tokens", float(sum(q.documents)), longer)
        return
    together = q.kv_len == q.queries
    for axis, length in enumerate(q.shape):

        def change(factor: float, axis: int = axis, length: Any = length) -> tuple[float, dict[str, Any]]:
            scaled = _whole(length, factor)
            shape = (*q.shape[:axis], scaled, *q.shape[axis + 1 :])
            keys = math.prod(shape) if together else q.kv_len
            return scaled, {"problem": _made(q, shape=shape, kv_len=keys)}

        one = "seq with kv_len" if together else "seq"
        name = f"shape, axis {axis + 1}" if len(q.shape) > 1 else one
        yield _Move(name, "problem", "tokens", float(length), change)
    if not together:
        yield _sized(p, "kv_len", "problem", "kv_len", unit="tokens")


def _model(p: Prediction) -> Iterator[_Move]:
    """The variant's own parameters that are numbers; sides of a tuple one by one."""
    for name, value in p.variant.parameters().items():
        if isinstance(value, tuple):
            for axis, side in enumerate(value):
                if _is_number(side):
                    yield _parameter(p, f"{name}, axis {axis + 1}", name, side, axis)
        elif _is_number(value):
            yield _parameter(p, name, name, value, None)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _parameter(p: Prediction, label: str, name: str, value: float, axis: int | None) -> _Move:
    def change(factor: float) -> tuple[float, dict[str, Any]]:
        scaled = _whole(value, factor) if isinstance(value, int) else value * factor
        new: Any = scaled
        if axis is not None:
            sides = p.variant.parameters()[name]
            new = (*sides[:axis], scaled, *sides[axis + 1 :])
        # A form that sizes decide stays: they may fit another one by accident.
        return scaled, {"variant": replace(p.variant.settled(p.prepared), **{name: new})}  # type: ignore[type-var]

    return _Move(label, "model", "", float(value), change)


def _moved(p: Prediction, now: End, move: _Move) -> Moved:
    halved, doubled = (_tried(p, move, factor) for factor in FACTORS)
    here = replace(now, value=move.value)
    return Moved(move.name, move.group, move.unit, here, halved, doubled, fields=move.fields)


def _near(p: Prediction, move: _Move) -> tuple[End, End] | None:
    """The ends of the central difference, for numbers of the chip that are no whole ones."""
    if not move.fields or not all(name.endswith(CONTINUOUS) for name in move.fields):
        return None
    low, high = (_tried(p, move, factor) for factor in NEAR)
    return low, high


def _tried(p: Prediction, move: _Move, factor: float) -> End:
    try:
        value, changed = move.change(factor)
        return _end(p, p.evaluated(**changed), value, changed.get("hardware"))
    except InputError as error:
        return End(None, why=str(error))


def _end(p: Prediction, evaluation: Evaluation, value: float | None, chip: Hardware | None = None) -> End:
    """What an evaluation says. Where the schedule is lost, why: the reason of the kernel that runs it now."""
    chosen = evaluation.chosen
    floor = None if evaluation.tiles_s is None else float(evaluation.tiles_s)
    if chosen.time_s is not None:
        kernel = None if chosen.implementation is None else chosen.implementation.name
        return End(value, float(chosen.time_s), floor, kernel)
    now = p.chosen.implementation
    why = (
        now.refuses(evaluation.graph.main, chip or p.hardware, p.choice.tile) if now and p.time_s is not None else None
    )
    return End(value, None, floor, None, why or "no kernel with a known schedule runs it")


def _moves(one: Moved) -> bool:
    """Whether a number is worth a line: it moves a time, or no end of it can be had."""
    known = [one.relative(end, rung) for end in (one.halved, one.doubled) for rung in ("schedule", "tiles")]
    ratios = [ratio for ratio in known if ratio is not None]
    return not ratios or any(abs(ratio - 1) > MOVES for ratio in ratios)
