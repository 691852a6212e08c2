"""Walks the path once: problem, variant, chip -> the ladder of rungs.

`evaluate` is written for numbers of any kind (ints for `predict`, arrays for `sweep`). Everything it needs is
an argument; what it returns is frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import calibration, implementations
from .algebra import Number, maximum, minimum, where
from .bounds import Bound, floor
from .calibration import Constants, overhead
from .calibration import load as load_constants
from .config import Config
from .counts import Counts, counts
from .errors import InputError
from .graph import Graph, Part
from .hardware import Hardware
from .implementations import Implementation
from .problem import Problem, nbytes
from .schedule import Term, dense
from .schedule.dsa import together
from .schedule.part import schedule_part, style_of
from .schedule.residency import residency
from .tiling import Tile, TiledPart, default_tile, tile_parts, total_counts
from .variants import Variant


@dataclass(frozen=True, slots=True)
class Choice:
    """What the caller fixes: a tile, an implementation, the plain projections counted in (`layer`).

    kernel: in place of the implementation's name, one that knows more (what a compiler says of a config).
    floors_only: no schedule is wanted.
    framework: name and version of what serves, as its overheads are filed; None: the kernel by itself.
    """

    tile: Tile | None = None
    implementation: str | None = None
    layer: bool = False
    kernel: Implementation | None = None
    framework: tuple[str, str] | None = None
    floors_only: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One implementation with one tile, evaluated. `time_s` None: the chip's numbers give no schedule."""

    implementation: Implementation | None
    tile: Tile
    constants: Constants | None
    parts: tuple[TiledPart, ...]
    counts: Counts
    bound: Bound | None
    time_s: Number | None
    terms: tuple[Term, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All rungs of one variant on one chip."""

    graph: Graph
    useful: Counts
    projections: tuple[Number, Number]
    flops: Bound | None
    roofline: Bound | None
    tiles_s: Number | None
    candidates: tuple[Candidate, ...]
    best: Number
    """Index of the fastest candidate (an array of them in a sweep)."""
    refusals: tuple[str, ...]

    @property
    def chosen(self) -> Candidate:
        """The candidate the schedule settles on (scalar problems)."""
        return self.candidates[int(self.best)]


def _launch_s(hardware: Hardware) -> float:
    return hardware.launch_latency_s or 0.0


def way_of(implementation: Implementation, tiled: TiledPart) -> tuple[str, str]:
    """How a kernel runs a part: the style of its schedule, and the visited tiles on which it evaluates the mask."""
    masked = "none" if tiled.part.mask is None else implementation.masked(tiled.part, tiled.tile)
    return style_of(tiled.part.style, implementation.splits_keys, implementation.runs_as), masked


def timed_part(
    tiled: TiledPart, tile: Tile, hardware: Hardware, implementation: Implementation, constants: Constants | None,
    cache: str,
) -> tuple[Number, list[Term]] | None:  # fmt: skip
    """Schedule of one part as an implementation runs it: seconds and terms over its own floor, without launch."""
    style, masked = way_of(implementation, tiled)
    launched = residency(implementation, tiled, hardware) if tiled.part.mask is not None else None
    return schedule_part(tiled, style, hardware, constants, cache, masked, tile, launched)


def _merge(terms: list[Term]) -> tuple[Term, ...]:
    """Terms of several parts, added up by name."""
    merged: dict[str, Term] = {}
    for term in terms:
        seen = merged.get(term.name)
        merged[term.name] = term if seen is None else Term(term.name, seen.time_s + term.time_s, seen.reason)
    return tuple(merged.values())


def _schedule(
    graph: Graph, parts: tuple[TiledPart, ...], tile: Tile, bound: Bound, hardware: Hardware,
    implementation: Implementation, constants: Constants | None, problem: Problem, extra: Counts | None,
    framework: tuple[str, str] | None,
) -> tuple[Number, tuple[Term, ...]] | None:  # fmt: skip
    """Seconds and terms of the whole call over the floor of its tiles."""
    level: Number = 0.0
    terms: list[Term] = []
    kernels = 0.0
    for tiled in parts:
        timed = timed_part(tiled, tile, hardware, implementation, constants, problem.cache)
        if timed is None:
            return None
        if tiled.part.style == "host":
            whole = together((("kernels", level), ("host", timed[0])))
            timed = whole - level, [Term("host", whole - level, "the host starts kernels more slowly than they run")]
        level = level + timed[0]
        terms += timed[1]
        kernels += constants.kernels if constants and tiled.part.style in implementation.part_styles else 1
    if extra is not None:
        projection = floor(extra, hardware, problem.cache)
        if projection is None:
            return None
        level = level + projection.time_s / dense.GEMM_EFFICIENCY
        kernels += 4
    # What the sum of parts exceeds the common floor by, besides their own terms: they run one after another.
    serial = maximum(level - bound.time_s - sum(t.time_s for t in terms), 0.0)
    terms.append(Term("serial_parts", serial, "kernels run one after another, each limited by its own unit"))
    terms.append(_around(kernels, hardware, implementation, problem, framework))
    return bound.time_s + sum(t.time_s for t in terms), _merge(terms)


def _around(
    kernels: float, hardware: Hardware, implementation: Implementation, problem: Problem,
    framework: tuple[str, str] | None,
) -> Term:  # fmt: skip
    """What surrounds the kernels of a call: launches alone, or all that a framework does."""
    known = None if framework is None else overhead.of_call(framework, hardware, implementation.name, problem)
    own = hardware.calibration.get(implementation.name, {}).get("overhead")
    if framework is None and own:
        around = overhead.of_problem(overhead.Overhead(**own), problem, hardware)
        return Term("framework", around, "launches and passes over queries and new keys, as measured on this chip")
    if framework is None or known is None:
        return Term("launch", kernels * _launch_s(hardware), "starting the kernels")
    name = " ".join(framework)
    return Term("framework", known, f"{name}: launches, host work, passes over queries and new keys and values")


def _constants(
    implementation: Implementation, hardware: Hardware, problem: Problem, main: Part
) -> Constants | None:  # fmt: skip
    """Constants of a kernel for the types of a problem: the chip's own where its profile has some."""
    name = implementation.name
    known = load_constants(
        implementation.calibration or name, hardware.generation, problem.direction, main.dtype, main.kv_dtype
    )
    own = hardware.calibration.get(name)
    return known if own is None else calibration.own(known, own, hardware.name, name)


def _pool(hardware: Hardware, choice: Choice, problem: Problem, main: Part) -> Sequence[Implementation]:
    """What is considered where no implementation is asked for: all that are offered, or the framework's own."""
    if choice.framework is not None:
        known = overhead.kernels(choice.framework, hardware.generation)
        operation = overhead.operation_of(problem)
        # Latent attention decodes in an operation of its own (mla-decode); chunked mechanisms have other names.
        same = [name for each, names in known.items() if each.endswith(operation) for name in names]
        for names in (same, [name for each in known.values() for name in each]):
            own = [
                one for one in map(implementations.get, names)
                if not one.refuses(main, hardware, choice.tile) and _constants(one, hardware, problem, main) is not None
            ]  # fmt: skip
            if own:
                return own
    return tuple(implementations.for_hardware(hardware))


def candidates_for(
    graph: Graph, hardware: Hardware, choice: Choice, problem: Problem
) -> tuple[list[tuple[Implementation | None, Tile]], list[str]]:
    """Implementations that accept the main part, each with its tiles, and why the others refuse."""
    main = graph.main
    asked = choice.kernel
    if asked is None and choice.implementation is not None:
        asked = implementations.get(choice.implementation)
    if asked is not None:
        refusal = asked.refuses(main, hardware, choice.tile)
        if refusal:
            raise InputError(refusal)
        pool: Sequence[Implementation] = (asked,)
    else:
        pool = _pool(hardware, choice, problem, main)
    accepted: list[tuple[Implementation | None, Tile]] = []
    refusals = []
    for implementation in pool:
        refusal = implementation.refuses(main, hardware, choice.tile)
        if refusal:
            refusals.append(refusal)
            continue
        if choice.tile is not None and (main.mask is not None or isinstance(choice.tile, Config)):
            tiles: tuple[Tile, ...] = (choice.tile,)
        else:
            tiles = implementation.tiles(main, hardware)
        packed = implementation.packed_heads(main)
        for tile in tiles:
            one_axis = len(tile.query) == 1
            accepted.append((implementation, replace(tile, packed_heads=packed) if packed > 1 and one_axis else tile))
    return accepted, refusals


def _projection_counts(problem: Problem, amounts: tuple[Number, Number]) -> Counts:
    flops, elements = amounts
    moved = nbytes(elements, problem.dtype)
    return Counts({problem.dtype: flops}, 0, 0, moved, moved)


def evaluate(variant: Variant, problem: Problem, hardware: Hardware, choice: Choice = Choice()) -> Evaluation:
    """Every rung for one prepared problem. Raises InputError where an asked implementation refuses."""
    graph = variant.graph(problem)
    useful = counts(graph)
    projections = variant.projections(problem)
    extra = _projection_counts(problem, projections) if choice.layer else None
    whole = useful if extra is None else useful + extra
    accepted, refusals = candidates_for(graph, hardware, choice, problem)
    evaluated = []
    if not accepted:
        accepted = [(None, choice.tile or default_tile())]
    tiled: dict[Tile, Tiled] = {}
    for implementation, tile in accepted:
        if tile not in tiled:
            tiled[tile] = _tile(graph, tile, hardware, problem, useful, extra)
        parts, total, bound = tiled[tile]
        if implementation is None or choice.floors_only:
            evaluated.append(Candidate(implementation, tile, None, parts, total, bound, None, ()))
            continue
        constants = _constants(implementation, hardware, problem, graph.main)
        parts = tuple(implementation.planned(part, hardware) for part in parts)
        timed = bound and _schedule(
            graph, parts, tile, bound, hardware, implementation, constants, problem, extra, choice.framework
        )
        time_s, terms = timed if timed else (None, ())
        evaluated.append(Candidate(implementation, tile, constants, parts, total, bound, time_s, terms))
    tiles_s, best = _settle(evaluated, hardware)
    return Evaluation(
        graph, useful, projections, floor(whole.matrix_only, hardware, problem.cache),
        floor(whole, hardware, problem.cache), tiles_s, tuple(evaluated), best, tuple(refusals),
    )  # fmt: skip


Tiled = tuple[tuple[TiledPart, ...], Counts, Bound | None]


def _tile(
    graph: Graph, tile: Tile, hardware: Hardware, problem: Problem, useful: Counts, extra: Counts | None
) -> Tiled:
    """The parts under a tile, their total, and its floor (plain projections included where asked)."""
    parts = tile_parts(graph, tile, hardware, problem.page_size)
    total = total_counts(parts, useful)
    return parts, total, floor(total if extra is None else total + extra, hardware, problem.cache)


def _settle(evaluated: list[Candidate], hardware: Hardware) -> tuple[Number | None, Number]:
    """The least tile floor over all candidates, and the index of the fastest schedule (of kernels that the chip's
    profile has measured constants of, where it has)."""
    timed = [c for c in evaluated if c.time_s is not None and c.implementation is not None]
    measured = {c.implementation.name for c in timed if c.implementation} & set(hardware.calibration)
    tiles_s: Number | None = None
    fastest: Number | None = None
    best: Number = 0
    for index, candidate in enumerate(evaluated):
        if candidate.bound is None:
            continue
        tiles_s = candidate.bound.time_s if tiles_s is None else minimum(tiles_s, candidate.bound.time_s)
        name = candidate.implementation.name if candidate.implementation else ""
        if candidate.time_s is None or (measured and name not in measured):
            continue
        if fastest is None:
            fastest, best = candidate.time_s, index
        else:
            best = where(candidate.time_s < fastest, index, best)
            fastest = minimum(fastest, candidate.time_s)
    return tiles_s, best


def check_tile(query: Any, key: Any, axes: int) -> Tile:
    """A tile of positive whole sides, as many axes as the layout or one. Raises InputError."""
    sides = []
    for name, side in (("query tile", query), ("key tile", key)):
        values = tuple(side) if isinstance(side, (tuple, list)) else (side,)
        for value in values:
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**20:
                raise InputError(f"{name} has a side of {value!r}; allowed: whole numbers 1 .. 2**20")
        if len(values) not in (1, axes):
            raise InputError(f"{name} has {len(values)} axes; the token layout has {axes}")
        sides.append(values)
    if len(sides[0]) != len(sides[1]):
        raise InputError(f"query tile has {len(sides[0])} axes and key tile {len(sides[1])}; both need the same")
    return Tile(sides[0], sides[1])
