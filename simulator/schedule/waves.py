"""How work items fill a chip: whole waves, unequal tiles, and the tail they leave."""

from __future__ import annotations

from ..algebra import Number, ceil_div, maximum, where


def filled(total: Number, longest: Number, items: Number, slots: Number, tail: Number, equal: Number) -> Number:
    """Time for `items` work items of `total` work and `longest` single item on `slots` equal workers.

    Equal items (`equal`) run in whole waves: ceil(items / slots) of them. Unequal ones are handed out as
    workers become free; the last to finish leave `tail` of the longest item idle elsewhere (list
    scheduling, Graham 1969, bounds that share by 1 - 1/slots). Fewer items than workers: the longest.
    """
    waves = ceil_div(items, slots) * slots / items
    uneven = maximum(longest, total / slots + tail * longest)
    return where(items <= slots, longest, where(equal, total / slots * waves, uneven))
