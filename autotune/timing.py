"""How things are timed, whatever runs them: rounds in rotation, until they agree with themselves.

A `Timer` runs a batch of calls and says how long it took. A round is a batch of some 20 ms. Contenders are timed in
turn, round by round, so that a clock that drifts meets all alike. The halves of the rounds must agree within 5 %, or
all is timed again, a few times at most. Nothing measured is thrown away.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

ROUND_S = 0.02
"""Seconds that the calls of a round should take together."""
ROUNDS = 15
WARM_UP_S = 0.1
"""Seconds of calls before the first round that counts."""
MOST_CALLS = 500
"""In a round: what a GPU's queue of launches surely holds."""
STEADY = 0.05
"""Within which the medians of the first and the second half of the rounds must agree."""
TRIES = 3
"""How often all rounds are run until they do."""
HOPELESS = 3.0
"""A contender that takes so many times as long as the best so far is not timed after its first round."""
OUTLYING = 5.0
"""Scaled median absolute deviations from the median that make a round an outlier, if they are also OUTLYING_SHARE."""
OUTLYING_SHARE = 0.02
MAD_SCALE = 1.4826
"""Makes the median absolute deviation of normal noise its standard deviation."""

Key = TypeVar("Key", bound=Hashable)


class Timer(Protocol):
    """What is timed."""

    def seconds(self, calls: int, first: int) -> float:
        """Seconds that `calls` calls take together; `first`: how many there were before, which says whose turn it is
        among operands that rotate."""
        ...


@dataclass(frozen=True)
class Times:
    """seconds: of a call, one for every round that counts, in their order. calls: of a round. flags: "unsteady",
    "outliers", "stopped early". earlier: rounds that did not agree with themselves and were repeated. spent_s: all that
    was run, warm-up included."""

    seconds: tuple[float, ...]
    calls: int
    flags: tuple[str, ...] = ()
    earlier: tuple[float, ...] = ()
    spent_s: float = 0.0

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)


def measure(timer: Timer, *, best_s: float | None = None, rounds: int = ROUNDS) -> Times:
    """Time one thing. best_s: of the best so far, against which it may turn out hopeless."""
    return rotate({"": timer}, best_s=best_s, rounds=rounds)[""]


def rotate(
    contenders: Mapping[Key, Timer], *, best_s: float | None = None, rounds: int = ROUNDS, hopeless: float = HOPELESS
) -> dict[Key, Times]:
    """Time several things in turn: a round of each, then the next of each. hopeless: what takes so many times as long
    as the best is not timed further."""
    found = {key: _Contender(timer) for key, timer in contenders.items()}
    for one in found.values():
        one.warm_up()
    for _ in range(TRIES):
        running = [one for one in found.values() if not one.stopped]
        for one in running:
            one.begin()
        for _ in range(rounds):
            for one in running:
                if not one.stopped:
                    one.round()
            medians = [one.median_s for one in running if not one.stopped]
            best = min((*medians, *(() if best_s is None else (best_s,))), default=math.inf)
            for one in running:
                one.stop_if_above(hopeless * best)
        if all(one.steady for one in running):
            break
    return {key: one.times() for key, one in found.items()}


class _Contender:
    """A timer with its rounds."""

    def __init__(self, timer: Timer) -> None:
        self._timer = timer
        self.calls, self._done, self._spent_s = 1, 0, 0.0
        self.seconds, self.earlier = list[float](), list[float]()
        self.stopped = False

    def warm_up(self) -> None:
        """Run until caches and clocks are warm, and find how many calls make a round."""
        self._run(1)  # not looked at: whatever is done only once
        begin_s = self._spent_s
        while True:
            call_s = self._run(self.calls)
            self.calls = max(1, min(MOST_CALLS, round(ROUND_S / max(call_s, 1e-9))))
            if self._spent_s - begin_s >= WARM_UP_S or self._done >= 20 * MOST_CALLS:
                return

    def _run(self, calls: int) -> float:
        """Seconds of a call."""
        seconds = self._timer.seconds(calls, self._done)
        self._done += calls
        self._spent_s += seconds
        return seconds / calls

    def begin(self) -> None:
        """Start a series of rounds; the one before did not agree with itself."""
        self.earlier += self.seconds
        self.seconds = []

    def round(self) -> None:
        self.seconds.append(self._run(self.calls))

    @property
    def median_s(self) -> float:
        return statistics.median(self.seconds)

    def stop_if_above(self, limit_s: float) -> None:
        """After the first round alone: later ones are no reason to lose what was measured."""
        if len(self.seconds) == 1 and not self.earlier and self.seconds[0] > limit_s:
            self.stopped = True

    @property
    def steady(self) -> bool:
        return self.stopped or agrees(self.seconds)

    def times(self) -> Times:
        """All that is known. Rounds that never agreed count all alike."""
        flags = ["stopped early"] if self.stopped else [] if self.steady else ["unsteady"]
        seconds, earlier = tuple(self.seconds), tuple(self.earlier)
        if not self.steady:
            seconds, earlier = (*earlier, *seconds), ()
        if outliers(seconds):
            flags.append("outliers")
        return Times(seconds, self.calls, tuple(flags), earlier, self._spent_s)


def agrees(seconds: list[float] | tuple[float, ...]) -> bool:
    """Whether the medians of the two halves are within 5 % of each other.

    >>> agrees([1.0, 1.0, 1.04, 1.04]), agrees([1.0, 1.0, 1.06, 1.06]), agrees([1.0])
    (True, False, True)
    """
    half = len(seconds) // 2
    if not half:
        return True
    first, second = statistics.median(seconds[:half]), statistics.median(seconds[-half:])
    return abs(first - second) <= STEADY * min(first, second)


def outliers(seconds: list[float] | tuple[float, ...]) -> tuple[float, ...]:
    """Those far from the median, measured by the median distance from it.

    >>> outliers([1.0, 1.01, 0.99, 1.0, 1.5])
    (1.5,)
    """
    if len(seconds) < 3:
        return ()
    middle = statistics.median(seconds)
    deviation = statistics.median(abs(s - middle) for s in seconds) * MAD_SCALE
    far = max(OUTLYING * deviation, OUTLYING_SHARE * middle)
    return tuple(s for s in seconds if abs(s - middle) > far)
