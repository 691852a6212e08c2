"""Window parameters as users write them: left and right, or a width."""

from __future__ import annotations

from typing import Any

from ..algebra import Number, minimum
from ..errors import InputError
from ..problem import check_size


def window_sides(
    window: Any, left: Any, right: Any, causal: bool, default: int, limit: Number
) -> tuple[Number, Number]:
    """(left, right), the query itself not counted, from either form.

    `window` = w keys, the query among them: causal left = w - 1, right = 0; else centred, an even width
    looking one further left. Sides beyond the sequence are clamped to `limit` keys. Raises InputError for both
    forms at once and for a causal window that looks right.
    """
    if window is not None and (left is not None or right is not None):
        raise InputError("give window, or left and right, not both")
    if window is None and left is None and right is None:
        window = default
    if window is not None:
        window = check_size("window", window)
        left, right = (window - 1, 0) if causal else (window // 2, window - 1 - window // 2)
    else:
        left = limit if left is None else check_size("left", left, minimum=0)
        open_right = 0 if causal else limit
        right = open_right if right is None else check_size("right", right, minimum=0)
        if causal and right != 0:
            raise InputError(f"right is {right}; a causal window looks at no later key: right must be 0")
    return minimum(left, limit), minimum(right, limit)
