"""Buckets: problems that share a tuned config. Lengths, batch and heads vary inside one, all else is equal.

A bucket is a cell of sizes with a problem in its middle. The config that the model takes for the middle costs, by the
model, at most 3 % more at any problem of the bucket than the best config there: a problem belongs to the largest cell
of which that is true, so the bucket is found from the problem alone, and no edges are kept. Lengths are looked at in
steps of 1/128 of a power of two, so that a sequence that grows by one token does not cost a look at every token.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .config import Tunable
from .errors import InputError
from .hardware import Hardware
from .predict import Choice, evaluate
from .prediction import plain
from .problem import Problem
from .tiling import Tile
from .variants import Variant

ALLOWED = 0.02
"""What the middle's config may cost over the best one at the end of a step, so that it is 3 % anywhere in it."""
STEPS = 128
"""Steps between two powers of two."""
RANGES = ("heads", "batch", "seq", "queries", "keys", "tokens", "document")
"""Names of the sizes that vary inside a bucket."""
Range = tuple[int, int]
"""First and last size."""


@dataclass(frozen=True)
class Bucket:
    """ranges: sizes by name, first and last of each: `heads` counts kv heads of the whole batch, `tokens` those of all
    documents, `document` the tokens of a mean one. fixed: what all its problems have in common, as JSON has it.
    problem: the one in the middle, which stands for all.
    """

    ranges: tuple[tuple[str, Range], ...]
    fixed: str
    problem: Problem

    def to_dict(self) -> dict[str, Any]:
        """As records have it."""
        return {**{name: list(ends) for name, ends in self.ranges}, **json.loads(self.fixed)}

    @functools.cached_property
    def key(self) -> str:
        """A short name, the same in every process."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        said = (f"{name} {low:,}" + (f"-{high:,}" if high > low else "") for name, (low, high) in self.ranges)
        return ", ".join(said)


def bucket_of(variant: Variant, problem: Problem, hardware: Hardware, kernel: Tunable) -> Bucket:
    """The bucket of a prepared problem. Memoised for each step of lengths; takes milliseconds the first time."""
    if not is_named(variant):
        raise InputError(f"{variant.id} has no bucket: a parameter is an array, a function or a mask, without a name")
    if problem.documents is None:
        sizes = sizes_of(variant, problem)
        # The last of a step: tiles that are begun count whole.
        last = {name: -(-size // step_of(name, size)) * step_of(name, size) for name, size in sizes.items()}
        problem = variant.prepare(problem_at(problem, last, keep_heads=True))
    return _bucket_of(variant, problem, hardware, kernel)


def is_named(variant: Variant) -> bool:
    """Whether all parameters are plain values: an array, a function or a block mask has no name to be found by."""

    def plain_value(value: Any) -> bool:
        if isinstance(value, (tuple, list)):
            return all(map(plain_value, value))
        return value is None or isinstance(value, (bool, int, float, str))

    return all(map(plain_value, variant.parameters().values()))


@functools.lru_cache(maxsize=4096)
def _bucket_of(variant: Variant, problem: Problem, hardware: Hardware, kernel: Tunable) -> Bucket:
    fixed = json.dumps(fixed_of(variant, problem), sort_keys=True)
    best_s = best(variant, problem, hardware, kernel)[1]
    for cell in cells(sizes_of(variant, problem)):
        try:
            middle = variant.prepare(problem_at(problem, {name: halfway(ends) for name, ends in cell.items()}))
            config = best(variant, middle, hardware, kernel)[0]
        except InputError:
            continue  # the middle of a smaller cell may be a problem that the kernel takes
        moved = None if config is None else carried(config, variant, middle, problem, hardware, kernel)
        cost = None if moved is None else predicted_s(variant, problem, hardware, kernel, moved)
        if cost is not None and best_s is not None and cost <= best_s * (1 + ALLOWED):
            return Bucket(tuple(cell.items()), fixed, middle)
    exact = json.dumps({**json.loads(fixed), "problem": problem.to_dict()}, sort_keys=True)
    return Bucket(tuple((name, (size, size)) for name, size in sizes_of(variant, problem).items()), exact, problem)


def sizes_of(variant: Variant, problem: Problem) -> dict[str, int]:
    """The sizes that vary inside a bucket. Batch and kv heads are one size, but for heads that share what is theirs
    (latents); queries and keys that are as many are one; tokens along several axes are none."""
    apart = variant.graph(problem).main.kv_heads != problem.kv_heads
    sizes = {"batch": int(problem.batch)} if apart else {"heads": int(problem.batch * problem.kv_heads)}
    if problem.documents is not None:
        total = sum(problem.documents)
        return {**sizes, "tokens": total, "document": max(1, round(total / len(problem.documents)))}
    if len(problem.shape) > 1:
        return sizes
    queries, keys = int(problem.queries), int(problem.kv_len)
    return {**sizes, "seq": keys} if queries == keys else {**sizes, "queries": queries, "keys": keys}


def fixed_of(variant: Variant, problem: Problem) -> dict[str, Any]:
    """What a bucket's problems have in common."""
    sizes = sizes_of(variant, problem)
    varying = {"batch", "seq", "kv_len", "documents"}
    if "heads" in sizes:
        varying |= {"heads", "kv_heads"}
    if len(problem.shape) == 1:
        varying.add("shape")
    common = {name: value for name, value in problem.to_dict().items() if name not in varying}
    parameters = {name: plain(value) for name, value in variant.parameters().items()}
    return {"variant": variant.id, "parameters": parameters, "group": int(problem.group), **common}


def problem_at(problem: Problem, sizes: dict[str, int], keep_heads: bool = False) -> Problem:
    """A problem like this one with other sizes."""
    if keep_heads:
        made = problem
    elif "heads" in sizes:
        made = problem.with_(batch=sizes["heads"], kv_heads=1, heads=int(problem.group))
    else:
        made = problem.with_(batch=sizes["batch"])
    if "tokens" in sizes:
        count = max(1, round(sizes["tokens"] / sizes["document"]))
        total = count * sizes["document"]
        return made.with_(documents=(sizes["document"],) * count, shape=(total,), kv_len=total)
    if "seq" in sizes:
        return made.with_(shape=(sizes["seq"],), kv_len=sizes["seq"])
    return made.with_(shape=(sizes["queries"],), kv_len=sizes["keys"]) if "queries" in sizes else made


def step_of(name: str, size: int) -> int:
    """The step of lengths at a size; heads are looked at one by one.

    >>> step_of("seq", 5000), step_of("seq", 100), step_of("heads", 5000)
    (32, 1, 1)
    """
    return 1 if name in ("heads", "batch") else max(1, octave(size)[1] // 2 // STEPS)


def octave(size: int) -> Range:
    """The sizes up to the next power of two.

    >>> octave(5000), octave(8192), octave(1)
    ((4097, 8192), (4097, 8192), (1, 1))
    """
    last = 1 << (size - 1).bit_length()
    return last // 2 + 1, last


def cells(sizes: dict[str, int]) -> Iterator[dict[str, Range]]:
    """Cells that hold the sizes, largest first: an octave, then halved along one axis after the other, lengths first,
    down to a step."""
    cell = {name: octave(size) for name, size in sizes.items()}
    order = sorted(sizes, key=lambda name: name in ("heads", "batch"))
    yield dict(cell)
    while True:
        wide = [name for name in order if cell[name][1] - cell[name][0] + 1 > step_of(name, sizes[name])]
        if not wide:
            return
        for name in wide:
            (low, high), middle = cell[name], halfway(cell[name])
            cell[name] = (low, middle) if sizes[name] <= middle else (middle + 1, high)
            yield dict(cell)


def halfway(ends: Range) -> int:
    """The last size of the lower half.

    >>> halfway((4097, 8192)), halfway((7, 7))
    (6144, 7)
    """
    return ends[0] + (ends[1] - ends[0]) // 2


@functools.lru_cache(maxsize=4096)
def best(variant: Variant, problem: Problem, hardware: Hardware, kernel: Tunable) -> tuple[Tile | None, float | None]:
    """(config, seconds) that the model takes for a problem, the first of equal ones; None where it has no number.

    Raises InputError where the kernel does not take the problem."""
    part = variant.graph(problem).main
    refusal = kernel.refuses(part, hardware)
    if refusal is not None:
        raise InputError(refusal)
    found: tuple[Tile | None, float | None] = (None, None)
    for config in kernel.configs(part, hardware):
        time_s = predicted_s(variant, problem, hardware, kernel, config)
        if time_s is not None and time_s < (math.inf if found[1] is None else found[1]):
            found = (config, time_s)
    return found


def carried(
    config: Any, variant: Variant, before: Problem, after: Problem, hardware: Hardware, kernel: Tunable
) -> Any | None:
    """A config of one problem as another takes it; None where the kernel refuses it there.

    Pieces that keys are cut into keep their proportion to those that fill the chip, which change with every length.
    """
    part = variant.graph(after).main
    filling = getattr(kernel, "splits", None)
    if filling is not None and config.splits > 1:
        there = filling(variant.graph(before).main, hardware, config)
        ratio = filling(part, hardware, config) / there
        config = replace(config, splits=max(1, round(config.splits * ratio)))
    return config if kernel.refuses(part, hardware, config) is None else None


def predicted_s(variant: Variant, problem: Problem, hardware: Hardware, kernel: Tunable, config: Tile) -> float | None:
    """The model's seconds of a config."""
    time_s = evaluate(variant, problem, hardware, Choice(tile=config, implementation=kernel.name)).chosen.time_s
    return None if time_s is None else float(time_s)
