"""The same rungs over arrays: millions of points in one pass per kernel, equal to `predict` point by point.

Points are grouped where the discrete structure changes (chip, head_dim, heads per kv head, one or few queries);
inside a group every expression of the simulator runs on float64 arrays. Arrays are taken in blocks that stay in
the processor's caches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import variants
from .algebra import Number
from .api import load_hardware, make_choice, predict_one, split_arguments
from .bounds import UNITS, Bound
from .calibration import confidence, expected
from .errors import InputError
from .hardware import Hardware
from .implementations import FEW_QUERIES
from .predict import Candidate, Choice, Evaluation, evaluate
from .prediction import Prediction, plain
from .problem import Problem
from .variants import Variant

BLOCK = 16384
"""Points evaluated at a time: some 100 arrays of this length fit a level-2 cache between them."""
ARRAY_NAMES = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "v_dim")
NUMBERS = (
    "pairs", "tiles.visited", "tiles.full", "tiles.partial", "tiles.skipped",
    "flops.matrix", "flops.vector", "flops.special", "bytes.hbm", "bytes.l2",
    "tiled.flops.matrix", "tiled.bytes.hbm", "tiled.bytes.l2", "cache_bytes", "arithmetic_intensity",
    "ladder.flops.time_s", "ladder.flops.speedup", "ladder.roofline.time_s", "ladder.roofline.speedup",
    "ladder.tiles.time_s", "ladder.tiles.speedup", "ladder.schedule.time_s", "ladder.schedule.speedup",
    "ladder.schedule.low_s", "ladder.schedule.high_s", "speedup_bound",
)  # fmt: skip
TEXTS = ("implementation", "ladder.roofline.limited_by", "ladder.tiles.limited_by", "limited_by", "confidence")

Columns = dict[str, NDArray[Any]]


def sweep(
    variant: str,
    hardware: str | Path | Hardware | Iterable[str | Path | Hardware] = "b200",
    *,
    baseline: str = "mha",
    **arguments: Any,
) -> Columns:
    """All rungs of one variant over arrays of sizes and one or more chips.

    Sizes (batch, heads, kv_heads, seq, kv_len, head_dim, v_dim) may be arrays that broadcast against each
    other; everything else is as for `predict`. Returns columns of equal length named by JSON paths joined by
    dots, inputs beside outputs: the points in order, chip after chip. Unavailable numbers are NaN and texts None.
    Raises InputError as `predict` does.

    >>> columns = sweep("mha", hardware="b200", seq=np.array([1024, 2048]), heads=32, head_dim=128)
    >>> columns["ladder.schedule.time_s"].shape
    (2,)
    """
    chips = [hardware] if isinstance(hardware, (str, Path, Hardware)) else list(hardware)
    made, sizes, choices = split_arguments(variant, arguments)
    loaded = [load_hardware(chip) for chip in chips]
    if any(np.ndim(side) > 0 for side in sizes.get("shape") or ()):
        raise InputError("shape takes whole numbers; sweep token layouts one at a time")
    inputs = _broadcast(sizes)
    problem = Problem.make(**{**sizes, **inputs})
    axes = len(problem.shape)
    choice = make_choice(axes, choices)
    points = max((len(a) for a in inputs.values()), default=1)
    columns: Columns = {}
    for index, chip in enumerate(loaded):
        for rows, group in _groups(problem, inputs, points):
            values = _evaluate(made, group, chip, choice, baseline, len(rows))
            for name, value in values.items():
                if name not in columns:
                    kind: Any = object if name in TEXTS else np.float64
                    columns[name] = np.empty(points * len(loaded), dtype=kind)
                columns[name][index * points + rows] = value
    return _inputs(made, problem, inputs, loaded, points) | columns


def _broadcast(sizes: dict[str, Any]) -> dict[str, NDArray[np.float64]]:
    """The sizes given as arrays, flattened to one length."""
    arrays = {
        name: np.asarray(sizes[name], dtype=np.float64)
        for name in ARRAY_NAMES
        if sizes.get(name) is not None and np.ndim(sizes[name]) > 0
    }
    if not arrays:
        return {}
    try:
        together = np.broadcast_arrays(*arrays.values())
    except ValueError:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arrays.items())
        raise InputError(f"arrays do not broadcast: {shapes}") from None
    return {name: np.ravel(a) for name, a in zip(arrays, together, strict=True)}


def _inputs(
    variant: Variant, problem: Problem, inputs: dict[str, NDArray[np.float64]], chips: list[Hardware], points: int
) -> Columns:
    """The question beside the answers; constant columns take no memory."""
    total = points * len(chips)
    columns: Columns = {
        "variant": np.broadcast_to(np.asarray(variant.id, dtype=object), (total,)),
        "hardware": np.repeat(np.asarray([c.name for c in chips], dtype=object), points),
    }
    for name, value in problem.to_dict().items():
        if name in ("shape", "documents"):
            if len(problem.shape) > 1 or problem.documents is not None:
                columns[f"problem.{name}"] = np.broadcast_to(np.asarray(str(plain(value)), dtype=object), (total,))
            continue
        if isinstance(value, np.ndarray):
            columns[f"problem.{name}"] = value if len(chips) == 1 else np.tile(value, len(chips))
        else:
            constant = np.nan if value is None else value
            kind: Any = object if isinstance(value, str) else None
            columns[f"problem.{name}"] = np.broadcast_to(np.asarray(constant, dtype=kind), (total,))
    return columns


def _groups(
    problem: Problem, inputs: dict[str, NDArray[np.float64]], points: int
) -> Iterator[tuple[NDArray[np.int64], Problem]]:
    """Blocks of points with the same discrete structure, each as a problem of arrays."""
    if not inputs:
        yield np.arange(1), problem
        return
    queries = np.broadcast_to(np.asarray(problem.queries), (points,))
    # Decode kernels choose tiles by the number of queries.
    code = np.minimum(queries, FEW_QUERIES + 1).astype(np.uint16)
    for value in (problem.group, problem.head_dim, problem.v_dim):
        if isinstance(value, np.ndarray):
            _, inverse = np.unique(value, return_inverse=True)
            _, code = np.unique(code * (int(inverse.max()) + 1) + inverse, return_inverse=True)
    if bool((code == code[0]).all()):
        members: list[NDArray[np.int64]] = [np.arange(points)]
    else:
        # Radix sort: numpy's stable sort of 16-bit integers.
        order = np.argsort(code.astype(np.uint16), kind="stable")
        members = np.split(order, np.flatnonzero(np.diff(code[order])) + 1)
    for rows in members:
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            yield block, _take(problem, block, points)


def _take(problem: Problem, rows: NDArray[np.int64], points: int) -> Problem:
    """The problem of some points. Fields that decide structure become plain ints."""

    def pick(value: Number, *, scalar: bool = False) -> Number:
        if not isinstance(value, np.ndarray):
            return value
        taken = value[rows]
        return int(taken[0]) if scalar and bool((taken == taken[0]).all()) else taken

    return problem.with_(
        batch=pick(problem.batch), heads=pick(problem.heads), kv_heads=pick(problem.kv_heads),
        shape=tuple(pick(n) for n in problem.shape), kv_len=pick(problem.kv_len),
        head_dim=pick(problem.head_dim, scalar=True), v_dim=pick(problem.v_dim, scalar=True),
    )  # fmt: skip


def _evaluate(
    variant: Variant, problem: Problem, chip: Hardware, choice: Choice, baseline: str, count: int
) -> dict[str, Any]:
    """Columns of one block."""
    arrays = any(isinstance(v, np.ndarray) for v in (problem.batch, problem.heads, problem.kv_heads, *problem.shape,
                                                     problem.kv_len))  # fmt: skip
    if not variant.vectorised and arrays:
        return _point_by_point(variant, problem, chip, choice, baseline, count)
    prepared = variant.prepare(problem)
    one_token = np.all(np.asarray(problem.queries) == 1)
    if arrays and one_token:
        prepared = prepared.with_(shape=(1,))
        problem = problem.with_(shape=(1,))
    evaluation = evaluate(variant, prepared, chip, choice)
    base_variant = variants.make(baseline)
    base_problem = base_variant.prepare(variant.baseline(problem).with_(causal=prepared.causal))
    plain = Choice(layer=choice.layer, framework=choice.framework)
    if base_variant == variant and choice == plain:
        base = evaluation
    else:
        base = evaluate(base_variant, base_problem, chip, plain)
    return _columns(variant, chip, evaluation, base)


def _point_by_point(
    variant: Variant, problem: Problem, chip: Hardware, choice: Choice, baseline: str, count: int
) -> dict[str, Any]:
    """Variants whose masks are counted by enumeration: each distinct problem once."""
    names = ("batch", "heads", "kv_heads", "kv_len")
    values = [getattr(problem, n) for n in names] + list(problem.shape)
    table = np.stack([np.broadcast_to(np.asarray(v, dtype=np.float64), (count,)) for v in values])
    distinct, inverse = np.unique(table, axis=1, return_inverse=True)
    memo: dict[Any, Evaluation] = {}
    rows: list[dict[str, Any]] = []
    for column in distinct.T:
        sizes = [int(x) for x in column]
        one = problem.with_(batch=sizes[0], heads=sizes[1], kv_heads=sizes[2], kv_len=sizes[3], shape=tuple(sizes[4:]))
        prediction = predict_one(variant, one, chip, choice, baseline=baseline, memo=memo)
        rows.append(_columns(variant, chip, prediction.evaluation, _baseline(prediction)))
    return {name: np.asarray([row[name] for row in rows], dtype=object if name in TEXTS else np.float64)[inverse]
            for name in rows[0]}  # fmt: skip


def _baseline(prediction: Prediction) -> Evaluation:
    assert prediction.baseline is not None
    return prediction.baseline


def _select(candidates: tuple[Candidate, ...], best: Number, value: Any) -> Number:
    """value(candidate) of the chosen candidate at every point."""
    if not isinstance(best, np.ndarray):
        return value(candidates[int(best)])
    result = value(candidates[0])
    for index in range(1, len(candidates)):
        result = np.where(best == index, value(candidates[index]), result)
    return result


def _time(bound: Bound | None) -> Number:
    return np.nan if bound is None else bound.time_s


def _names(codes: Number, names: tuple[Any, ...]) -> Any:
    """Texts for integer codes."""
    table = np.asarray(names, dtype=object)
    return table[np.asarray(codes).astype(np.int64)]


def _columns(variant: Variant, chip: Hardware, evaluation: Evaluation, base: Evaluation) -> dict[str, Any]:
    """Every column of one block from its evaluation and its baseline's."""
    candidates, best, useful, graph = evaluation.candidates, evaluation.best, evaluation.useful, evaluation.graph
    main = graph.main
    out: dict[str, Any] = {}
    has_pairs = variant.has_pairs and main.mask is not None
    out["pairs"] = main.pairs if has_pairs else np.nan
    _tile_columns(out, evaluation, has_pairs)
    out["flops.matrix"], out["flops.vector"], out["flops.special"] = useful.matrix_flops, useful.vector, useful.special
    out["bytes.hbm"], out["bytes.l2"] = useful.hbm_bytes, useful.l2_bytes

    def tiled(value: Any) -> Number:
        return _select(candidates, best, lambda c: value(c.counts))

    out["tiled.flops.matrix"] = tiled(lambda c: c.matrix_flops)
    out["tiled.bytes.hbm"] = tiled(lambda c: c.hbm_bytes)
    out["tiled.bytes.l2"] = tiled(lambda c: c.l2_bytes)
    out["cache_bytes"] = graph.cache_bytes
    out["arithmetic_intensity"] = _ratio(useful.matrix_flops, useful.hbm_bytes)
    times = _rung_times(evaluation)
    base_times = times if base is evaluation else _rung_times(base)
    for rung, seconds in times.items():
        out[f"ladder.{rung}.time_s"] = seconds
        out[f"ladder.{rung}.speedup"] = _ratio(base_times[rung], seconds)
    out["speedup_bound"] = _ratio(base_times["schedule"], times["tiles"])
    for side, name in enumerate(("low_s", "high_s")):
        out[f"ladder.schedule.{name}"] = _select(
            candidates, best, lambda c, side=side: expected(c.constants, chip.name, times["schedule"])[side]
        )
    out["ladder.schedule.low_s"] = np.maximum(times["tiles"], out["ladder.schedule.low_s"])
    _text_columns(out, chip, evaluation)
    return out


def _ratio(a: Number, b: Number) -> Number:
    """a / b, NaN where b is zero."""
    if isinstance(b, np.ndarray):
        return np.divide(a, b, out=np.full(np.broadcast_shapes(np.shape(a), b.shape), np.nan), where=b != 0)
    return a / b if b else np.nan


def _rung_times(evaluation: Evaluation) -> dict[str, Number]:
    """Seconds at each rung, NaN where unknown."""
    schedule = _select(evaluation.candidates, evaluation.best, lambda c: np.nan if c.time_s is None else c.time_s)
    return {
        "flops": _time(evaluation.flops), "roofline": _time(evaluation.roofline),
        "tiles": np.nan if evaluation.tiles_s is None else evaluation.tiles_s, "schedule": schedule,
    }  # fmt: skip


def _tile_columns(out: dict[str, Any], evaluation: Evaluation, has_pairs: bool) -> None:
    """Tiles of one query head, unpacked, for the chosen tile."""
    main = evaluation.graph.main
    names = ("visited", "full", "partial", "skipped")
    if not has_pairs:
        for name in names:
            out[f"tiles.{name}"] = np.nan
        return

    def summary(candidate: Candidate) -> Any:
        for tiled in candidate.parts:
            if tiled.part is main and candidate.tile.packed_heads == 1:
                return tiled.summary
        assert main.mask is not None
        return main.mask.tiles(candidate.tile.query, candidate.tile.key)

    chosen = [summary(c) for c in evaluation.candidates]
    for name in names:
        best = evaluation.best
        if not isinstance(best, np.ndarray):
            out[f"tiles.{name}"] = getattr(chosen[int(best)], name)
            continue
        result = getattr(chosen[0], name)
        for index in range(1, len(chosen)):
            result = np.where(best == index, getattr(chosen[index], name), result)
        out[f"tiles.{name}"] = result


def _text_columns(out: dict[str, Any], chip: Hardware, evaluation: Evaluation) -> None:
    """Which kernel, what limits each rung, how sure."""
    candidates, best = evaluation.candidates, evaluation.best
    out["implementation"] = _names(best, tuple(c.implementation.name if c.implementation else None for c in candidates))
    known = [None if c.time_s is None else confidence(c.constants, chip.name) for c in candidates]
    out["confidence"] = _names(best, tuple(known))
    roofline = evaluation.roofline
    out["ladder.roofline.limited_by"] = None if roofline is None else _names(roofline.limit, UNITS)
    least, limit = None, None
    for candidate in candidates:
        bound = candidate.bound
        if bound is None:
            continue
        if least is None or limit is None:
            least, limit = bound.time_s, bound.limit
        else:
            lower = bound.time_s < least
            limit = np.where(lower, bound.limit, limit)
            least = np.where(lower, bound.time_s, least)
    out["ladder.tiles.limited_by"] = None if limit is None else _names(limit, UNITS)
    out["limited_by"] = _limits(evaluation)


def _limits(evaluation: Evaluation) -> Any:
    """The unit that sets the chosen tile's floor, or the term that outweighs it."""

    def code(candidate: Candidate) -> tuple[Number, tuple[Any, ...]]:
        bound = candidate.bound
        if bound is None:
            return 0, (None,)
        names: list[Any] = list(UNITS)
        largest, which = bound.time_s, bound.limit
        assert evaluation.tiles_s is not None
        terms = [("tile_choice", bound.time_s - evaluation.tiles_s)] if candidate.time_s is not None else []
        terms += [("latency" if t.name == "launch" else t.name, t.time_s) for t in candidate.terms]
        for name, seconds in terms:
            names.append(name)
            which = np.where(seconds > largest, len(names) - 1, which)
            largest = np.maximum(seconds, largest)
        return which, tuple(names)

    coded = [code(c) for c in evaluation.candidates]
    best = evaluation.best
    if not isinstance(best, np.ndarray):
        return _names(*coded[int(best)])
    result = np.empty(len(best), dtype=object)
    for index, (codes, names) in enumerate(coded):
        rows = best == index
        if rows.any():
            result[rows] = _names(np.broadcast_to(np.asarray(codes), best.shape)[rows], names)
    return result
