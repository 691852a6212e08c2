"""Arithmetic that reads the same for ints, numpy arrays and sympy symbols.

Every cost expression of attnsim is written once, with `+ - *` and the functions below. Built-in `max`,
`if` and `//` fail on symbols or wrap silently in int64 arrays; these do not. Arrays are float64: sizes are
integers below 2**53, so sums and products of them stay exact where it matters and never wrap.

`Number` is an int (exact), a float, a float64 array, or a sympy expression. sympy is imported only when a
symbol is actually met.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Number = Any
"""int, float, float64 array or sympy expression; checkers cannot express the union usefully."""


def is_symbol(x: Number) -> bool:
    """Whether x is a sympy expression (asked without importing sympy)."""
    return hasattr(x, "free_symbols")


_NUMBERS = frozenset((int, float, bool, np.ndarray, np.float64, np.bool_))


def _any_symbol(*xs: Number) -> bool:
    # Of numbers the type tells at once; asking for an attribute that is missing is slow.
    return any(type(x) not in _NUMBERS and hasattr(x, "free_symbols") for x in xs)


def floor_div(a: Number, b: Number) -> Number:
    """floor(a / b) for b > 0. Exact for ints and for arrays of integers below 2**52 / b."""
    if type(a) is int and type(b) is int:
        return a // b
    if _any_symbol(a, b):
        import sympy

        return sympy.floor(sympy.sympify(a) / b)
    return np.floor(np.asarray(a, dtype=np.float64) / b)


def ceil_div(a: Number, b: Number) -> Number:
    """ceil(a / b) for b > 0."""
    if type(a) is int and type(b) is int:
        return -(-a // b)
    if _any_symbol(a, b):
        import sympy

        return sympy.ceiling(sympy.sympify(a) / b)
    return np.ceil(np.asarray(a, dtype=np.float64) / b)


def ceil_to(a: Number, b: Number) -> Number:
    """The smallest multiple of b that is not below a."""
    return ceil_div(a, b) * b


def half(a: Number) -> Number:
    """a / 2 where a is known to be even (keeps ints exact, leaves no floor in a symbol)."""
    return a // 2 if type(a) is int else a / 2


def maximum(a: Number, b: Number) -> Number:
    """Elementwise max."""
    if type(a) in (int, float) and type(b) in (int, float):
        return a if a >= b else b
    if _any_symbol(a, b):
        import sympy

        return sympy.Max(a, b)
    return np.maximum(a, b)


def minimum(a: Number, b: Number) -> Number:
    """Elementwise min."""
    if type(a) in (int, float) and type(b) in (int, float):
        return a if a <= b else b
    if _any_symbol(a, b):
        import sympy

        return sympy.Min(a, b)
    return np.minimum(a, b)


def clip(x: Number, low: Number, high: Number) -> Number:
    """min(max(x, low), high): `high` wins where the two cross."""
    return minimum(maximum(x, low), high)


def where(condition: Any, a: Number, b: Number) -> Number:
    """a where the condition holds, else b. Both sides are evaluated. Symbols give a Piecewise."""
    if condition is True or condition is False:
        return a if condition else b
    if _any_symbol(condition, a, b):
        import sympy

        return sympy.Piecewise((a, condition), (b, True))
    if isinstance(condition, np.bool_):
        return a if condition else b
    return np.where(condition, a, b)


def log2(x: Number) -> Number:
    """Base-2 logarithm."""
    if type(x) in (int, float):
        return math.log2(x)
    if is_symbol(x):
        import sympy

        return sympy.log(x, 2)
    return np.log2(x)
