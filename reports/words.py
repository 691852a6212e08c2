"""Numbers and names as reports write them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..simulator.prediction import Prediction, plain

PREFIXES = (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3))


def amount(value: float | None, unit: str = "") -> str:
    """A count, size or rate with three digits and an SI prefix.

    >>> amount(2.38e15, "FLOP/s"), amount(512, "FLOP"), amount(None)
    ('2.38 PFLOP/s', '512 FLOP', '-')
    """
    if value is None:
        return "-"
    for prefix, factor in PREFIXES:
        if value >= factor * 0.9995:
            return f"{_digits(value / factor)} {prefix}{unit}"
    return f"{_digits(value)} {unit}".rstrip()


def seconds(value: float | None) -> str:
    """A time with three digits and its unit.

    >>> seconds(7.25e-4), seconds(2.0), seconds(None)
    ('725 us', '2 s', '-')
    """
    if value is None:
        return "-"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * factor >= 0.9995:
            return f"{_digits(value * factor)} {unit}"
    return f"{_digits(value * 1e9)} ns"


def times(value: float | None) -> str:
    """A speedup."""
    return "-" if value is None else f"{value:.2f}x" if value < 100 else f"{value:,.0f}x"


def number(value: float | None) -> str:
    """A ratio with three digits."""
    return "-" if value is None else _digits(value)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "variant"), plural(3, "variant")
    ('1 variant', '3 variants')
    """
    return f"{count} {noun}" + ("" if count == 1 else "s")


def file_name(*parts: str) -> str:
    """Parts of a name as that of a file, whatever a profile is called.

    >>> file_name("ladder", "My Chip/1")
    'ladder-my-chip-1'
    """
    return re.sub(r"[^a-z0-9._]+", "-", "-".join(parts).lower()).strip("-.")


def sizes(row: Mapping[str, Any]) -> str:
    """The problem of a measured row, as short as it can be.

    >>> sizes({"batch": 2, "heads": 32, "kv_heads": 8, "seq": 1, "kv_len": 4096, "head_dim": 128, "window": 0})
    'B2 H32/8 N1 M4096 d128'
    """
    window = f" w{row['window']}" if row["window"] else ""
    heads = f"H{row['heads']}/{row['kv_heads']}"
    return f"B{row['batch']} {heads} N{row['seq']} M{row['kv_len']} d{row['head_dim']}{window}"


def workload(p: Prediction) -> str:
    """The problem in a line."""
    q = p.problem
    heads = plural(q.heads, "head") + (f" ({q.kv_heads} kv)" if q.kv_heads != q.heads else "")
    shape = "x".join(map(str, q.shape))
    if q.kv_len == q.queries:
        tokens = [f"{shape} token" + ("" if q.queries == 1 else "s")]
    else:
        tokens = [f"{shape} " + ("query" if q.queries == 1 else "queries"), plural(q.kv_len, "key")]
    width = f"head_dim {q.head_dim}" + (f"/{q.v_dim}" if q.v_dim != q.head_dim else "")
    dtype = q.dtype + (f" (kv {q.kv_dtype})" if q.kv_dtype != q.dtype else "")
    parts = [f"batch {q.batch}", heads, *tokens, width, dtype, q.direction, "causal" if q.causal else "not causal"]
    if q.documents is not None:
        parts.append(plural(len(q.documents), "document"))
    if q.page_size:
        parts.append(f"pages of {q.page_size}")
    return ", ".join([*parts, f"{q.cache} cache"])


def kernel(p: Prediction) -> str:
    """The implementation and its tile."""
    chosen = p.chosen
    if chosen.implementation is None:
        return "none known"
    tile = p.tile
    if tile is None:
        return chosen.implementation.name
    return f"{chosen.implementation.name}, {'x'.join(map(str, tile['query']))} by {'x'.join(map(str, tile['key']))}"


def parameters(p: Prediction) -> str:
    """The parameters of a variant, those left to their default out."""

    def text(value: Any) -> str:
        return "x".join(map(str, value)) if isinstance(value, list) else str(value)

    values = {name: plain(value) for name, value in p.variant.parameters().items() if value is not None}
    return ", ".join(f"{name}={text(value)}" for name, value in values.items())
