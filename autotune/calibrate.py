"""Fits the constants of the `schedule` rung to measured latencies.

A fit is of one calibration file: the constants of an implementation on a generation that have bounds there, together
with the overheads of every framework whose rows that kernel ran. It sees rows of the calibration split alone, and
minimises the soft-L1 loss of log(predicted / measured) by scipy's trust-region least squares, with a weak pull of every
scalar towards the value it starts from, so that one that latency cannot tell stays there and a refit ends where the
last one did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulator import implementations
from ..simulator.algebra import Number
from ..simulator.api import load_hardware
from ..simulator.calibration import FOLDER, Constants, Fitted, document, path_of, read, suffix_of
from ..simulator.calibration.overhead import BOUNDS, SCALARS, Overhead
from ..simulator.errors import InputError, unknown
from ..simulator.hardware import Hardware
from ..simulator.predict import Candidate, way_of
from ..simulator.schedule.dsa import together
from ..simulator.schedule.part import schedule_part
from ..simulator.tiling import Tile, TiledPart, stack
from .rows import Moved, asked, first_that_accepts, groups, kind_of, moved, problems, summary
from .silicon import CHIPS, FITTED_CHIPS, Floats, Table, tables
from .silicon.kernels import kernels_of
from .silicon.table import FITTED_TABLES

MOST_ROWS = 4000
"""Rows of one table that a fit looks at: more change no constant."""
PULL = 0.05
"""Weight of a scalar's distance from its start, in multiples of it, against log errors of rows."""
LEAST_UNIT = 0.02
"""Of a scalar's range, where its start is nearer to zero than that."""
FEW_ROWS = 8
"""Rows of a table below which its overhead starts at the mean of those that the kernel's other tables have."""
SOFT = 0.1
"""Relative error from which on a row counts linearly."""

OverheadKey = tuple[str, str, str, str, str, str]
"""Framework, version, generation, operation, implementation, suffix of the types."""


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Rows of one table that a kernel runs in the same way, its tiled parts as arrays: one list a tile it may choose.

    rows: into the table. choices: for each tile, the parts of the operator with how the mask is evaluated.
    """

    rows: NDArray[np.int64]
    choices: tuple[tuple[tuple[TiledPart, str, str], ...], ...]
    tiles: tuple[Tile, ...]

    def seconds(self, hardware: Hardware, constants: Constants) -> Floats:
        """The kernel's schedule of each row, by the fastest tile."""
        best: Floats | None = None
        for parts, tile in zip(self.choices, self.tiles, strict=True):
            times = []
            for tiled, style, masked in parts:
                timed = schedule_part(tiled, style, hardware, constants, "warm", masked, tile)
                assert timed is not None
                times.append((style, timed[0]))
            total: Number = together(times)
            values: Floats = np.broadcast_to(np.asarray(total, np.float64), self.rows.shape)
            best = values if best is None else np.minimum(best, values)
        assert best is not None
        found: Floats = best
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Rows of one table that one kernel ran: what is measured, what predicts it."""

    table: Table
    hardware: Hardware
    key: OverheadKey
    stacks: tuple[Stack, ...]
    rows: NDArray[np.int64]
    """Rows of the table in the order of the stacks."""
    around: Moved
    latency_s: Floats
    weight: Floats | float = 1.0
    """Of each row in a fit."""

    def kernel_s(self, constants: Constants) -> Floats:
        return np.concatenate([one.seconds(self.hardware, constants) for one in self.stacks])

    def seconds(self, constants: Constants, overhead: Overhead) -> Floats:
        """Predicted latency of each row."""
        around = overhead.seconds(self.around.queries, self.around.new_kv, self.around.tokens, self.hardware)
        total: Floats = self.kernel_s(constants) + np.asarray(around)
        return total


def sample(
    table: Table, name: str, hardware: Hardware, chosen: NDArray[np.bool_], kernels: tuple[str, ...] | None = None
) -> Sample | None:  # fmt: skip
    """The chosen rows of a table that the named implementation ran, or None where there are none.

    kernels: those that may have run, in the order of choice; by default what the table's kernel source stands for.
    """
    indices = np.flatnonzero(chosen)
    if len(indices) > MOST_ROWS:
        indices = indices[np.sort(np.argsort(table.key[indices], kind="stable")[:MOST_ROWS])]
    rows, kernels = problems(table)[indices], kernels or kernels_of(table)
    if not kernels or not len(indices):
        return None
    made: dict[Any, list[tuple[NDArray[np.int64], list[Candidate]]]] = {}
    for members in groups(rows, hardware, kernels):
        found = asked(rows[members], kind_of(table))
        ran = first_that_accepts(*found, hardware, kernels) if found else None
        if ran is None or ran[0] != name:
            continue
        candidates = [c for c in ran[1].candidates if c.time_s is not None]
        kernel = candidates[0].implementation
        assert kernel is not None
        ways = tuple(tuple((*way_of(kernel, t), len(t.tile.query)) for t in c.parts) for c in candidates)
        made.setdefault(ways, []).append((members, candidates))
    stacks = [_stack(parts, indices) for parts in made.values()]
    if not stacks:
        return None
    order = np.concatenate([one.rows for one in stacks])
    key = (table.framework, table.version, hardware.generation, table.operation, name,
           suffix_of(table.dtype, table.kv_dtype))  # fmt: skip
    return Sample(table, hardware, key, tuple(stacks), order, moved(table).of(order), table.latency_s[order])


def _stack(groups_of: Sequence[tuple[NDArray[np.int64], list[Candidate]]], indices: NDArray[np.int64]) -> Stack:
    """Groups with the same styles and masks as one."""
    sizes = [len(members) for members, _ in groups_of]
    first = groups_of[0][1]
    kernel = first[0].implementation
    assert kernel is not None
    choices = []
    for number, candidate in enumerate(first):
        parts = []
        for index, tiled in enumerate(candidate.parts):
            joined = stack([candidates[number].parts[index] for _, candidates in groups_of], sizes)
            parts.append((joined, *way_of(kernel, tiled)))
        choices.append(tuple(parts))
    rows = indices[np.concatenate([members for members, _ in groups_of])]
    return Stack(rows, tuple(choices), tuple(c.tile for c in first))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """What a fit found: the constants of a file, and the overheads around its kernel."""

    path: Path
    constants: Constants
    fitted: tuple[Fitted, ...]
    overheads: Mapping[OverheadKey, Overhead]
    samples: tuple[Sample, ...]

    def ratios(self, one: Sample) -> Floats:
        """Measured over predicted latency of a sample's rows."""
        return one.latency_s / one.seconds(self.constants, self.overheads[one.key])


def fit(path: Path, samples: Sequence[Sample], *, held: Iterable[str] = (), pull: float = PULL) -> Fit:
    """Fit a file's constants and its overheads to samples of calibration rows.

    held: framework versions (`vllm-0.22.0`) whose rows only fit their own overheads, after the constants.
    """
    constants, fitted = read(path)
    apart = set(held)
    main = [one for one in samples if f"{one.key[0]}-{one.key[1]}" not in apart]
    if not main:
        raise InputError(f"{path.parent.name}/{path.name}: no calibration rows to fit")
    constants, overheads = solve(constants, fitted, main, pull)
    rows = {key: sum(len(one.rows) for one in main if one.key == key) for key in overheads}
    known = [overheads[key] for key in overheads if rows[key] >= FEW_ROWS]
    usual = {n: sum(getattr(o, n) for o in known) / len(known) for n in SCALARS} if known else {}
    for key in dict.fromkeys(one.key for one in samples):
        if key not in overheads or (usual and rows[key] < FEW_ROWS):
            overheads |= solve(constants, (), [one for one in samples if one.key == key], pull, usual)[1]
    return Fit(path, constants, fitted, overheads, tuple(samples))


FOLDS = 5
MANY_ROWS = 3000
"""Rows of which a fit's own residuals tell what new rows will show."""


def unseen_ratios(found: Fit) -> tuple[Floats, ...]:
    """Measured over predicted latency of every sample's rows, by a fit that has not seen them: FOLDS fits, each without
    a part of the rows. Of MANY_ROWS and more the fit itself does."""
    if sum(len(one.rows) for one in found.samples) >= MANY_ROWS:
        return tuple(found.ratios(one) for one in found.samples)
    ratios = [np.empty(len(one.rows)) for one in found.samples]
    for number in range(FOLDS):
        apart = [np.arange(len(one.rows)) % FOLDS == number for one in found.samples]
        seen = [replace(one, weight=(~out).astype(np.float64)) for one, out in zip(found.samples, apart, strict=True)]
        without = fit(found.path, seen, held=held(found.path))
        for own, one, out in zip(ratios, seen, apart, strict=True):
            own[out] = without.ratios(one)[out]
    return tuple(ratios)


def solve(
    constants: Constants, fitted: Sequence[Fitted], samples: Sequence[Sample], pull: float,
    usual: Mapping[str, float] = MappingProxyType({}),
) -> tuple[Constants, dict[OverheadKey, Overhead]]:  # fmt: skip
    """Least squares over the fitted constants and every overhead of the samples; overheads start at what is usual."""
    from scipy.optimize import least_squares

    keys = list(dict.fromkeys(one.key for one in samples))
    bounds = [replace(BOUNDS[name], start=usual.get(name, BOUNDS[name].start)) for name in SCALARS]
    scalars = [*fitted, *bounds * len(keys)]
    start, low, high = (np.array([getattr(s, name) for s in scalars]) for name in ("start", "low", "high"))
    unit = np.maximum(np.abs(start), LEAST_UNIT * (high - low))
    log_measured = [np.log(one.latency_s) for one in samples]

    def spread(x: Floats) -> tuple[Constants, dict[OverheadKey, Overhead]]:
        values = np.clip(start + x * unit, low, high)
        found: dict[str, Any] = {s.name: float(v) for s, v in zip(fitted, values, strict=False)}
        rest = values[len(fitted) :].reshape(len(keys), len(SCALARS)).tolist()
        return replace(constants, **found), {key: Overhead(*row) for key, row in zip(keys, rest, strict=True)}

    def residuals(x: Floats) -> Floats:
        own, overheads = spread(x)
        errors = [
            one.weight * (np.log(one.seconds(own, overheads[one.key])) - log)
            for one, log in zip(samples, log_measured, strict=True)
        ]
        return np.concatenate([*errors, pull * x])

    found = least_squares(residuals, np.clip(0.0, (low - start) / unit + 1e-3, (high - start) / unit - 1e-3),
                          bounds=((low - start) / unit, (high - start) / unit), loss="soft_l1", f_scale=SOFT,
                          x_scale="jac", diff_step=1e-4, max_nfev=200)  # fmt: skip
    return spread(found.x)


@dataclass(frozen=True, slots=True)
class Job:
    """A calibration file that has something to fit, and the implementation it is of."""

    path: Path
    implementation: str
    generation: str


def jobs(chips: Iterable[str] | None = None, names: Iterable[str] | None = None) -> list[tuple[str, Job]]:
    """The files with constants to fit of the chips' generations, each with its chip; by default of all chips that may
    be fitted."""
    found = []
    for chip in chips or (*FITTED_CHIPS, *FITTED_TABLES):
        chip = CHIPS.get(chip, chip)
        if chip not in (*FITTED_CHIPS, *FITTED_TABLES):
            raise unknown("chip with calibration rows", chip, (*FITTED_CHIPS, *FITTED_TABLES))
        generation = load_hardware(chip).generation
        stems = [generation, *(f"{generation}-{suffix}" for suffix in ("fp8", "fp8kv"))]
        for name in [implementations.get(name).name for name in names] if names else implementations.names():
            paths = (FOLDER / name / f"{stem}.toml" for stem in stems)
            found += [(chip, Job(path, name, generation)) for path in paths if path.exists() and read(path)[1]]
    return found


def samples_of(
    chip: str, job: Job, *, split: str = "calibration", measured: Sequence[Table] | None = None
) -> list[Sample]:
    """The rows of one split that a job's kernel, or one that shares its constants, ran on a chip, table by table."""
    hardware = load_hardware(chip)
    found = []
    for table in measured if measured is not None else tables([chip]):
        if path_of(job.path.parent.name, job.generation, "forward", table.dtype, table.kv_dtype) != job.path:
            continue
        for name in kernels_of(table) or ():
            if job.implementation in (name, implementations.get(name).calibration):
                one = sample(table, name, hardware, table.rows(split))
                found += [] if one is None else [one]
    return found


def held(path: Path) -> tuple[str, ...]:
    """Framework versions that a file says to fit overheads alone of (`overhead_only`)."""
    return tuple(document(path).get("overhead_only", ()))


def errors(ratios: Floats) -> tuple[float, float, float]:
    """Mean, median and 90th percentile of the relative error in percent, from measured over predicted."""
    return summary(100 * np.abs(1 / ratios - 1))
