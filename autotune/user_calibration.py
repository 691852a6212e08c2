"""Fits the predictions for a user's own chip to times that they measured, thirty of them or more.

A table of timings (CSV) has a row a call: `heads`, `head_dim`, `seq` (queries) and the time (`time_s`, `time_ms` or
`time_us`); `batch`, `kv_heads`, `kv_len`, `v_dim`, `causal`, `window`, `dtype`, `kv_dtype` and `implementation` where
they differ from the defaults of `predict` (causal: true). Rows of one query are decoding, the others prefill; where no
implementation is named, the known kernel that explains the rows best is taken.

The constants start from what is known of the kernel on the nearest generation and move as far as the rows compel them.
How good the fit is, rows tell that it has not seen: it is fitted FOLDS times, each time without a part of them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..simulator import implementations
from ..simulator.calibration import UNKNOWN, Constants, Fitted, document, load, path_of, read
from ..simulator.calibration.overhead import SCALARS, Overhead
from ..simulator.errors import InputError, unknown
from ..simulator.hardware import Hardware
from ..simulator.problem import DTYPE_BITS
from .calibrate import Sample, errors, sample, solve
from .calibration_files import inline_tables, regions, rounded
from .silicon import Floats, Table
from .silicon.kernels import KERNELS

SIZES = {"batch": 1, "heads": None, "kv_heads": None, "seq": None, "kv_len": None, "head_dim": None, "v_dim": None,
         "window": 0}  # fmt: skip
"""Whole numbers of a row, and what stands for one that is not given (None: another column, or it must be given)."""
TIMES = {"time_s": 1.0, "time_ms": 1e-3, "time_us": 1e-6}
TEXTS = ("dtype", "kv_dtype", "causal", "implementation")
FOLDS = 5
FEWEST_ROWS = 10
PULL = 0.15
"""Weight of a constant's distance from where it starts: some 8 % of a row's error for half of its value."""
PULL_OF_FEW = 0.5
"""The same where a few rows only move an overhead that others have shown."""
USUAL = (
    Fitted("matrix_efficiency", 0.1, 1.0, 0.7), Fitted("softmax_exposed", 0.0, 1.0, 0.5),
    Fitted("cta_clocks", 0.0, 30000.0, 2500.0), Fitted("tail", 0.0, 2.0, 0.5),
    Fitted("sm_bytes_per_clock", 4.0, 128.0, 40.0), Fitted("item_clocks", 0.0, 20000.0, 4000.0),
)  # fmt: skip
"""What is fitted of a kernel whose calibration says nothing of it."""


@dataclass(frozen=True, slots=True, eq=False)
class UserFit:
    """A kernel fitted to a user's rows. ratios: measured over predicted, of every row by a fit without it."""

    implementation: str
    rows: int
    constants: Constants
    started: Constants
    fitted: tuple[Fitted, ...]
    overhead: Overhead
    ratios: Floats
    predicted_s: Floats


def read_timings(path: Path, fewest: int = FEWEST_ROWS) -> list[dict[str, Any]]:
    """The rows of a table of timings, checked. Raises InputError that names the line, or where they are too few."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            names = [name.strip() for name in reader.fieldnames or ()]
            known = (*SIZES, *TIMES, *TEXTS)
            for name in names:
                if name not in known:
                    raise InputError(f"{path.name}: {unknown('column', name, known)}")
            for needed in ("heads", "head_dim", "seq"):
                if needed not in names:
                    raise InputError(f"{path.name} has no column {needed!r}")
            if sum(name in names for name in TIMES) != 1:
                raise InputError(f"{path.name} needs one column of times: {', '.join(TIMES)}")
            reader.fieldnames = names
            rows = [_row(f"{path.name}, line {number}", row) for number, row in enumerate(reader, 2)]
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {str(path)!r}: {error}") from None
    if len(rows) < fewest:
        raise InputError(f"{path.name} has {len(rows)} rows; {fewest} or more are needed")
    return rows


def _row(where: str, given: Mapping[str, str | None]) -> dict[str, Any]:
    """One row with its defaults in place."""
    texts = {name: (value or "").strip() for name, value in given.items() if name}
    row: dict[str, Any] = {}
    for name, usual in SIZES.items():
        text = texts.get(name, "")
        value = usual if not text else _number(where, name, text)
        if value is not None and (value != int(value) or value < (0 if name == "window" else 1)):
            raise InputError(f"{where}: {name} is {text!r}; allowed: a whole number")
        row[name] = value
    for name, other in (("kv_heads", "heads"), ("kv_len", "seq"), ("v_dim", "head_dim")):
        row[name] = row[other] if row[name] is None else row[name]
    if any(row[name] is None for name in ("heads", "seq", "head_dim")):
        raise InputError(f"{where}: heads, seq and head_dim must be given")
    if row["heads"] % row["kv_heads"]:
        raise InputError(f"{where}: heads is {row['heads']}, no multiple of kv_heads {row['kv_heads']}")
    name = next(name for name in TIMES if name in texts)
    row["time_s"] = _number(where, name, texts[name]) * TIMES[name]
    if not 0 < row["time_s"] < 1e4:
        raise InputError(f"{where}: {name} is {texts[name]!r}; allowed: a time above 0")
    row["dtype"] = texts.get("dtype") or "bf16"
    row["kv_dtype"] = texts.get("kv_dtype") or row["dtype"]
    for kind in ("dtype", "kv_dtype"):
        if row[kind] not in DTYPE_BITS:
            raise InputError(f"{where}: {unknown(kind, row[kind], DTYPE_BITS)}")
    causal = texts.get("causal", "").lower() or "true"
    if causal not in ("true", "false", "1", "0"):
        raise InputError(f"{where}: causal is {causal!r}; allowed: true, false")
    row["causal"] = causal in ("true", "1")
    row["implementation"] = implementations.get(texts["implementation"]).name if texts.get("implementation") else ""
    return row


def _number(where: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{where}: {name} is {text!r}; allowed: a number") from None


def tables(rows: Sequence[Mapping[str, Any]], hardware: Hardware) -> list[Table]:
    """The rows as tables: one for each operation, types and implementation."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        operation = "decode" if row["seq"] == 1 else "context" if row["causal"] else "encoder"
        groups.setdefault((operation, row["dtype"], row["kv_dtype"], row["implementation"]), []).append(row)
    found = []
    for (operation, dtype, kv_dtype, kernel), members in groups.items():
        size = len(members)
        columns: dict[str, Any] = {name: np.array([row[name] for row in members], dtype=np.float64) for name in SIZES}
        found.append(Table(
            chip=hardware.name, framework="", version="", operation=operation, kernel_source=kernel, dtype=dtype,
            kv_dtype=kv_dtype, label_dtype=dtype, path="", v_in_k=False, chunk=np.zeros(size),
            latency_s=np.array([row["time_s"] for row in members]), key=np.arange(size, dtype=np.uint64),
            split=np.zeros(size, dtype=np.uint8), excluded=np.zeros(size, dtype=np.bool_), reasons={}, **columns,
        ))  # fmt: skip
    return found


def fit(measured: Sequence[Table], hardware: Hardware) -> list[UserFit]:
    """The best kernel for the rows of many queries and for those of one, each with its constants.

    Too few rows of one kind to fit take the kernel that explains them best as it is, and an overhead near the others'.
    Raises InputError where no known kernel of the chip takes all rows of a kind.
    """
    kinds = [[table for table in measured if (table.operation == "decode") == decode] for decode in (False, True)]
    found: list[UserFit] = []
    for some in sorted(filter(None, kinds), key=lambda tables: -sum(map(len, tables))):
        named = sorted({table.kernel_source for table in some})
        if len(named) > 1:
            raise InputError(
                f"rows of one kind name several implementations: {', '.join(name or '(none)' for name in named)}"
            )
        single = all(table.operation == "decode" for table in some)
        names = (
            [named[0]]
            if named[0]
            else [one.name for one in map(implementations.get, implementations.names()) if one.splits_keys == single]
        )
        few = None
        if found and sum(map(len, some)) < FEWEST_ROWS:
            few = found[0].overhead
            names = [name for name in names if name in companions(found[0].implementation)] or names
        fits = [one for one in (_fit_kernel(some, hardware, name, few) for name in names) if one is not None]
        if not fits:
            kinds_named = " and ".join(sorted({table.operation for table in some}))
            raise InputError(f"no known kernel for {hardware.generation} chips takes all rows of {kinds_named}")
        found.append(min(fits, key=lambda one: float(np.abs(np.log(one.ratios)).mean())))
    return found


def companions(name: str) -> set[str]:
    """Kernels that some framework runs beside one, by what its operations are made of."""
    sets = [kernels for sources in KERNELS.values() for kernels in sources.values() if name in kernels]
    return {other for kernels in sets for other in kernels if other != name}


def _fit_kernel(
    measured: Sequence[Table], hardware: Hardware, name: str, near: Overhead | None
) -> UserFit | None:  # fmt: skip
    """One kernel fitted to the rows, None where it does not take all of them. near: what alone is fitted, an overhead,
    starts there."""
    table = measured[0]
    kernel = implementations.get(name)
    kind = ("forward", table.dtype, table.kv_dtype)
    started = load(kernel.calibration or name, hardware.generation, *kind)
    path = path_of(kernel.calibration or name, hardware.generation, *kind)
    if started is None or path is None:
        return None
    samples = []
    for each in measured:
        made = sample(each, name, hardware, np.ones(len(each), dtype=np.bool_), kernels=(name,))
        if made is None or len(made.rows) < len(each):
            return None
        # One overhead for all rows of a kernel: the user's program, whatever it does around it.
        samples.append(replace(made, key=("", "", hardware.generation, "", name, "")))
    fitted: tuple[Fitted, ...] = ()
    if near is None:
        fitted = tuple(replace(f, start=min(max(getattr(started, f.name), f.low), f.high)) for f in _free(path))
    constants, overhead = _solved(started, fitted, samples, near)
    ratios, predicted = [], []
    for one in samples:
        fold = np.arange(len(one.rows)) % FOLDS
        seen = np.empty(len(one.rows))
        for number in range(FOLDS):
            others = [kept(other, np.arange(len(other.rows)) % FOLDS != number) for other in samples]
            seen[fold == number] = one.seconds(*_solved(started, fitted, others, near))[fold == number]
        ratios.append(one.latency_s / seen)
        predicted.append(seen)
    size = sum(len(one.rows) for one in samples)
    return UserFit(name, size, constants, started, fitted, overhead, np.concatenate(ratios), np.concatenate(predicted))


def _free(path: Path) -> tuple[Fitted, ...]:
    """What a calibration file fits (or the one that it takes over) and, of a chip never seen, the matrix share."""
    fitted = read(path)[1]
    while not fitted and (parent := document(path).get("inherits")):
        path = path.with_name(f"{parent}.toml")
        fitted = read(path)[1]
    fitted = fitted or USUAL
    return fitted if any(f.name == "matrix_efficiency" for f in fitted) else (*fitted, USUAL[0])


def _solved(
    started: Constants, fitted: Sequence[Fitted], samples: Sequence[Sample], near: Overhead | None
) -> tuple[Constants, Overhead]:
    usual = {} if near is None else {scalar: getattr(near, scalar) for scalar in SCALARS}
    constants, overheads = solve(started, fitted, samples, PULL if near is None else PULL_OF_FEW, usual)
    return constants, next(iter(overheads.values()))


def kept(one: Sample, chosen: Any) -> Sample:
    """A sample that counts only the chosen rows in a fit."""
    return replace(one, weight=np.asarray(chosen, np.float64))


def profile_text(given: str, fits: Sequence[UserFit], source: str) -> str:
    """The text of a chip's profile with the fitted constants in it: the user's own file with them added, or one that
    inherits from a shipped profile."""
    import tomlkit

    path = Path(given).expanduser()
    own = path.suffix == ".toml"
    document = tomlkit.parse(path.read_text(encoding="utf-8") if own else f'format = 1\ninherits = "{given}"\n')
    kernels = document.setdefault("calibration", tomlkit.table(is_super_table=True))
    for one in fits:
        table = tomlkit.table()
        table["source"] = f"fitted to {one.rows} rows of {source}"
        table["error_percent"] = rounded(errors(one.ratios)[0], 2)
        for each in one.fitted:
            table[each.name] = rounded(getattr(one.constants, each.name))
        table["interval"] = inline_tables(regions(one.predicted_s, one.ratios) or UNKNOWN)
        overhead = tomlkit.table()
        for scalar in SCALARS:
            overhead[scalar] = rounded(getattr(one.overhead, scalar))
        table["overhead"] = overhead
        kernels[one.implementation] = table
    return tomlkit.dumps(document)
