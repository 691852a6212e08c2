"""Timing, of timers whose times are computed: what drifts, jumps, is noisy or slow, and whose true time is known."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections.abc import Callable

import pytest

from attnsim.autotune import timing


class World:
    """A clock that all simulated timers share: it drifts with the seconds that they have run."""

    def __init__(self, slower: Callable[[float], float] = lambda now_s: 1.0) -> None:
        self.now_s = 0.0
        self.slower = slower
        self.log: list[str] = []


class Simulated:
    """A call takes `call_s`, times what the world does, and noise: a factor of 1 + noise x a normal number."""

    def __init__(
        self, call_s: float, world: World | None = None, noise: float = 0.0, name: str = "",
        spikes: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        self.call_s, self.world, self.noise, self.name, self.spikes = call_s, world or World(), noise, name, spikes
        self.random = random.Random(name)
        self.batches: list[tuple[int, int]] = []

    def seconds(self, calls: int, first: int) -> float:
        self.batches.append((calls, first))
        self.world.log.append(self.name)
        factor = self.world.slower(self.world.now_s) * max(0.1, 1 + self.noise * self.random.gauss(0, 1))
        if len(self.batches) in self.spikes:
            factor *= 3
        self.world.now_s += self.call_s * calls * factor
        return self.call_s * calls * factor


@pytest.mark.parametrize(("call_s", "calls"), [(1e-3, 20), (7e-3, 3), (0.5, 1), (1e-6, timing.MOST_CALLS)])
def test_a_round_lasts_20_ms_and_operands_keep_rotating(call_s: float, calls: int) -> None:
    timer = Simulated(call_s)
    found = timing.measure(timer)
    assert found.calls == calls
    assert found.seconds == pytest.approx([call_s] * timing.ROUNDS)
    assert (found.flags, found.earlier) == ((), ())
    starts = list(itertools.accumulate((n for n, _ in timer.batches), initial=0))
    assert [first for _, first in timer.batches] == starts[:-1]
    assert found.spent_s == pytest.approx(timer.world.now_s)
    warm_up = timer.world.now_s - timing.ROUNDS * calls * call_s
    assert warm_up >= min(timing.WARM_UP_S, 10 * timing.MOST_CALLS * call_s)


def test_warming_up_is_not_counted() -> None:
    """A clock that needs half a second of work to get up to speed."""
    slow_start = World(lambda now_s: 2.0 if now_s < timing.WARM_UP_S else 1.0)
    assert timing.measure(Simulated(2e-3, slow_start)).seconds == pytest.approx([2e-3] * timing.ROUNDS)


@pytest.mark.parametrize("seed", range(5))
def test_the_median_is_near_the_true_time(seed: int) -> None:
    """The median of n rounds with noise s errs by some 1.25 s / sqrt(n)."""
    found = timing.measure(Simulated(1e-3, noise=0.01, name=str(seed)), rounds=31)
    assert statistics.median(found.seconds) == pytest.approx(1e-3, rel=4 * 1.25 * 0.01 / 31**0.5)
    assert "unsteady" not in found.flags


def test_outliers_are_flagged_and_kept_and_do_not_move_the_median() -> None:
    timer = Simulated(1e-3, noise=0.002, spikes=(14, 20))
    found = timing.measure(timer)
    assert found.flags == ("outliers",)
    assert sorted(found.seconds)[-2] > 2.9e-3
    assert found.median_s == pytest.approx(1e-3, rel=0.005)
    assert timing.outliers([1.0, 1.001, 0.999]) == ()


def test_what_disagrees_with_itself_is_timed_again() -> None:
    """A clock that falls for good, in the middle of the first rounds: those are kept, but are not the result."""
    fall = World(lambda now_s: 1.0 if now_s < timing.WARM_UP_S + 0.2 else 1.3)
    found = timing.measure(Simulated(1e-3, fall))
    assert (found.flags, len(found.earlier)) == ((), timing.ROUNDS)
    assert found.median_s == pytest.approx(1.3e-3, rel=0.01)
    assert min(found.earlier) == pytest.approx(1e-3)


def test_what_never_agrees_is_marked_and_counts_whole() -> None:
    """Every round is slower than the one before."""
    found = timing.measure(Simulated(1e-3, World(lambda now_s: 1 + now_s)))
    assert "unsteady" in found.flags
    assert (len(found.seconds), found.earlier) == (timing.TRIES * timing.ROUNDS, ())
    assert list(found.seconds) == sorted(found.seconds)


@pytest.mark.parametrize("share", [0.03, 0.08])
def test_five_percent_between_the_halves(share: float) -> None:
    half = timing.ROUNDS // 2
    assert timing.agrees([1.0] * half + [1.0 + share] * half) == (share < timing.STEADY)
    assert timing.agrees([1.0 + share] * half + [1.0] * half) == (share < timing.STEADY)


def test_a_hopeless_one_is_stopped_after_a_round() -> None:
    slow = Simulated(1e-2)
    found = timing.measure(slow, best_s=3.2e-3)
    assert (found.flags, len(found.seconds)) == (("stopped early",), 1)
    spent = len(slow.batches)
    assert timing.measure(Simulated(1e-2), best_s=3.4e-3).flags == ()
    timing.measure(other := Simulated(1e-2))
    assert spent < len(other.batches) / 1.5


def test_among_contenders_the_hopeless_ones_are_stopped() -> None:
    found = timing.rotate({"a": Simulated(1e-3), "b": Simulated(2e-3), "c": Simulated(4e-3)})
    assert [found[name].flags for name in "abc"] == [(), (), ("stopped early",)]
    assert [len(found[name].seconds) for name in "abc"] == [timing.ROUNDS, timing.ROUNDS, 1]
    everything = timing.rotate({"a": Simulated(1e-3), "c": Simulated(4e-3)}, hopeless=math.inf)
    assert [len(one.seconds) for one in everything.values()] == [timing.ROUNDS] * 2


def test_contenders_take_turns() -> None:
    world = World()
    timing.rotate({name: Simulated(1e-3, world, name=name) for name in "abc"})
    assert "".join(world.log).endswith("abc" * timing.ROUNDS)


def test_ranks_under_drift_are_right_because_of_the_rotation() -> None:
    """A chip that gets slower by a tenth each second; contenders that differ by 2 %, the slowest first."""
    calls = {"slowest": 1.04e-3, "middle": 1.02e-3, "fastest": 1e-3}

    def heating(now_s: float) -> float:
        return 1 + 0.1 * now_s

    world = World(heating)
    alone = {name: timing.measure(Simulated(s, world, name=name)).median_s for name, s in calls.items()}
    assert sorted(alone, key=alone.__getitem__) == ["slowest", "middle", "fastest"]  # wrong: as they came
    world = World(heating)
    turns = timing.rotate({name: Simulated(s, world, name=name) for name, s in calls.items()})
    medians = {name: one.median_s for name, one in turns.items()}
    assert sorted(medians, key=medians.__getitem__) == ["fastest", "middle", "slowest"]
    for name in calls:
        assert medians[name] / medians["fastest"] == pytest.approx(calls[name] / 1e-3, rel=0.01)


def test_nothing_to_time() -> None:
    assert timing.rotate({}) == {}
