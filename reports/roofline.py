"""The hierarchical roofline: where variants stand between what a chip can do and what they will do.

`report` makes the files: a picture for each chip and one Markdown document. Here is what they show, as plain
values; `roofline_picture` draws it and `roofline_document` writes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..simulator.bounds import floor, matrix_peak
from ..simulator.counts import counts
from ..simulator.errors import InputError, unknown
from ..simulator.hardware import BITS, Hardware
from ..simulator.prediction import Prediction, ratio
from ..simulator.problem import Problem
from ..simulator.variants import make
from .pictures import PICTURE_FORMATS
from .words import amount

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

    `l2_intensity`: the same FLOPs per byte that its tiles move between the L2 and the compute units.
    """

    label: str
    intensity: float
    l2_intensity: float | None
    rungs: dict[str, float]

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
    def drawable(self) -> bool:
        """A picture needs a matrix peak and a bandwidth."""
        return any(c.kind == "matrix" for c in self.ceilings) and bool(self.slopes)


def report(
    predictions: Sequence[Prediction], *, formats: Sequence[str] = ("svg", "png"), command: str | None = None
) -> dict[str, bytes]:
    """Files by name: `roofline-<chip>.<format>` for each chip, and `roofline.md`.

    command: what reproduces it, as the document will say. The same predictions give the same bytes.
    Raises InputError for an unknown format, or two chips of one name.
    """
    for form in formats:
        if form not in PICTURE_FORMATS:
            raise unknown("picture format", form, PICTURE_FORMATS)
    if not formats or not predictions:
        raise InputError("nothing to report: give at least one variant, one chip and one picture format")
    from .pictures import encode, style
    from .roofline_document import document
    from .roofline_picture import draw

    files = {}
    sheets = rooflines(predictions)
    for sheet in sheets:
        if sheet.drawable:
            with style():
                figure = draw(sheet)
                for form in dict.fromkeys(formats):
                    files[f"{sheet.stem}.{form}"] = encode(figure, form)
    files["roofline.md"] = document(sheets, tuple(files), command).encode()
    return files


def rooflines(predictions: Sequence[Prediction]) -> list[Roofline]:
    """One roofline a chip, in the order of the predictions. Raises InputError for two chips of one name."""
    groups: dict[int, list[Prediction]] = {}
    for p in predictions:
        groups.setdefault(id(p.hardware), []).append(p)
    sheets: dict[str, Roofline] = {}
    for group in groups.values():
        sheet = _roofline(group)
        if sheet.stem in sheets:
            raise InputError(f"two chips are called {sheet.hardware.name!r}: give the profiles different names")
        sheets[sheet.stem] = sheet
    return list(sheets.values())


def _roofline(group: Sequence[Prediction]) -> Roofline:
    """What is seen of one chip; a variant named twice counts once."""
    unique = tuple({(p.variant.id, repr(p.variant.parameters())): p for p in group}.values())
    hardware, problem = unique[0].hardware, unique[0].problem
    points, left_out = [], []
    for p in unique:
        made = point(p)
        if isinstance(made, str):
            left_out.append((p.variant.id, made))
        else:
            points.append(made)
    stem = "roofline-" + (re.sub(r"[^a-z0-9._]+", "-", hardware.name.lower()).strip("-.") or "chip")
    return Roofline(
        stem, hardware, unique, tuple(_ceilings(hardware, problem)), tuple(_slopes(hardware)), tuple(points),
        tuple(left_out),
    )  # fmt: skip


def point(p: Prediction) -> Point | str:
    """The point of a prediction, or why it has none."""
    useful = p.evaluation.useful
    flops, moved = float(useful.matrix_flops), float(useful.hbm_bytes)
    for missing, rung in (("no floor", "roofline"), ("no schedule", "schedule")):
        if p.rung_time(rung) is None:
            return next((w for w in p.warnings if w.startswith(missing)), f"{missing} on {p.hardware.name}")
    if flops <= 0 or moved <= 0:
        return "no matrix work or no memory traffic: it has no place between them"
    reached = {rung: ratio(flops, p.rung_time(rung)) for rung in RUNGS}
    rungs = {rung: rate for rung, rate in reached.items() if rate is not None}
    return Point(p.variant.id, flops / moved, ratio(flops, float(p.chosen.counts.l2_bytes)), rungs)


def _kind(hardware: Hardware, *fields: str) -> str:
    """How the profile knows the numbers that a line rests on."""
    return ", ".join(dict.fromkeys(hardware.note(field)[0] for field in fields))


def _slopes(hardware: Hardware) -> list[Slope]:
    levels = (("HBM" if hardware.kind in ("gpu", "tpu") else "DRAM", "hbm_bandwidth_bytes_per_s"),
              ("L2", "l2_bandwidth_bytes_per_s"))  # fmt: skip
    found = ((level, field, getattr(hardware, field)) for level, field in levels)
    return [Slope(level, rate, _kind(hardware, field)) for level, field, rate in found if rate is not None]


def _ceilings(hardware: Hardware, problem: Problem) -> list[Ceiling]:
    return [*_matrix_ceilings(hardware, problem), *_softmax_ceilings(hardware, problem)]


def _matrix_ceilings(hardware: Hardware, problem: Problem) -> list[Ceiling]:
    """The matrix peak at the problem's dtype, and those of the chip's other dtypes, equal ones together."""
    own = matrix_peak(hardware, problem.dtype)
    found = []
    if own is not None:
        found.append(Ceiling("matrix", f"{problem.dtype} matrix", own, f"{problem.dtype} matrix {amount(own, 'FLOP/s')}",
                             "units x highest clock x rate"))  # fmt: skip
    others: dict[float, list[str]] = {}
    for dtype in BITS:
        peak = hardware.matrix_peak_flop_per_s(dtype)
        if peak and peak != own:
            others.setdefault(peak, []).append(dtype)
    for peak, dtypes in others.items():
        name = ", ".join(dtypes)
        label = f"{name} {amount(peak, 'FLOP/s')}"
        found.append(Ceiling("other", f"{name} matrix", peak, label, "units x highest clock x rate"))
    return found


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
    named = (
        ("vector", "vector and exp" if shared else "vector", bound.units[1], work.vector),
        ("exp", "exp", bound.units[2], work.special),
    )
    found = []
    for kind, name, seconds, done in named:
        if seconds is None or float(seconds) <= 0:
            continue
        rate = flops / float(seconds)
        label = f"{name} {amount(rate, 'FLOP/s')}\n(dense softmax, head_dim {width})"
        unit = "exp" if kind == "exp" else "vector FLOP"
        basis = f"dense softmax at head_dim {width} has {flops / float(done):,.4g} matrix FLOP per {unit}"
        found.append(Ceiling(kind, f"{name}, dense softmax", rate, label, basis))
    return found
