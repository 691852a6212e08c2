"""Predictions beside published kernel times: floors must hold, times and speedups should be close.

Rows are files in `measured/published_*.csv`: a chip, a problem, a variant with parameters, the kernel and its
published time or rate, and where it was published.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

import attnsim
from attnsim.simulator.variants import parse_value

MEASURED = Path(__file__).parent / "measured"


def arguments(row: dict[str, str]) -> dict[str, Any]:
    """Arguments of `predict` for a row."""
    result: dict[str, Any] = {
        "batch": int(row["batch"]), "heads": int(row["heads"]), "kv_heads": int(row["kv_heads"]),
        "head_dim": int(row["head_dim"]), "v_dim": int(row["v_dim"]), "dtype": row["dtype"],
        "direction": row["direction"], "shape": tuple(int(n) for n in row["shape"].split("x")), "cache": "warm",
    }  # fmt: skip
    if row["variant"] == "mha":
        result["causal"] = row["causal"] == "true"
    if row["kv_len"] and len(result["shape"]) == 1:
        result["kv_len"] = int(row["kv_len"])
    for name in ("q_tile", "kv_tile"):
        if row[name]:
            result[name] = tuple(int(n) for n in row[name].split("x"))
    if row["implementation"]:
        result["implementation"] = row["implementation"]
    for pair in filter(None, row["parameters"].split(";")):
        name, value = pair.split("=")
        result[name] = parse_value(value)
    return result


def compare(path: Path, verbose: bool) -> list[tuple[str, float, float]]:
    """(group, published seconds, predicted seconds) of every row; prints each where asked."""
    rows = []
    with path.open() as file:
        for row in csv.DictReader(file):
            p = attnsim.predict(row["variant"], hardware=row["chip"], **arguments(row))
            measured, predicted, tiles = float(row["time_s"]), p.time_s, p.rung_time("tiles")
            name = p.chosen.implementation.name
            group = f"{row['chip']} {name} {row['direction']}"
            rows.append((group, measured, predicted))
            beats = " BEATS THE FLOOR" if measured < tiles else ""
            if verbose or beats:
                what = f"{row['shape']} d{row['head_dim']} {'causal' if row['causal'] == 'true' else ''}"
                print(f"{group:42s} {what:26s} {row['parameters']:36s} published {measured * 1e6:10.1f} us, predicted "
                      f"{predicted / measured:5.2f}x, floor {tiles / measured:.0%}{beats}")  # fmt: skip
    return rows


def main(verbose: bool = True) -> None:
    """Every file, then the error of each group."""
    for path in sorted(MEASURED.glob("published_*.csv")):
        print(path.name)
        rows = compare(path, verbose)
        for group in sorted({r[0] for r in rows}):
            ratios = np.array([p / m for g, m, p in rows if g == group])
            errors = np.abs(ratios - 1)
            print(f"  {group:42s} {len(ratios):4d} rows  mean error {errors.mean():6.1%}  median ratio "
                  f"{np.median(ratios):.2f}  within 25 %: {(errors <= 0.25).mean():.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
