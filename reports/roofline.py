"""The hierarchical roofline of a chip as plain values: ceilings, memory levels, and where variants stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..simulator.bounds import floor, matrix_peak, native_dtype
from ..simulator.counts import counts
from ..simulator.hardware import BASE_DTYPE, BITS, Hardware
from ..simulator.prediction import Prediction, ratio
from ..simulator.problem import Problem
from ..simulator.variants import make
from .common import by_chip
from .words import amount, file_name

RUNGS = ("roofline", "tiles", "schedule", "measured")
"""The rungs that a point's trail passes; `flops` is the matrix ceiling itself."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """A horizontal line: matrix FLOP/s that no kernel exceeds. kind: matrix | other | exp | vector.

    `other` are the chip's further matrix dtypes. `label` is what the picture says beside the line, `basis` how
    the number comes about.
    """

    kind: str
    name: str
    flop_per_s: float
    label: str
    basis: str


@dataclass(frozen=True, slots=True)
class Slope:
    """A memory level: FLOP/s = intensity x bandwidth, with the intensity taken per byte of that level."""

    level: str
    bytes_per_s: float
    basis: str

    @property
    def label(self) -> str:
        return f"{self.level} {amount(self.bytes_per_s, 'B/s')}"


@dataclass(frozen=True, slots=True)
class Point:
    """A variant: useful FLOP per compulsory HBM byte, and useful FLOPs over the time at each rung it has.

    `l2_intensity`: the same FLOPs per byte that its tiles move between the L2 and the compute units, where the
    L2's bandwidth is known. `rank`: its place among all variants by intensity; neighbours get different colours.
    """

    label: str
    intensity: float
    l2_intensity: float | None
    rungs: dict[str, float]
    rank: int = 0

    @property
    def flop_per_s(self) -> float:
        """What is predicted: the `schedule` rung."""
        return self.rungs["schedule"]


@dataclass(frozen=True, slots=True)
class Roofline:
    """One chip with its predictions. `left_out`: (variant, why) of those that have no point."""

    stem: str
    hardware: Hardware
    predictions: tuple[Prediction, ...]
    ceilings: tuple[Ceiling, ...]
    slopes: tuple[Slope, ...]
    points: tuple[Point, ...]
    left_out: tuple[tuple[str, str], ...]

    @property
    def finding(self) -> str:
        """What the picture shows, in words: how much of their roofs the variants reach."""
        if not self.points:
            return "no variant can be drawn"
        shares = sorted(p.flop_per_s / p.rungs["roofline"] for p in self.points)
        if len(shares) == 1:
            return f"{self.points[0].label} reaches {shares[0]:.0%} of its roof"
        left = f" of {len(self.predictions)}" if self.left_out else ""
        return f"{len(shares)}{left} attention variants reach {shares[0]:.0%} to {shares[-1]:.0%} of their roofs"

    @property
    def peak_flop_per_s(self) -> float:
        """The matrix peak at the problem's dtype. The sheet must be drawable."""
        return next(c.flop_per_s for c in self.ceilings if c.kind == "matrix")

    @property
    def drawable(self) -> bool:
        """A picture needs a matrix peak and a bandwidth."""
        return any(c.kind == "matrix" for c in self.ceilings) and bool(self.slopes)


def rooflines(predictions: Sequence[Prediction]) -> list[Roofline]:
    """One roofline a chip, in the order of the predictions. Raises InputError for two chips of one name."""
    return [_roofline(group) for group in by_chip(predictions)]


def _roofline(group: Sequence[Prediction]) -> Roofline:
    """What is seen of one chip; a variant named twice counts once."""
    unique = tuple({(p.variant.id, repr(p.variant.parameters())): p for p in group}.values())
    hardware, problem = unique[0].hardware, unique[0].problem
    by_intensity = sorted(range(len(unique)), key=lambda i: _intensity(unique[i]))
    points, left_out = [], []
    for index, p in enumerate(unique):
        made = point(p)
        if isinstance(made, str):
            left_out.append((p.variant.id, made))
        else:
            points.append(replace(made, rank=by_intensity.index(index)))
    stem = file_name("roofline", hardware.name)
    return Roofline(
        stem, hardware, unique, tuple(_ceilings(hardware, problem)), tuple(_slopes(hardware)), tuple(points),
        tuple(left_out),
    )  # fmt: skip


def _intensity(p: Prediction) -> float:
    """Useful matrix FLOP per compulsory HBM byte."""
    return ratio(float(p.evaluation.useful.matrix_flops), float(p.evaluation.useful.hbm_bytes)) or 0.0


def point(p: Prediction) -> Point | str:
    """The point of a prediction, or why it has none."""
    useful = p.evaluation.useful
    flops = float(useful.matrix_flops)
    for missing, rung in (("no floor", "roofline"), ("no schedule", "schedule")):
        if p.rung_time(rung) is None:
            return next((w for w in p.warnings if w.startswith(missing)), f"{missing} on {p.hardware.name}")
    if _intensity(p) <= 0:
        return "no matrix work or no memory traffic: it has no place between them"
    reached = {rung: ratio(flops, p.rung_time(rung)) for rung in RUNGS}
    rungs = {rung: rate for rung, rate in reached.items() if rate is not None}
    on_chip = ratio(flops, float(p.chosen.counts.l2_bytes)) if p.hardware.l2_bandwidth_bytes_per_s else None
    return Point(p.variant.id, _intensity(p), on_chip, rungs)


def _kind(hardware: Hardware, *fields: str) -> str:
    """How the profile knows the numbers that a line rests on."""
    return ", ".join(dict.fromkeys(hardware.note(field)[0] for field in fields))


def _slopes(hardware: Hardware) -> list[Slope]:
    memory, shared = hardware.hbm_bandwidth_bytes_per_s, hardware.smem_bytes_per_clock_per_sm
    levels = [
        ("HBM" if hardware.kind in ("gpu", "tpu") else "DRAM", memory, ("hbm_bandwidth_bytes_per_s",)),
        ("L2", hardware.l2_bandwidth_bytes_per_s, ("l2_bandwidth_bytes_per_s",)),
        ("shared memory", shared and shared * hardware.sm_count * hardware.clock_max_hz,
         ("smem_bytes_per_clock_per_sm", "clock_max_hz")),
    ]  # fmt: skip
    return [Slope(level, rate, _kind(hardware, *fields)) for level, rate, fields in levels if rate is not None]


def _ceilings(hardware: Hardware, problem: Problem) -> list[Ceiling]:
    return [*_matrix_ceilings(hardware, problem), *_softmax_ceilings(hardware, problem)]


def _matrix_ceilings(hardware: Hardware, problem: Problem) -> list[Ceiling]:
    """The matrix peak at the problem's dtype, and those of the chip's other dtypes, equal ones together."""
    own = matrix_peak(hardware, problem.dtype)
    found = []
    if own is not None:
        label = f"{problem.dtype} matrix {amount(own, 'FLOP/s')}"
        native = native_dtype(hardware, problem.dtype)
        basis = _matrix_basis(hardware, native) + (f", computed as {native}" if native != problem.dtype else "")
        found.append(Ceiling("matrix", f"{problem.dtype} matrix", own, label, basis))
    others: dict[float, list[str]] = {}
    for dtype in BITS:
        peak = hardware.matrix_peak_flop_per_s(dtype)
        if peak and peak != own:
            others.setdefault(peak, []).append(dtype)
    for peak, dtypes in others.items():
        name = ", ".join(dtypes)
        label = f"{name} {amount(peak, 'FLOP/s')}"
        found.append(Ceiling("other", f"{name} matrix", peak, label, _matrix_basis(hardware, dtypes[0])))
    return found


def _matrix_basis(hardware: Hardware, dtype: str) -> str:
    rate = f"matrix_{BASE_DTYPE[dtype]}_flop_per_clock_per_sm"
    clock = f"{hardware.clock_max_hz / 1e9:.4g} GHz ({_kind(hardware, 'clock_max_hz')})"
    return f"{hardware.sm_count} units at {clock}, rate per clock ({_kind(hardware, rate)})"


def _softmax_ceilings(hardware: Hardware, problem: Problem) -> list[Ceiling]:
    """Matrix FLOP/s at which exps and vector work of dense softmax attention saturate their units."""
    mha = make("mha")
    work = counts(mha.graph(mha.prepare(problem)))
    bound = floor(work, hardware, problem.cache)
    if bound is None:
        return []
    flops = float(work.matrix_flops)
    width = f"{problem.head_dim}" + (f"/{problem.v_dim}" if problem.v_dim != problem.head_dim else "")
    shared = hardware.exp_on_vector and bound.units[2] is None
    vector, exp = ["vector_flop_per_clock_per_sm"], ["exp_per_clock_per_sm"]
    per_vector, per_exp = (f"{flops / float(n):,.4g} per {unit}" if n else "" for n, unit in (
        (work.vector, "vector FLOP"), (work.special, "exp")))  # fmt: skip
    if shared:
        named = [("vector", "vector and exp", bound.units[1], f"{per_vector} and {per_exp}", [*vector, *exp])]
    else:
        named = [("vector", "vector", bound.units[1], per_vector, vector), ("exp", "exp", bound.units[2], per_exp, exp)]
    found = []
    for kind, name, seconds, share, fields in named:
        if seconds is None or float(seconds) <= 0:
            continue
        rate = flops / float(seconds)
        label = f"{name} {amount(rate, 'FLOP/s')}\n(dense softmax, head_dim {width})"
        basis = (
            f"matrix FLOPs of dense softmax at head_dim {width}: {share}; rate per clock ({_kind(hardware, *fields)})"
        )
        found.append(Ceiling(kind, f"{name}, dense softmax", rate, label, basis))
    return found
