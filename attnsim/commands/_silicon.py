"""What `validate --data silicon` prints and draws."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._files import write_file
from ..reports.words import sizes
from ..simulator.errors import InputError
from ._grid import grid

if TYPE_CHECKING:
    from ..autotune.accuracy import Validation

Records = list[dict[str, Any]]

MEANING = (
    "Errors: predicted over measured latency, in percent (size: mean, median, 90th percentile; signed median: below 0 "
    "is predicted too fast). Predicted is the kernel's schedule plus what the framework adds; constants are fitted to "
    "calibration rows alone, zero-shot chips have none. covers: measured rows inside the predicted range, meant to be "
    "90 %. pairs: percent ranked right of two rows whose times are 10 to 20 % and over 20 % apart. beat: rows faster "
    "than a floor, which no honest measurement is."
)
SIMPLER = (
    "Simpler predictors on the same rows, MAPE / P90 in percent. roofline: no data. nearest: the time of the nearest "
    "calibration row. aic SOL: aiconfigurator's speed of light, no data. aic same data: its interpolation, given our "
    "calibration rows alone. These compare with the model; the last column is another kind of error: aic neighbours is "
    "its interpolation from all measured rows but the one asked for. It is asked about a sample of each table's rows."
)
DRIFT = (
    "Drift between versions of a framework, no error of a prediction: newer over older measured time of the same "
    "problems. spread: median distance from the median ratio in percent."
)
WORST_SHOWN = 12
BASELINES = ("roofline", "nearest", "aiconfigurator_sol", "aiconfigurator_calibration", "aiconfigurator_left_out")
"""Those of the table; the json has all."""


def keys_of(form: str) -> Sequence[Sequence[str]]:
    """What the records of a format are by."""
    from ..autotune import accuracy

    by_case = (accuracy.BY_CASE, accuracy.BY_CASE_AND_FRAMEWORK)
    return {"json": (accuracy.FINE,), "md": by_case}.get(form, (accuracy.COARSE,))


def validated(
    chips: list[str] | None, frameworks: list[str] | None, operations: list[str] | None, splits: list[str] | None,
    keys: Sequence[Sequence[str]],
) -> Validation:  # fmt: skip
    """The tables that are asked for, checked; records by each of the keys. Raises InputError where no row is left."""
    from ..autotune import accuracy

    found = accuracy.validate(chips, frameworks, operations, splits, keys=keys)
    if not found.records:
        raise InputError(
            "no measured rows match; the splits of a chip are calibration and held-out, or zero-shot alone"
        )
    return found


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def table(found: Validation) -> str:
    """A line a record, the worst rows, what was left out and why, and what the numbers mean."""
    heads = ("chip", "framework", "operation", "split", "kernel, mostly", "rows", "MAPE", "median", "P90",
             "signed median", "covers", "pairs 10-20", "pairs >20", "beat roofline", "beat tiles")  # fmt: skip
    rows = []
    for r in found.records:
        numbers = [r[n] for n in ("mape", "median", "p90", "signed_median", "coverage", "pairs_10_20", "pairs_over_20")]
        rows.append([
            r["chip"], f"{r['framework']} {r['version']}", r["op"], r["split"], r["implementation"] or "-",
            f"{r['rows']:,}", *map(_number, numbers), f"{r['roofline_violations']:,}", f"{r['tiles_violations']:,}",
        ])  # fmt: skip
    return "\n\n".join(
        [grid(heads, rows, 5), *_simpler(found), _worst(found), *_drift(found), *_left_out(found.records), MEANING]
    )


def md(found: Validation) -> str:
    """A Markdown table: a line for each case and chip; MAPE / P90 by framework."""
    frameworks = list(dict.fromkeys(r["framework"] for r in found.records if "framework" in r))
    own = {(r["case"], r["chip"], r["split"], r["framework"]): r for r in found.records if "framework" in r}
    heads = ("case", "chip", "split", "rows", *frameworks, "covers", "pairs 10-20", "pairs > 20", "beat tiles",
             "roofline", "nearest")  # fmt: skip
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * 3 + "---:|" * (len(heads) - 3)]
    order = {chip: index for index, chip in enumerate(dict.fromkeys(r["chip"] for r in found.records))}
    pooled = [r for r in found.records if "framework" not in r and r["rows"]]
    for r in sorted(pooled, key=lambda r: (r["split"], r["case"], order[r["chip"]])):
        by = [own.get((r["case"], r["chip"], r["split"], name)) for name in frameworks]
        cells = [
            r["case"], r["chip"], r["split"], f"{r['rows']:,}",
            *("" if one is None else f"{_number(one['mape'])} / {_number(one['p90'])}" for one in by),
            *(_number(r[name]) for name in ("coverage", "pairs_10_20", "pairs_over_20")), str(r["tiles_violations"]),
            *(_number(r["baselines"][name]["mape"], 0) for name in ("roofline", "nearest")),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _worst(found: Validation) -> str:
    heads = ("chip", "framework", "operation", "kernel", "problem", "measured", "predicted", "what its like say")
    rows = [
        [
            r["chip"], f"{r['framework']} {r['version']}", f"{r['op']} {r['dtype']}", r["implementation"],
            sizes(r), f"{r['measured_s'] * 1e6:,.0f} us", f"{r['predicted_s'] * 1e6:,.0f} us", r["reason"],
        ]
        for r in found.worst[:WORST_SHOWN]
    ]  # fmt: skip
    return grid(heads, rows, 5, "Rows furthest off")


def _simpler(found: Validation) -> list[str]:
    """What predictors without a model reach, on the rows that nothing was fitted to."""
    heads = ("chip", "framework", "operation", "split", "model", "roofline", "nearest", "aic SOL", "aic same data",
             "aic neighbours")  # fmt: skip
    rows = [
        [
            r["chip"], f"{r['framework']} {r['version']}", r["op"], r["split"],
            *(
                f"{_number(errors['mape'], 0)} / {_number(errors['p90'], 0)}"
                for errors in (r, *(r["baselines"][name] for name in BASELINES))
            ),
        ]
        for r in found.records
        if r["split"] != "calibration"
    ]  # fmt: skip
    return [grid(heads, rows, 4, SIMPLER)] if rows else []


def _drift(found: Validation) -> list[str]:
    heads = ("chip", "framework", "operation", "kernel", "rows", "P10", "median", "P90", "spread")
    rows = [
        [
            r["chip"], f"{r['framework']} {r['old']} to {r['new']}", f"{r['op']} {r['dtype']}/{r['kv_dtype']}",
            " to ".join(dict.fromkeys((r["old_kernel_source"], r["new_kernel_source"]))), f"{r['rows']:,}",
            *(_number(r[name], 2) for name in ("ratio_p10", "ratio", "ratio_p90")), f"{r['spread']:.0f} %",
        ]
        for r in found.drift
    ]  # fmt: skip
    return [grid(heads, rows, 4, DRIFT)] if rows else []


def _left_out(records: Records) -> list[str]:
    """What is not counted in the rows, or not predicted, and why."""
    reasons: dict[str, int] = {}
    for record in records:
        for name, count in record["reasons"].items():
            reasons[name] = reasons.get(name, 0) + count
    lines = []
    if reasons:
        named = ", ".join(f"{name} {count:,}" for name, count in reasons.items())
        lines.append(f"Excluded, known to be wrong (autotune/silicon_known_bad.toml says why): {named}.")
    missing = sum(record["rows"] - record["predicted"] for record in records)
    if missing:
        lines.append(f"No kernel: {missing:,} rows are not predicted, since no known kernel takes them.")
    return lines


def check_picture(path: str | None) -> None:
    """Raises InputError for a picture's name that cannot be drawn, before anything is computed."""
    from ..reports.pictures import PICTURE_FORMATS

    if path is not None and Path(path).suffix.removeprefix(".").lower() not in PICTURE_FORMATS:
        raise InputError(f"cannot draw {path!r}: choose a name that ends in {', '.join(PICTURE_FORMATS)}")


def draw(found: Validation, path: str) -> None:
    """Predicted against measured latency, a panel an operation."""
    from ..reports.pictures.accuracy import Cloud, predicted_vs_measured

    clouds = [Cloud(r.checked.table.operation, r.split, r.measured_s, r.predicted_s) for r in found.rows]
    write_file(Path(path), predicted_vs_measured(clouds, Path(path)))
