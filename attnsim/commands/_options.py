"""Options that commands share: how sizes, tiles, times and parameters are typed, and how output is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from .._files import write_file
from ..simulator.errors import InputError

SUFFIXES = {"k": 2**10, "m": 2**20, "g": 2**30}
BUDGET_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}
SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}


def parse_size(name: str, text: str) -> int:
    """A whole number; `8k` is 8192, `1M` 2**20. Raises InputError."""
    word = text.strip().lower()
    factor = SUFFIXES.get(word[-1:], 1)
    digits = word[:-1] if factor > 1 else word
    try:
        value = int(digits)
    except ValueError:
        raise InputError(f"{name} is {text!r}; allowed: a whole number such as 8192, 8k or 1M") from None
    return value * factor


def parse_sides(name: str, text: str) -> tuple[int, ...]:
    """Whole numbers joined by x, such as 30x48x80."""
    return tuple(parse_size(name, side) for side in text.lower().split("x"))


def parse_time(name: str, text: str) -> float:
    """Seconds from `135ms`, `42us` or `0.5s`. Raises InputError."""
    return _seconds(name, text, SECONDS, "135ms, 42us or 0.5s")


def parse_budget(text: str) -> float:
    """Seconds from `90s`, `9m` or `1.5h`. Raises InputError."""
    return _seconds("budget", text, BUDGET_SECONDS, "90s, 9m or 1.5h")


def _seconds(name: str, text: str, units: dict[str, float], such: str) -> float:
    """A number with the first of the units that it ends in. Raises InputError."""
    word = text.strip().lower()
    unit = next((u for u in units if word.endswith(u)), None)
    try:
        value = float(word[: -len(unit)]) if unit else float("nan")
    except ValueError:
        value = float("nan")
    if unit is None or not 0 < value < float("inf"):
        raise InputError(f"{name} is {text!r}; allowed: a time above 0 with its unit, such as {such}")
    return value * units[unit]


def names(option: str, text: str | None) -> list[str] | None:
    """Names joined by commas, or None where the option is not given. Raises InputError where none is named."""
    return None if text is None else _names(option, text)


def _names(option: str, text: str) -> list[str]:
    given = [name.strip() for name in text.split(",") if name.strip()]
    if not given:
        raise InputError(f"{option} names nothing")
    return given


def parse_chips(text: str) -> list[str]:
    """Chips joined by commas, or `all` that there are. Raises InputError where none is named."""
    if text.strip().lower() == "all":
        from ..simulator.hardware import Hardware

        return Hardware.names()
    return list(dict.fromkeys(_names("--hw", text)))


def parse_pairs(option: str, pairs: Iterable[str]) -> dict[str, str]:
    """name=value options as a dictionary."""
    result = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise InputError(f"{option} {pair!r}; allowed: NAME=VALUE")
        result[name.strip().replace("-", "_")] = value.strip()
    return result


def parse_parameters(pairs: Iterable[str]) -> dict[str, Any]:
    """-p options: numbers, flags, tuples joined by x, or text."""
    from ..simulator.variants import parse_value

    return {name: parse_value(value) for name, value in parse_pairs("-p", pairs).items()}


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """--set options: profile numbers."""
    return dict(parse_pairs("--set", pairs))


def problem_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that state a problem."""
    options = [
        click.option("--batch", metavar="B", help="Sequences (default 1)."),
        click.option("--heads", metavar="H", help="Query heads (default 32)."),
        click.option("--kv-heads", metavar="G", help="Key and value heads (default: heads)."),
        click.option("--seq", metavar="N", help="Query tokens, one axis (default 8192; 8k and 1M are understood)."),
        click.option("--shape", metavar="TxHxW", help="Query tokens along 1 to 3 axes."),
        click.option("--kv-len", metavar="M", help="Keys (default: seq). Decoding: --seq 1 --kv-len 8k."),
        click.option("--head-dim", metavar="D", help="Width of a query and key head (default 128)."),
        click.option("--v-dim", metavar="DV", help="Width of a value head (default: head-dim)."),
        click.option("--dtype", help="Operands: fp32 tf32 bf16 fp16 fp8 int8 mxfp8 fp6 fp4 ... (default bf16)."),
        click.option("--kv-dtype", help="Keys and values as stored (default: dtype)."),
        click.option("--direction", help="forward (default) or backward."),
        click.option("--causal/--no-causal", default=None, help="Queries see no later keys."),
        click.option("--page-size", metavar="TOKENS", help="Tokens a page of a paged KV cache."),
        click.option("--documents", metavar="N,N,..", help="Lengths of a ragged batch, in place of --seq."),
        click.option("--cache", help="cold (default): operands come from HBM; warm: what fits is in the L2."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def tile_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that state a tile."""
    options = [
        click.option("--tile", metavar="QxK", help="Tile of flattened tokens, multiples of 16."),
        click.option("--q-tile", metavar="AxBxC", help="Query tile along the axes."),
        click.option("--kv-tile", metavar="AxBxC", help="Key tile along the axes."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def tile_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `predict` from the options of `tile_options` (those not given are left out)."""
    names = ("tile", "q_tile", "kv_tile")
    return {name: parse_sides(name.replace("_", "-"), given[name]) for name in names if given.get(name) is not None}


SIZES = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "v_dim", "page_size")


def problem_arguments(given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `predict` from the options of `problem_options` (those not given are left out)."""
    result: dict[str, Any] = {}
    for name in SIZES:
        if given.get(name) is not None:
            result[name] = parse_size(name.replace("_", "-"), given[name])
    if given.get("shape") is not None:
        result["shape"] = parse_sides("shape", given["shape"])
    if given.get("documents") is not None:
        result["documents"] = [parse_size("documents", n) for n in given["documents"].split(",")]
    for name in ("dtype", "kv_dtype", "direction", "causal", "cache"):
        if given.get(name) is not None:
            result[name] = given[name]
    return result


def write_output(text: str, path: str | None) -> None:
    """To standard output, or to a file, whole or not at all. Raises InputError where the file cannot be written."""
    if path is None:
        click.echo(text, nl=not text.endswith("\n"))
        return
    write_file(Path(path), (text if text.endswith("\n") else text + "\n").encode())
