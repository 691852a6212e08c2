"""Predictions against measured latencies: does any beat a floor, and how far off is `schedule`.

`check` puts beside every row of a table (see `silicon`) what `predict` says of its problem: `roofline`, `tiles` (the
least over the legal tiles of the known kernels, cache warm, as the tables were measured) and the predicted latency:
`schedule` of the kernel that ran plus what the framework adds around it, with the range in which it is expected. A
table says what ran in its own words (`silicon.kernels`); where those name no kernel that is known, the fastest one
stands for it.

Rows of one chip are evaluated together, each distinct problem once, in groups of like structure: every expression of
the simulator then runs on arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..simulator import implementations
from ..simulator.api import load_hardware
from ..simulator.calibration import ZERO_SHOT, interval, widening
from ..simulator.calibration import load as load_constants
from ..simulator.hardware import Hardware
from ..simulator.predict import Candidate, Choice, evaluate
from .rows import Kind, asked, first_that_accepts, groups, kernel_time, kind_of, moved, overhead_of, problems
from .silicon import Floats, Table
from .silicon.kernels import kernels_of

Kernels = tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Rungs:
    """Seconds of each problem, NaN where there is no such number. schedule: for each choice of kernels, without
    launches; implementation: the kernel it comes from, an index into `names`."""

    roofline: Floats
    tiles: Floats
    schedule: dict[Kernels, Floats]
    implementation: dict[Kernels, NDArray[np.int64]]
    names: list[str]


@dataclass(frozen=True, slots=True)
class Checked:
    """A table and what is predicted for each of its rows (seconds, NaN where nothing is)."""

    table: Table
    roofline_s: Floats
    tiles_s: Floats
    predicted_s: Floats
    implementation: NDArray[np.object_]
    """The kernel whose schedule is predicted, None where no known kernel takes the problem."""
    schedule_s: Floats
    """The kernel's part of the prediction, without its launch."""
    low_s: Floats
    high_s: Floats
    """Range that is expected to hold nine of ten measured latencies."""


def rungs(rows: Floats, hardware: Hardware, kind: Kind, kernels: Mapping[Kernels, NDArray[np.bool_]]) -> Rungs:
    """The rungs of distinct problems (rows of COLUMNS) on one chip; kernels: each choice, and the rows it is for."""
    size = len(rows)
    result = Rungs(
        np.full(size, np.nan), np.full(size, np.nan), {k: np.full(size, np.nan) for k in kernels},
        {k: np.full(size, -1, dtype=np.int64) for k in kernels}, [],
    )  # fmt: skip
    names = dict.fromkeys(name for allowed in kernels for name in allowed or ())
    for members in groups(rows, hardware, names):
        found = asked(rows[members], kind)
        if found is None:
            continue
        left = _settle_named(result, rows, members, hardware, kind, kernels)
        evaluation = evaluate(*found, hardware, Choice(floors_only=not left))
        if evaluation.roofline is not None:
            result.roofline[members] = evaluation.roofline.time_s
        timed = [c for c in evaluation.candidates if c.implementation is not None]
        if timed and evaluation.tiles_s is not None:
            result.tiles[members] = np.fmin(result.tiles[members], evaluation.tiles_s)
        for allowed in left:
            _settle(result, members, allowed, timed)
    return result


def _settle_named(
    result: Rungs, rows: Floats, members: NDArray[np.int64], hardware: Hardware, kind: Kind,
    kernels: Mapping[Kernels, NDArray[np.bool_]],
) -> list[Kernels]:  # fmt: skip
    """One group's rows by the kernels that are said to have run; returns the choices that none of them takes."""
    left = []
    for allowed, wanted in kernels.items():
        some = members[wanted[members]]
        found = asked(rows[some], kind) if len(some) else None
        if found is None:
            continue
        named = first_that_accepts(*found, hardware, allowed) if allowed else None
        if named is None:
            left.append(allowed)
            continue
        _settle(result, some, allowed, named[1].candidates)
        if named[1].tiles_s is not None:
            # The kernel that ran may have tiles that no kernel offered in general has.
            result.tiles[some] = np.fmin(result.tiles[some], named[1].tiles_s)
    return left


def _settle(result: Rungs, members: NDArray[np.int64], allowed: Kernels, timed: Sequence[Candidate]) -> None:
    """The fastest of some candidates."""
    for candidate in (c for c in timed if c.time_s is not None):
        assert candidate.implementation is not None
        name = candidate.implementation.name
        if name not in result.names:
            result.names.append(name)
        seconds = np.broadcast_to(kernel_time(candidate), members.shape)
        best = result.schedule[allowed][members]
        faster = ~(best <= seconds)
        result.schedule[allowed][members] = np.where(faster, seconds, best)
        held = result.implementation[allowed][members]
        result.implementation[allowed][members] = np.where(faster, result.names.index(name), held)


def check(measured: Iterable[Table]) -> Iterator[Checked]:
    """Every table with its predictions, in the order given; tables of one chip that follow each other together."""
    for chip, group in itertools.groupby(measured, key=lambda table: table.chip):
        yield from check_chip(load_hardware(chip), list(group))


def check_chip(hardware: Hardware, group: list[Table]) -> list[Checked]:
    """The tables of one chip: those with the same types are evaluated as one."""
    alike: dict[Kind, list[int]] = {}
    for index, table in enumerate(group):
        alike.setdefault(kind_of(table), []).append(index)
    checked: dict[int, Checked] = {}
    for kind, indices in alike.items():
        rows = np.concatenate([problems(group[index]) for index in indices])
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        parts = np.split(inverse.reshape(-1), np.cumsum([len(group[index]) for index in indices])[:-1])
        kernels: dict[Kernels, NDArray[np.bool_]] = {}
        for index, part in zip(indices, parts, strict=True):
            kernels.setdefault(kernels_of(group[index]), np.zeros(len(distinct), dtype=np.bool_))[part] = True
        found = rungs(distinct, hardware, kind, kernels)
        names = np.array([*found.names, None], dtype=object)
        for index, part in zip(indices, parts, strict=True):
            table, allowed = group[index], kernels_of(group[index])
            kernel = found.schedule[allowed][part]
            checked[index] = _call(
                hardware, table, found.roofline[part], found.tiles[part], kernel,
                names[found.implementation[allowed][part]],
            )  # fmt: skip
    return [checked[index] for index in range(len(group))]


def _call(
    hardware: Hardware, table: Table, roofline: Floats, tiles: Floats, kernel: Floats, names: NDArray[np.object_]
) -> Checked:  # fmt: skip
    """A kernel's time as a framework's call: what surrounds it, and the range around both."""
    predicted, low, high = kernel.copy(), kernel.copy(), kernel.copy()
    around = moved(table)
    for name in {name for name in names if name is not None}:
        rows = names == name
        overhead = overhead_of(table, hardware.generation, name)
        if overhead is not None:
            some = around.of(rows)
            predicted[rows] += overhead.seconds(some.queries, some.new_kv, some.tokens, hardware)
        own = implementations.get(name).calibration or name
        constants = load_constants(own, hardware.generation, "forward", table.dtype, table.kv_dtype)
        known = overhead is not None and overhead.exact
        regions = (overhead.intervals if overhead else ()) or (constants.intervals if constants else ())
        wider = max(widening(constants, hardware.name), 1.0 if known else ZERO_SHOT)
        low[rows], high[rows] = interval(regions, predicted[rows], wider)
    return Checked(table, roofline, tiles, predicted, names, kernel, np.maximum(low, tiles), high)
