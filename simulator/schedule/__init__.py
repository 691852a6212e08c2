"""The `schedule` rung: what a kernel adds to its floor, as named, non-negative terms.

One file an execution style: `attention` (query tiles over the chip; forward and backward differ in constants
only), `split_kv` (few queries, keys split over the chip), `recurrent` (chunks with a carried state), `dense`
(products with weights, elementwise passes). All of them walk up from the floor of the same tiled counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..algebra import Number, maximum


@dataclass(slots=True)
class Walk:
    """Climbs from a floor to a schedule: each step adds what exceeds the level reached so far.

    >>> walk = Walk(2.0)
    >>> walk.raise_to("waves", 3.0, "last wave is not full")
    >>> walk.raise_to("tail", 2.5, "below what is reached: adds nothing")
    >>> walk.add("launch", 0.5, "one kernel")
    >>> walk.level, [(t.name, t.time_s) for t in walk.terms]
    (3.5, [('waves', 1.0), ('tail', 0.0), ('launch', 0.5)])
    """

    level: Number
    terms: list[Term] = field(default_factory=list)

    def raise_to(self, name: str, level: Number, reason: str) -> None:
        """Lift the level to at least `level`; the difference is the term."""
        higher = maximum(self.level, level)
        self.terms.append(Term(name, higher - self.level, reason))
        self.level = higher

    def add(self, name: str, seconds: Number, reason: str) -> None:
        """Add non-negative seconds on top."""
        self.terms.append(Term(name, seconds, reason))
        self.level = self.level + seconds


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One named, non-negative contribution to the schedule."""

    name: str
    time_s: Number
    reason: str
