"""Measured times in CSV files beside what `predict` says of each: a user's own, or published ones.

A table of one's own is read by `user_calibration`. A table of published times names the chip in each row: chip,
variant, parameters (NAME=VALUE;...), implementation, direction, causal, dtype, batch, heads, kv_heads, shape, kv_len,
head_dim, v_dim, q_tile, kv_tile, time_s, kernel (as its source calls it) and source. Rows count as zero-shot, but for
those that a profile of one's own may be fitted to. Times are of repeated calls: the cache is warm.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..simulator import api
from ..simulator.errors import InputError
from ..simulator.hardware import Hardware
from ..simulator.variants import parse_value
from .silicon import SPLITS, Floats, Table
from .user_calibration import read_timings
from .user_calibration import tables as own_tables
from .validate import Checked

PUBLISHED = ("chip", "variant", "direction", "causal", "dtype", "batch", "heads", "kv_heads", "shape", "kv_len",
             "head_dim", "v_dim", "time_s", "kernel")  # fmt: skip
"""Columns that a table of published times must have."""
COUNTS = ("batch", "heads", "kv_heads", "head_dim", "v_dim")
TILES = ("q_tile", "kv_tile")
Arguments = dict[str, Any]


def check(path: Path, chips: Mapping[str, Hardware] | None = None) -> dict[str, list[Checked]]:
    """Chip -> the tables of a file with their predictions. chips: the one of a table of one's own; else those wanted.

    Raises InputError for a file that is none, a row that no number can be read of, a chip that has no row.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            heads = [name.strip() for name in next(csv.reader(file), [])]
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from None
    if not heads:
        raise InputError(f"{path.name} is empty")
    if "variant" in heads:
        return _published(path, heads, chips)
    rows = read_timings(path, fewest=1)
    if chips is None or len(chips) != 1:
        raise InputError(f"{path.name} names no chip: give the one that was measured with --hw")
    return {name: _own(rows, chip) for name, chip in chips.items()}


def _own(rows: Sequence[Mapping[str, Any]], hardware: Hardware) -> list[Checked]:
    """The tables of a user's own timings."""
    return [
        _checked(table, hardware, [_of_row(table, index) for index in range(len(table))])
        for table in own_tables(rows, hardware)
    ]


def _of_row(table: Table, index: int) -> Arguments:
    """Arguments of `predict` for a row of a user's table."""
    counts = (*COUNTS, "seq", "kv_len")
    arguments: Arguments = {name: int(getattr(table, name)[index]) for name in counts}
    arguments |= {"dtype": table.dtype, "kv_dtype": table.kv_dtype, "causal": table.operation != "encoder"}
    window = int(table.window[index])
    arguments |= {"variant": "sliding-window", "window": window} if window else {"variant": "mha"}
    return arguments | ({"implementation": table.kernel_source} if table.kernel_source else {})


def _published(path: Path, heads: Sequence[str], chips: Mapping[str, Hardware] | None) -> dict[str, list[Checked]]:
    """The tables of published times, by chip."""
    missing = [name for name in PUBLISHED if name not in heads]
    if missing:
        raise InputError(f"{path.name} is no table of published times: it lacks {', '.join(missing)}")
    groups: dict[tuple[str, ...], list[dict[str, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), 2):
            texts = {name: (value or "").strip() for name, value in row.items() if name} | {"line": str(line)}
            kind = ("chip", "kernel", "variant", "parameters", "implementation", "direction", "causal", "dtype")
            groups.setdefault(tuple(texts.get(name, "") for name in kind), []).append(texts)
    found: dict[str, list[Checked]] = {}
    for (chip, *_), rows in groups.items():
        if chips is None or chip in chips:
            profile = api.load_hardware(chip) if chips is None else chips[chip]
            found.setdefault(chip, []).append(_published_table(path, rows, profile))
    for chip in chips or ():
        if chip not in found:
            raise InputError(f"{path.name} has no row of {chip!r}; it has {', '.join(sorted({k[0] for k in groups}))}")
    if not found:
        raise InputError(f"{path.name} has no row")
    return found


def _published_table(path: Path, rows: Sequence[Mapping[str, str]], hardware: Hardware) -> Checked:
    """Rows of one kernel on one chip."""
    arguments = []
    for row in rows:
        try:
            arguments.append(_of_text(row))
        except (ValueError, KeyError) as error:
            raise InputError(f"{path.name}, line {row['line']}: {error}") from None
    first, size = rows[0], len(rows)
    operation = f"{first['variant']} {first['direction']}" + (" causal" if first["causal"] == "true" else "")
    columns: dict[str, Any] = {name: np.array([a[name] for a in arguments], dtype=np.float64) for name in COUNTS}
    seq = np.array([math.prod(a["shape"]) for a in arguments], dtype=np.float64)
    table = Table(
        chip=hardware.name, framework=first["kernel"], version="", operation=operation,
        kernel_source=first.get("implementation", ""), dtype=first["dtype"], kv_dtype=first["dtype"],
        label_dtype=first["dtype"], path="", seq=seq,
        kv_len=np.array([a.get("kv_len", n) for a, n in zip(arguments, seq, strict=True)], dtype=np.float64),
        v_in_k=False, window=np.zeros(size), chunk=np.zeros(size),
        latency_s=np.array([float(row["time_s"]) for row in rows]), key=np.arange(size, dtype=np.uint64),
        split=np.zeros(size, dtype=np.uint8), excluded=np.zeros(size, dtype=np.bool_),
        reasons={}, **columns,
    )  # fmt: skip
    return _checked(table, hardware, arguments)


def _of_text(row: Mapping[str, str]) -> Arguments:
    """Arguments of `predict` for a published row. Raises ValueError for a number that is none."""
    arguments: Arguments = {name: int(row[name]) for name in COUNTS}
    arguments |= {"variant": row["variant"], "dtype": row["dtype"], "direction": row["direction"]}
    arguments["shape"] = tuple(int(side) for side in row["shape"].split("x"))
    if row["variant"] == "mha":
        arguments["causal"] = row["causal"] == "true"
    if row["kv_len"] and len(arguments["shape"]) == 1:
        arguments["kv_len"] = int(row["kv_len"])
    arguments |= {n: tuple(int(side) for side in row[n].split("x")) for n in TILES if row.get(n)}
    if row.get("implementation"):
        arguments["implementation"] = row["implementation"]
    for pair in filter(None, row.get("parameters", "").split(";")):
        name, _, value = pair.partition("=")
        arguments[name] = parse_value(value)
    if not 0 < float(row["time_s"]) < math.inf:
        raise ValueError(f"time_s is {row['time_s']!r}")
    return arguments


def _checked(table: Table, hardware: Hardware, rows: Sequence[Arguments]) -> Checked:
    """A table with what `predict` says of each row; NaN where no known kernel takes it.

    Rows count as calibration where the profile itself holds constants of their kernel: they may be what it was fitted
    to.
    """
    known: dict[str, Mapping[str, float | str | None]] = {}
    found = [known.get(repr(row)) or known.setdefault(repr(row), _predicted(row, hardware)) for row in rows]

    def column(name: str) -> Floats:
        return np.array([math.nan if one[name] is None else one[name] for one in found], dtype=np.float64)

    names = np.array([one["implementation"] for one in found], dtype=object)
    fitted = np.array([name in hardware.calibration for name in names], dtype=np.bool_)
    split = np.where(fitted, SPLITS.index("calibration"), SPLITS.index("zero-shot")).astype(np.uint8)
    return Checked(
        replace(table, split=split), column("roofline"), column("tiles"), column("schedule"), names, column("schedule"),
        column("low"), column("high"),
    )  # fmt: skip


def _predicted(arguments: Arguments, hardware: Hardware) -> Mapping[str, float | str | None]:
    """Seconds of the rungs and of the expected range, and the kernel; None where there is none."""
    names = ("roofline", "tiles", "schedule", "low", "high", "implementation")
    try:
        p = api.predict(hardware=hardware, cache="warm", **arguments)
    except InputError:
        return dict.fromkeys(names)
    ladder = p.to_dict()["ladder"]
    kernel = p.chosen.implementation
    seconds = [(ladder[rung] or {}).get("time_s") for rung in names[:3]]  # a chip may lack the numbers of a floor
    schedule = ladder["schedule"] or {}
    values = (*seconds, schedule.get("low_s"), schedule.get("high_s"), kernel.name if kernel else None)
    return dict(zip(names, values, strict=True))
