"""What `aiconfigurator` itself says of rows of its tables, offline: its speed of light, and its interpolation.

Its compiled engine answers single operators. Interpolation at a point of its own grid gives the measured value back, so
the package is asked four things of each row:

- sol: the roofline of the operator on the package's data sheet, no measurement;
- lookup: its table as installed, which contains the row: how exactly it returns what it knows, no prediction;
- left_out: the same table without the row (and without repetitions of it): interpolation between measured neighbours,
  the error that the package documents (context median 2.0 %, P90 9.7 %; decode 1.1 % inside, 9.7 % at the frontier);
- calibration: the table reduced to our calibration rows: the same engine with what our model was fitted on, the only
  one of its interpolations that compares with our error on held-out rows.

Tables with rows missing are written to a temporary folder, one for a table of ours (chip, version, kernel source and
types), so that no other kernel's time stands in for a missing one. Its prefill operator adds a constant 13 us of other
operators to the attention kernel; what it adds is measured at the rows themselves (median of lookup less latency) and
taken off. Its decode operators average over a range of sequence lengths, so that even a lookup is off by 0.2 to 0.7 %
(asked for one key more than a row has, `decode` is nearest to it), and raise rows to its speed of light, which knows no
warm L2: on L40S 12 to 24 % of the decode rows are faster, and a lookup returns up to five times the measured value.
"""

from __future__ import annotations

import functools
import importlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .silicon import CHIPS, PACKAGE, Floats, Table, data_directory

Rows = NDArray[np.int64]

LEFT_OUT_ONE_IN = 20
"""Share of a table that is taken out of it at a time, so that neighbours stay."""
DIRECTORIES = {name: directory for directory, name in CHIPS.items()}
LABELS = {"bf16": "bfloat16", "fp8": "fp8"}
MEASURED = ("silicon", "mixed")
"""Its words for an answer that rests on the table; others fall back to a formula."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Seconds for each row that was asked, NaN where the package has no answer."""

    sol_s: Floats
    lookup_s: Floats
    left_out_s: Floats
    calibration_s: Floats
    reasons: tuple[str, ...] = ()
    """Why answers are missing."""


@dataclass(frozen=True, slots=True)
class Question:
    """One operator as the package's engine takes it."""

    operator: str
    """JSON."""
    context: bool
    batch: int
    length: int


def aiconfigurator(table: Table, rows: Rows) -> Answers | str:
    """The package's answers about some rows of a table, or why it has none at all."""
    ask = OPERATORS.get(Path(table.path).stem)
    if ask is None:
        return f"it models {table.operation} only as a part of a layer"
    published = _published(table)
    if published is None:
        return "its file has other rows than the table"
    columns = {name: published[name].to_pylist() for name in published.column_names}
    asked = [ask(table, {name: values[row] for name, values in columns.items()}) for row in rows]
    reasons: dict[str, None] = {}
    with _engine(table, None, "SOL") as engine:
        sol = _answers(engine, asked, ("sol",), reasons)
    with _engine(table, published, "SILICON") as engine:
        lookup = _answers(engine, asked, MEASURED, reasons)
    left_out = np.full(len(rows), np.nan)
    for part in _parts(len(rows), max(1, len(table) // LEFT_OUT_ONE_IN)):
        others = ~np.isin(table.key, table.key[rows[part]])
        left_out[part] = _interpolated(table, published, others, [asked[i] for i in part], reasons)
    calibration = _interpolated(table, published, table.rows("calibration"), asked, reasons)
    added = _added(lookup, table.latency_s[rows]) if table.operation == "context" else 0.0
    return Answers(sol, lookup - added, left_out - added, calibration - added, tuple(reasons))


def _added(lookup_s: Floats, latency_s: Floats) -> float:
    """Seconds that the operator adds to the kernel."""
    known = ~np.isnan(lookup_s)
    return float(np.median((lookup_s - latency_s)[known])) if known.any() else 0.0


def _parts(size: int, most: int) -> list[Rows]:
    """The numbers below size in parts that take turns, none larger than most."""
    count = -(-size // most)
    return [np.arange(start, size, count) for start in range(count)]


def _interpolated(
    table: Table, published: Any, kept: NDArray[np.bool_], asked: list[Question], reasons: dict[str, None]
) -> Floats:
    if not kept.any():
        return np.full(len(asked), np.nan)
    with _engine(table, published.filter(_mask(kept)), "SILICON") as engine:
        return _answers(engine, asked, MEASURED, reasons)


def _mask(kept: NDArray[np.bool_]) -> Any:
    import pyarrow

    return pyarrow.array(kept)


def _answers(engine: Any, asked: list[Question], sources: tuple[str, ...], reasons: dict[str, None]) -> Floats:
    """Seconds of each question, NaN where the engine refuses or answers from another source."""
    seconds = np.full(len(asked), np.nan)
    for index, question in enumerate(asked):
        try:
            ((_, milliseconds, _, source),) = engine.evaluate_ops_json(
                question.operator, is_context=question.context, batch_size=question.batch, s=question.length
            )
        except (ValueError, RuntimeError) as error:
            reasons[str(error).split(";")[0].split(". ")[0][:160]] = None
            continue
        if source in sources:
            seconds[index] = milliseconds * 1e-3
        else:
            reasons[f"its engine reads no rows of this kernel and falls back to {source!r}"] = None
    return seconds


@contextmanager
def _engine(table: Table, published: Any, mode: str) -> Iterator[Any]:
    """The package's engine over a folder with one file of the published rows; without rows, over the data sheet."""
    import pyarrow.parquet as parquet

    sdk = _sdk("engine")
    database = SimpleNamespace(
        system=DIRECTORIES[table.chip], backend=table.framework, version=table.version, enable_shared_layer=False,
        get_default_database_mode=lambda: SimpleNamespace(name=mode),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        sheet = f"{database.system}.yaml"
        shutil.copyfile(data_directory().parent / sheet, Path(folder) / sheet)
        file = Path(folder) / "data" / table.path
        file.parent.mkdir(parents=True)
        if published is not None:
            parquet.write_table(published, file, compression="none")
        yield sdk.EngineHandle.for_database(database, systems_path=folder)


def _sdk(module: str) -> Any:
    """A module of the package, untyped."""
    return importlib.import_module(f"{PACKAGE}.sdk.{module}")


@functools.lru_cache(maxsize=1)
def _file(path: str) -> Any:
    import pyarrow.parquet as parquet

    return parquet.read_table(data_directory() / path)


def _published(table: Table) -> Any:
    """The rows of the package's file that a table of ours was made from, in the same order; None if they differ."""
    import pyarrow
    import pyarrow.compute as compute

    data = _file(table.path)
    choices = [{"kernel_source": table.kernel_source, "phase": phase} for phase in ("context", "generation", "verify")]
    if "phase" not in data.column_names:
        (label,) = (name for name in data.column_names if name in ("attn_dtype", "mla_dtype"))
        choices = [{"kernel_source": table.kernel_source, label: LABELS[table.label_dtype]}]
        if "kv_cache_dtype" in data.column_names:
            choices[0]["kv_cache_dtype"] = LABELS[table.kv_dtype]
    for choice in choices:
        rows = data
        for name, value in choice.items():
            rows = rows.filter(compute.equal(rows[name], pyarrow.scalar(value)))
        if np.array_equal(rows["latency"].to_numpy() * 1e-3, table.latency_s):
            return rows
    return None


def _question(operator: Any, context: bool, batch: int, length: int) -> Question:
    return Question(_sdk("engine").build_ops_json([operator]), context, int(batch), int(length))


def _cache(row: dict[str, Any]) -> Any:
    label = row.get("kv_cache_dtype", row.get("attn_dtype", row.get("mla_dtype")))
    return _sdk("common").KVCacheQuantMode[label]


def _context(table: Table, row: dict[str, Any]) -> Question:
    operator = _sdk("operations.attention").ContextAttention(
        "", 1.0, row["num_heads"], row["num_key_value_heads"], _cache(row),
        _sdk("common").FMHAQuantMode[row["attn_dtype"]], window_size=row.get("window_size", 0),
        head_size=row["head_dim"], lane_order=[table.kernel_source],
    )  # fmt: skip
    return _question(operator, True, row["batch_size"], row["isl"])


def _encoder(table: Table, row: dict[str, Any]) -> Question:
    operator = _sdk("operations.attention").EncoderAttention(
        "", 1.0, row["num_heads"], row["head_dim"], _sdk("common").FMHAQuantMode[row["attn_dtype"]]
    )
    return _question(operator, True, row["batch_size"], row["isl"])


def _decode(table: Table, row: dict[str, Any]) -> Question:
    operator = _sdk("operations.attention").GenerationAttention(
        "", 1.0, row["num_heads"], row["num_key_value_heads"], _cache(row), window_size=row.get("window_size", 0),
        head_size=row["head_dim"], lane_order=[table.kernel_source],
    )  # fmt: skip
    return _question(operator, False, row["batch_size"], row["isl"] + row["step"] + 1)


def _mla_context(table: Table, row: dict[str, Any]) -> Question:
    mode = _sdk("common").FMHAQuantMode[row["mla_dtype"]]
    operator = _sdk("operations.mla").ContextMLA("", 1.0, row["num_heads"], _cache(row), mode)
    return _question(operator, True, row["batch_size"], row["isl"])


def _mla_decode(table: Table, row: dict[str, Any]) -> Question:
    operator = _sdk("operations.mla").GenerationMLA("", 1.0, row["num_heads"], _cache(row))
    return _question(operator, False, row["batch_size"], row["isl"] + row["step"])


def _states(kind: str, sizes: tuple[str, ...]) -> Callable[[Table, dict[str, Any]], Question]:
    """Questions about one kernel of a mechanism with a matrix of states: gated delta net, KDA, Mamba-2."""

    def ask(table: Table, row: dict[str, Any]) -> Question:
        operator = getattr(_sdk("operations.mamba"), kind)(
            "", 1.0, row["kernel_source"], row["phase"], row["d_model"], *(row[name] for name in sizes)
        )
        return _question(operator, row["phase"] == "context", row["batch_size"], row["seq_len"])

    return ask


_DELTA = ("num_k_heads", "head_k_dim", "num_v_heads", "head_v_dim", "d_conv")
OPERATORS: dict[str, Callable[[Table, dict[str, Any]], Question]] = {
    "context_attention_perf": _context,
    "encoder_attention_perf": _encoder,
    "generation_attention_perf": _decode,
    "context_mla_perf": _mla_context,
    "generation_mla_perf": _mla_decode,
    "gdn_perf": _states("GDNKernel", _DELTA),
    "kda_perf": _states("KDAKernel", _DELTA),
    "mamba2_perf": _states("Mamba2Kernel", ("nheads", "head_dim", "d_state", "d_conv", "n_groups", "chunk_size")),
}
"""A file of the package, and how a row of it is put to its engine."""
