"""The order that configs are tried in: predicted time first, and floors, which alone may say what need not be tried."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..simulator.bounds import floor
from ..simulator.config import Config, TritonKernel
from ..simulator.implementations import Implementation
from ..simulator.predict import Candidate, Choice, evaluate
from ..simulator.schedule.attention import memory_time, smooth_max, tile_clocks
from ..simulator.schedule.residency import residency
from ..simulator.tiling import Tile
from .task import Task

if TYPE_CHECKING:
    from .measurement import Measurement


@dataclass(frozen=True, slots=True)
class Ranked:
    """A config with its predicted seconds and the floor of its tile, None where the model has no number."""

    config: Tile
    predicted_s: float | None
    floor_s: float | None


def rank(task: Task, configs: Iterable[Tile]) -> list[Ranked]:
    """The configs by predicted time, fastest first; those without a prediction last, in the order given."""
    found = [predict_config(task, config) for config in configs]
    return sorted(found, key=lambda one: math.inf if one.predicted_s is None else one.predicted_s)


def predict_config(task: Task, config: Tile) -> Ranked:
    """What the model says of one config: nothing of one that the kernel refuses, as recordings may hold.

    The floor holds for a warm cache too, as repeated calls may find one.
    """
    if task.kernel.refuses(task.part, task.chip, config) is not None:
        return Ranked(config, None, None)
    choice = Choice(tile=config, implementation=task.implementation)
    chosen = evaluate(task.made, task.problem, task.chip, choice).chosen
    warm = floor(chosen.counts, task.chip, "warm")
    predicted = None if chosen.time_s is None else float(chosen.time_s)
    return Ranked(config, predicted, None if warm is None else float(warm.time_s))


def fits(task: Task, config: Tile) -> bool:
    """Whether a task's kernel takes a config, and a block's shared memory can hold it by the kernel's estimate."""
    kernel, part, chip = task.kernel, task.part, task.chip
    if kernel.refuses(part, chip, config) is not None:
        return False
    if isinstance(kernel, TritonKernel) and isinstance(config, Config):
        return kernel.shared_refusal(part, chip, config) is None
    return True


def rerank(task: Task, ranked: Sequence[Ranked], compiled: Iterable[Measurement]) -> list[Ranked]:
    """The order again, by what the compiler says of some configs.

    What does not compile or fit is left out. Compiled configs are predicted with the registers and shared memory that
    they take in place of the kernel's estimates (how many blocks share a compute unit, and so how much latency they
    hide), and with the vector instructions of their main loop: where those are more than the model counts, beyond what
    they are in the leanest config, softmax takes so much longer. The others keep their prediction. What spills comes
    last, the least first.
    """
    found = {m.config: m for m in compiled}
    failed = {config for config, m in found.items() if m.outcome not in ("compiled", "ok")}
    built = {config: m for config, m in found.items() if config not in failed and m.registers is not None}
    again = {config: evaluated(task, config, as_compiled(task, m)) for config, m in built.items()}
    excess = {config: excess_of(task, again[config], m) for config, m in built.items()}
    leanest = min((e for e in excess.values() if e is not None), default=1.0)
    kept = []
    for one in ranked:
        time_s = again[one.config].time_s if one.config in again else None
        if time_s is not None:
            times = (excess[one.config] or leanest) / leanest
            time_s = with_longer_softmax(task, again[one.config], times)
            one = replace(one, predicted_s=max(time_s, one.floor_s or 0.0))
        if one.config not in failed:
            kept.append(one)

    def order(one: Ranked) -> tuple[int, float]:
        spilled = built[one.config].spill_bytes if one.config in built else 0
        return spilled or 0, math.inf if one.predicted_s is None else one.predicted_s

    return sorted(kept, key=order)


def evaluated(task: Task, config: Tile, kernel: Implementation) -> Candidate:
    """All that the model says of a config, by a kernel that may know more than its own estimates."""
    return evaluate(task.made, task.problem, task.chip, Choice(tile=config, kernel=kernel)).chosen


MOST_ESTIMATED = 254
"""Registers from which an estimate counts as cut off: a kernel that was compiled spills or does not."""


def as_compiled(task: Task, found: Measurement) -> Implementation:
    """The task's kernel with a compiler's numbers of one config in place of its estimates and of what they refuse."""
    kernel = copy.copy(task.kernel)
    registers, shared = found.registers, found.shared_memory_bytes
    if registers is not None and task.chip.vendor == "nvidia" and not found.spill_bytes:
        registers = min(registers, MOST_ESTIMATED)
    vars(kernel).update(registers=lambda *_: registers, shared_memory_bytes=lambda *_: shared, refuses=lambda *_: None)
    return kernel


VECTOR_KINDS = ("fma", "add", "mul", "max")


def excess_of(task: Task, candidate: Candidate, found: Measurement) -> float | None:
    """Clocks of the vector and exp instructions that the main loop executes for a tile, over those that the model has
    for softmax; None where the tiles are no pairs, or the loop is not known."""
    tiled = next((t for t in candidate.parts if t.summary is not None), None)
    loop, chip = main_loop(found), task.chip
    if tiled is None or loop is None or candidate.constants is None or not loop["matrix_flops"]:
        return None
    clocks = tile_clocks(tiled, chip, candidate.constants)
    if clocks is None or not chip.exp_per_clock_per_sm or not chip.vector_flop_per_clock_per_sm:
        return None
    launched = residency(candidate.implementation, tiled, chip) if candidate.implementation else None
    modelled = clocks.softmax + (launched.rescaling if launched else 0.0)
    lanes = loop["warps"] * int(chip.warp_size or 32)
    slots = sum(loop["counts"].get(kind, 0) for kind in VECTOR_KINDS) * lanes
    executed = loop["exponentials"] / chip.exp_per_clock_per_sm + slots / (chip.vector_flop_per_clock_per_sm / 2)
    tiles = loop["matrix_flops"] / float(tiled.tile_matrix)  # an iteration may walk several tiles
    return executed / tiles / float(modelled) if modelled > 0 else None


def with_longer_softmax(task: Task, candidate: Candidate, times: float) -> float:
    """The predicted seconds of a config whose softmax takes `times` as long, overlapped with the bytes it moves as the
    schedule overlaps them."""
    assert candidate.time_s is not None
    predicted_s = float(candidate.time_s)
    tiled = next((t for t in candidate.parts if t.summary is not None), None)
    if times <= 1 or tiled is None or candidate.constants is None or candidate.implementation is None:
        return predicted_s
    clocks = tile_clocks(tiled, task.chip, candidate.constants)
    assert clocks is not None
    launched = residency(candidate.implementation, tiled, task.chip)
    longer = replace(clocks, softmax=clocks.softmax * times).busy(candidate.constants, launched)
    growth = float(longer / clocks.busy(candidate.constants, launched))
    memory_s = min(float(memory_time(tiled, task.chip, task.problem.cache)), predicted_s)
    compute_s = (predicted_s**4 - memory_s**4) ** 0.25
    return float(smooth_max(compute_s * growth, memory_s))


def main_loop(found: Measurement) -> Mapping[str, Any] | None:
    """The main loop with most matrix work among a config's kernels, with its warps; None where none is known."""
    loops = [{**one["main_loop"], "warps": one["warps"]} for one in found.conditions.get("kernels", ())
             if one.get("main_loop")]  # fmt: skip
    return max(loops, key=lambda loop: loop["matrix_flops"], default=None)
