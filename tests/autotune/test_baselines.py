"""Simpler predictors: the nearest calibration row by brute force, and what aiconfigurator says of its own rows."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim.autotune import aiconfigurator as package
from attnsim.autotune import baselines, silicon
from attnsim.autotune.silicon import Floats, Table

pytest.importorskip("scipy")
installed = pytest.mark.skipif(
    importlib.util.find_spec("aiconfigurator_core") is None or importlib.util.find_spec("pyarrow") is None,
    reason="the tables are not installed: pip install 'attnsim[silicon]'",
)


def made(size: int, seed: int = 0, **changes: Any) -> Table:
    """A table of random rows, every third one of the calibration split."""
    generator = np.random.default_rng(seed)

    def powers(low: int, high: int) -> Floats:
        return np.floor(2 ** generator.uniform(low, high, size))

    heads = powers(0, 7)
    columns: dict[str, Any] = {
        "chip": "h100", "framework": "vllm", "version": "0.24.0", "operation": "context", "kernel_source": "x",
        "dtype": "bf16", "kv_dtype": "bf16", "label_dtype": "bf16", "path": "x", "v_in_k": False,
        "batch": powers(0, 8), "heads": heads, "kv_heads": heads, "seq": powers(0, 15), "kv_len": powers(0, 15),
        "head_dim": generator.choice([64.0, 128.0], size), "v_dim": np.full(size, 128.0),
        "window": generator.choice([0.0, 128.0, 1024.0], size), "chunk": np.zeros(size),
        "latency_s": generator.uniform(1, 2, size), "key": generator.integers(0, 2**63, size).astype(np.uint64),
        "split": (np.arange(size) % 3 > 0).astype(np.uint8), "excluded": np.zeros(size, dtype=np.bool_), "reasons": {},
    }  # fmt: skip
    return Table(**{**columns, **changes})


def distances(table: Table, row: int) -> Floats:
    """Of every row to one row, infinite where it is of another kind."""
    squares = np.zeros(len(table))
    for name in baselines.COLUMNS:
        column = np.log(np.maximum(getattr(table, name), 1))
        squares += (column - column[row]) ** 2
    same = (table.head_dim == table.head_dim[row]) & ((table.window > 0) == (table.window[row] > 0))
    return np.where(same, np.sqrt(squares), np.inf)


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 80), st.integers(0, 2**32 - 1))
def test_nearest_row_by_brute_force(size: int, seed: int) -> None:
    table = made(size, seed)
    found = baselines.nearest_s(table, table.rows("held-out"))
    assert found is not None
    fitted = np.flatnonzero(table.rows("calibration"))
    for row, seconds in zip(np.flatnonzero(table.rows("held-out")), found, strict=True):
        far = distances(table, int(row))[fitted]
        if np.isinf(far.min()):
            assert np.isnan(seconds)
        else:
            assert seconds in table.latency_s[fitted[far <= far.min() + 1e-9]]


def test_calibration_rows_find_themselves_and_excluded_ones_are_no_neighbours() -> None:
    table = made(60)
    fitted = table.rows("calibration")
    assert baselines.nearest_s(table, fitted) == pytest.approx(table.latency_s[fitted])
    wrong = made(60, excluded=np.arange(60) == 0, latency_s=np.where(np.arange(60) == 0, 1e9, 1.0))
    found = baselines.nearest_s(wrong, np.arange(60))
    assert found is not None
    assert np.nanmax(found) == 1


def test_no_calibration_rows_no_answer() -> None:
    table = made(10, split=np.full(10, silicon.SPLITS.index("zero-shot"), dtype=np.uint8))
    assert baselines.nearest_s(table, np.arange(10)) is None


def test_no_baseline_is_judged_by_calibration_rows() -> None:
    table = made(60)
    seconds, reasons = baselines.baselines_s(table)
    assert set(seconds) == set(baselines.KINDS) - {"roofline"}
    held_out = table.rows("held-out")
    near = baselines.nearest_s(table, held_out)
    assert near is not None
    assert np.isnan(seconds["nearest"][~held_out]).all()
    assert np.array_equal(seconds["nearest"][held_out], near, equal_nan=True)
    assert reasons, "the table is of no file of the package"


def test_samples_depend_on_keys_alone() -> None:
    table = made(300)
    rows = baselines.sampled(table, table.rows("held-out"), 50)
    assert len(rows) == 50
    assert table.rows("held-out")[rows].all()
    order = np.random.default_rng(1).permutation(300)
    shuffled = made(300, key=table.key[order], split=table.split[order])
    again = baselines.sampled(shuffled, shuffled.rows("held-out"), 50)
    assert set(table.key[rows]) == set(shuffled.key[again])
    assert list(baselines.sampled(table, table.rows("held-out"), 1000)) == list(np.flatnonzero(table.rows("held-out")))


@pytest.fixture(scope="module")
def answered() -> dict[str, tuple[Table, Any, package.Answers]]:
    """The package's answers about 60 held-out rows of a table of each operation on H100."""
    result = {}
    for operation in ("context", "encoder", "decode", "mla-context", "mla-decode"):
        framework = "trtllm" if operation.startswith("mla") else "vllm"
        table = max(silicon.tables(["h100"], [framework], [operation]), key=len)
        rows = baselines.sampled(table, table.rows("held-out"), 60)
        answers = package.aiconfigurator(table, rows)
        assert not isinstance(answers, str)
        result[operation] = table, rows, answers
    return result


@installed
def test_the_package_returns_its_own_rows(answered: dict[str, Any]) -> None:
    for operation, (table, rows, answers) in answered.items():
        error = np.abs(answers.lookup_s / table.latency_s[rows] - 1)
        assert np.median(error) < 0.003, operation
        assert error.mean() < 0.01, operation


@installed
def test_rows_that_are_left_out_are_not_looked_up(answered: dict[str, Any]) -> None:
    for operation, (table, rows, answers) in answered.items():
        left_out = np.abs(answers.left_out_s / table.latency_s[rows] - 1)
        assert 0.003 < np.median(left_out) < 0.08, operation
        fewer = np.abs(answers.calibration_s / table.latency_s[rows] - 1)
        assert np.nanmedian(fewer) > 1.5 * np.median(left_out), "nine tenths of the neighbours are gone"


@installed
def test_its_speed_of_light_is_a_roofline(answered: dict[str, Any]) -> None:
    table, rows, answers = answered["context"]
    batch, heads, seq, head_dim = (getattr(table, name)[rows] for name in ("batch", "heads", "seq", "head_dim"))
    dense = table.window[rows] == 0
    math_s = 4 * batch * heads * seq**2 * head_dim / 2 / 989e12
    large = dense & (seq >= 4096)
    assert large.any()
    assert answers.sol_s[large] == pytest.approx(math_s[large], rel=1e-3)


@installed
def test_the_constant_that_it_adds_to_prefill_is_taken_off(answered: dict[str, Any]) -> None:
    table, rows, answers = answered["context"]
    assert np.abs(answers.lookup_s - table.latency_s[rows]).max() < 0.3e-6


@installed
def test_answers_stand_at_the_rows_that_were_asked() -> None:
    (table, *_) = silicon.tables(["h100"], ["vllm"], ["encoder"])
    seconds, reasons = baselines.package_s(table, most=20)
    assert set(seconds) == {kind for kind in baselines.KINDS if kind.startswith("aiconfigurator_")}
    rows = baselines.sampled(table, table.rows("held-out"), 20)
    for name, values in seconds.items():
        assert list(np.flatnonzero(~np.isnan(values))) == list(rows), name
    assert seconds["aiconfigurator_lookup"][rows] == pytest.approx(table.latency_s[rows])
    assert reasons == ()


@installed
def test_zero_shot_chips_have_no_calibration_rows_to_interpolate() -> None:
    (table, *_) = silicon.tables(["h200"], ["vllm"], ["encoder"])
    seconds, _ = baselines.package_s(table, most=20)
    assert np.isnan(seconds["aiconfigurator_calibration"]).all()
    assert (~np.isnan(seconds["aiconfigurator_left_out"])).sum() == 20


def test_what_the_package_does_not_know_is_said() -> None:
    seconds, reasons = baselines.package_s(made(30, path="a/b/c/unknown_perf.parquet"), most=20)
    assert all(np.isnan(values).all() for values in seconds.values())
    assert reasons == ("it models context only as a part of a layer",)
    assert baselines.package_s(made(30, excluded=np.ones(30, dtype=np.bool_)), most=20)[1] == ("no row to judge by",)


@installed
def test_a_table_that_is_not_the_files_is_refused() -> None:
    (table, *_) = silicon.tables(["h100"], ["vllm"], ["encoder"])
    other = made(20, path=table.path, kernel_source=table.kernel_source)
    assert package.aiconfigurator(other, np.arange(5)) == "its file has other rows than the table"


@installed
def test_kernels_of_mechanisms_with_states_are_asked_too() -> None:
    import pyarrow.parquet as parquet

    path = sorted(silicon.data_directory().glob("h100_sxm/*/vllm/*/gdn_perf.parquet"))[0]
    data = parquet.read_table(path).to_pylist()
    seconds = [r["latency"] * 1e-3 for r in data if r["kernel_source"].startswith("chunk_gated_delta_rule")]
    (source,) = {r["kernel_source"] for r in data if r["kernel_source"].startswith("chunk_gated_delta_rule")}
    table = made(
        len(seconds), path=str(path.relative_to(silicon.data_directory())), operation="gdn-chunk",
        version=Path(path).parts[-2], kernel_source=source, latency_s=np.array(seconds),
    )  # fmt: skip
    answers = package.aiconfigurator(table, np.arange(0, len(seconds), 100))
    assert not isinstance(answers, str)
    assert answers.lookup_s == pytest.approx(table.latency_s[::100])
    assert 0.0 < np.nanmedian(np.abs(answers.left_out_s / table.latency_s[::100] - 1)) < 0.2


def test_nothing_is_imported_before_it_is_used() -> None:
    code = """
import sys
import attnsim.autotune.aiconfigurator, attnsim.autotune.baselines, attnsim.autotune.drift, attnsim.autotune.pairs
assert not {"aiconfigurator_core", "pyarrow", "scipy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
