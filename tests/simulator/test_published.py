"""Published kernel times: floors hold on every row, and the schedule stays as close as it is said to be."""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnsim import predict
from attnsim.simulator.variants import parse_value

MEASURED = Path(__file__).parents[2] / "benchmarks" / "measured"


def sides(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split("x"))


@cache
def compared(file: str) -> list[tuple[dict[str, str], float, float, float]]:
    """(row, published, predicted, floor of its tiles) of every row."""
    result = []
    for row in csv.DictReader((MEASURED / file).read_text().splitlines()):
        arguments: dict[str, Any] = {
            "batch": int(row["batch"]), "heads": int(row["heads"]), "kv_heads": int(row["kv_heads"]),
            "shape": sides(row["shape"]), "head_dim": int(row["head_dim"]), "v_dim": int(row["v_dim"]),
            "dtype": row["dtype"], "direction": row["direction"], "cache": "warm",
        }  # fmt: skip
        if row["variant"] == "mha":
            arguments["causal"] = row["causal"] == "true"
        if row["kv_len"] and len(arguments["shape"]) == 1:
            arguments["kv_len"] = int(row["kv_len"])
        if row["q_tile"]:
            arguments |= {"q_tile": sides(row["q_tile"]), "kv_tile": sides(row["kv_tile"])}
        if row["implementation"]:
            arguments["implementation"] = row["implementation"]
        arguments |= {n: parse_value(v) for n, v in (pair.split("=") for pair in row["parameters"].split(";") if pair)}
        p = predict(row["variant"], hardware=row["chip"], **arguments)
        assert p.time_s is not None
        result.append((row, float(row["time_s"]), p.time_s, p.rung_time("tiles")))
    return result


@pytest.mark.parametrize("file", sorted(p.name for p in MEASURED.glob("published_*.csv")))
def test_no_published_time_beats_its_floor(file: str) -> None:
    for row, published, predicted, floor in compared(file):
        assert floor <= published, row
        assert floor <= predicted, row


def test_dense_kernels_are_close() -> None:
    # One constant set a kernel and generation; rows differ in length, head_dim, causality and chip.
    rows = [r for r in compared("published_dense.csv") if r[0]["chip"] in ("a100", "h100", "b200")]
    errors = np.abs([predicted / published - 1 for _, published, predicted, _ in rows])
    assert len(errors) > 180
    assert errors.mean() < 0.13
    assert (errors <= 0.25).mean() > 0.88


def test_neighbourhood_kernels_are_close() -> None:
    rows = [r for r in compared("published_neighbourhood.csv") if r[0]["implementation"].startswith("natten")]
    errors = np.abs([predicted / published - 1 for _, published, predicted, _ in rows])
    assert errors.max() < 0.2
