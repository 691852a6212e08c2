"""Drift between versions: rows joined by problem, by hand and on the installed tables."""

from __future__ import annotations

import importlib.util
import random
from typing import Any

import numpy as np
import pytest

from attnsim.autotune import silicon
from attnsim.autotune.drift import drift, ratios, version_order
from attnsim.autotune.silicon import Table


def made(version: str, sizes: Any, seconds: Any, **changes: Any) -> Table:
    """A table of decode rows that differ in batch."""
    ones = np.ones(len(sizes))
    columns: dict[str, Any] = {
        "chip": "b200", "framework": "vllm", "version": version, "operation": "decode", "kernel_source": "triton",
        "dtype": "bf16", "kv_dtype": "bf16", "label_dtype": "bf16", "path": "x", "v_in_k": False,
        "batch": np.array(sizes, dtype=np.float64), "heads": 8 * ones, "kv_heads": ones, "seq": ones,
        "kv_len": 1024 * ones, "head_dim": 128 * ones, "v_dim": 128 * ones, "window": 0 * ones, "chunk": 0 * ones,
        "latency_s": np.array(seconds, dtype=np.float64), "key": np.arange(len(sizes), dtype=np.uint64),
        "split": np.ones(len(sizes), dtype=np.uint8), "excluded": np.zeros(len(sizes), dtype=np.bool_), "reasons": {},
    }  # fmt: skip
    return Table(**{**columns, **changes})


def test_rows_are_joined_by_problem() -> None:
    old = made("1", [1, 2, 3, 3], [1.0, 2.0, 2.0, 8.0])
    new = made("2", [3, 4, 1, 5], [8.0, 1.0, 1.5, 9.0])
    assert sorted(ratios([old], [new])) == pytest.approx([1.5, 2.0]), (
        "repeated rows count once, by their geometric mean"
    )
    wide = made("2", [1, 3], [1.0, 1.0], window=np.array([0.0, 512.0]))
    assert ratios([old], [wide]) == pytest.approx([1.0])
    excluded = made("2", [1, 3], [1.0, 1.0], excluded=np.array([True, False]))
    assert ratios([old], [excluded]) == pytest.approx([0.25])


def test_a_record_for_each_step_between_versions() -> None:
    sizes = np.arange(1, 102)
    old = made("0.9.0", sizes, np.ones(101))
    ratio = np.linspace(1.0, 2.0, 101)
    new = made("0.10.0", sizes, ratio)
    last = made("0.10.0", sizes, np.full(101, 3.0), kernel_source="new")
    found = drift([new, last, old])
    assert [(r["old"], r["new"], r["old_kernel_source"], r["new_kernel_source"]) for r in found] == [
        ("0.9.0", "0.10.0", "triton", "triton")
    ]
    (record,) = found
    assert record["rows"] == 101
    assert (record["ratio_p10"], record["ratio"], record["ratio_p90"]) == pytest.approx((1.1, 1.5, 1.9))
    assert record["spread"] == pytest.approx(100 * np.median(np.abs(ratio / 1.5 - 1)))


def test_a_renamed_kernel_is_compared_with_what_came_instead() -> None:
    sizes = np.arange(1, 40)
    old = made("1", sizes, np.ones(39), kernel_source="before")
    new = made("2", sizes, np.full(39, 0.5), kernel_source="after")
    assert [(r["old_kernel_source"], r["new_kernel_source"], r["ratio"]) for r in drift([old, new])] == [
        ("before", "after", pytest.approx(0.5))
    ]


def test_too_few_rows_other_types_and_one_version_are_no_drift() -> None:
    sizes = np.arange(1, 40)
    old = made("1", sizes, np.ones(39))
    assert drift([old]) == []
    assert drift([old, made("2", sizes[:19], np.ones(19))]) == []
    assert len(drift([old, made("2", sizes[:20], np.ones(20))])) == 1
    for change in ({"dtype": "fp8"}, {"kv_dtype": "fp8"}, {"chip": "h100"}, {"operation": "context"}, {"v_in_k": True}):
        assert drift([old, made("2", sizes, np.ones(39), **change)]) == []


@pytest.mark.parametrize(
    "versions",
    [
        ["0.5.6", "0.5.6.1", "0.5.6.post2", "0.5.14", "0.24.0", "1.3.0rc3", "1.3.0rc20", "1.3.0"],
        ["0.1.dev19262", "0.22.0", "0.24.0", "0.27.0"],
    ],
)
def test_versions_are_ordered_by_their_numbers(versions: list[str]) -> None:
    assert sorted(random.Random(0).sample(versions, len(versions)), key=version_order) == versions


@pytest.mark.skipif(
    importlib.util.find_spec("aiconfigurator_core") is None or importlib.util.find_spec("pyarrow") is None,
    reason="the tables are not installed: pip install 'attnsim[silicon]'",
)
def test_vllm_on_b200_became_slower() -> None:
    found = drift(silicon.tables(["b200"], ["vllm"], ["decode"]))
    assert {(r["old"], r["new"]) for r in found} == {("0.22.0", "0.24.0")}
    main = max(found, key=lambda r: r["rows"])
    assert main["rows"] > 20_000
    assert main["ratio"] == pytest.approx(1.3, abs=0.05)
