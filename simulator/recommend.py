"""Which strides and tiles of neighbourhood attention give the most speed: every candidate predicted, ranked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .api import make_choice, predict_one
from .errors import InputError
from .hardware import Hardware
from .implementations import for_hardware
from .predict import Evaluation
from .prediction import Prediction
from .problem import Problem
from .variants import Variant
from .variants.gna import GeneralisedNeighbourhood

MOST_STRIDES = 160


@dataclass(frozen=True)
class Recommendation:
    """One stride with its best kernel and tile. `reason` says what decides; `exact` means every query keeps its own
    window (stride 1)."""

    stride: tuple[int, ...]
    prediction: Prediction
    gain: float
    reason: str

    @property
    def exact(self) -> bool:
        return max(self.stride) == 1


def sides(window: int, length: int) -> list[int]:
    """Strides worth trying along an axis: 1, powers of two up to the window, divisors of it, and the window."""
    found = {1, window} | {2**k for k in range(1, 7) if 2**k <= window}
    found |= {s for s in range(2, min(window, 64) + 1) if window % s == 0 and length % s == 0}
    return sorted(found)


def strides(window: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Combinations over the axes; thinned to powers of two and the window where there are many."""
    axes = [sides(w, n) for w, n in zip(window, shape, strict=True)]
    if math.prod(map(len, axes)) > MOST_STRIDES:
        axes = [[s for s in a if s in (1, 2, 4, 8, 16) or s == w] for a, w in zip(axes, window, strict=True)]
    yield from itertools.product(*axes)


def recommend(variant: Variant, problem: Problem, hardware: Hardware) -> list[Recommendation]:
    """Strides with the fastest known kernel and tile each, fastest first, without those that are coarser than another
    and no faster. Raises InputError for other variants and chips without a neighbourhood kernel."""
    if not isinstance(variant, GeneralisedNeighbourhood):
        raise InputError(f"recommend works on gna, not on {variant.id}")
    mask = variant.mask(problem)
    if not any(i.refuses(variant.graph(problem).main, hardware) is None for i in for_hardware(hardware)):
        raise InputError(f"no neighbourhood kernel is known for {hardware.name}")
    memo: dict[Any, Evaluation] = {}
    choice = make_choice(len(problem.shape), {})
    found: list[tuple[tuple[int, ...], Prediction, float]] = []
    for stride in strides(mask.window, problem.shape):
        one = replace(variant, stride=stride)
        p = predict_one(one, problem, hardware, choice, memo=memo)
        if p.time_s is not None:
            found.append((stride, p, p.time_s))
    slowest = next(time for stride, _, time in found if max(stride) == 1)
    ranked: list[tuple[tuple[int, ...], Prediction, float]] = []
    for entry in sorted(found, key=lambda entry: (entry[2], sum(entry[0]), entry[0])):
        # A coarser stride that is no faster than a finer one kept before it is no choice.
        if not any(all(a <= b for a, b in zip(kept[0], entry[0], strict=True)) for kept in ranked):
            ranked.append(entry)
    return [Recommendation(s, p, slowest / time, why(p)) for s, p, time in ranked]


def why(p: Prediction) -> str:
    """What decides the time of a stride: block-sparse or not, tiles against pairs, masking."""
    counts = p.tile_counts()
    assert counts is not None
    tile = p.chosen.tile
    area = math.prod(tile.query) * math.prod(tile.key)
    waste = counts["visited"] * area / p.evaluation.graph.main.pairs
    masking = next((t.time_s for t in p.terms if t.name == "masking"), 0.0) / (p.time_s or 1.0)
    kernel = p.chosen.implementation
    part = p.evaluation.graph.main
    if kernel is not None and kernel.masked(part, tile) == "none":
        said = "fully block-sparse: nothing is masked"
    elif counts["partial"] == 0:
        said = "no partial tiles"
    else:
        said = f"{counts['partial'] / counts['visited']:.0%} of the tiles partial"
    said += f", {waste:.2f} pairs computed for each that attends"
    return said + (f", masking {masking:.0%} of the time" if masking > 0.01 else "")
