"""Predictions as a table for people, and as json, csv and Markdown for programs and pages."""

from __future__ import annotations

import io
import json as json_library
from typing import Any

from .. import __version__
from ..reports.words import amount, seconds, times, workload
from ..simulator.prediction import RUNGS, Prediction

CSV_COLUMNS = (
    "variant", "hardware", "implementation", "pairs", "flops.matrix", "bytes.hbm", "arithmetic_intensity",
    *(f"ladder.{rung}.{what}" for rung in RUNGS[:4] for what in ("time_s", "speedup")),
    "ladder.schedule.low_s", "ladder.schedule.high_s", "ladder.measured.time_s", "speedup_bound", "limited_by",
    "confidence", "reason", "suggestion",
)  # fmt: skip


def _kernel(p: Prediction, tile: dict[str, Any] | None, gap: str = " ") -> str:
    name = p.chosen.implementation.name if p.chosen.implementation else "none known"
    if not tile:
        return name
    return f"{name}{gap}{'x'.join(map(str, tile['query']))}/{'x'.join(map(str, tile['key']))}"


def interval(low: float, high: float) -> str:
    """Two times in one unit."""
    unit, factor = next(((u, f) for u, f in (("s", 1.0), ("ms", 1e3), ("us", 1e6)) if high * f >= 1), ("ns", 1e9))
    return f"{low * factor:.3g}-{high * factor:.3g} {unit}"


def table(results: list[Prediction]) -> str:
    """One table a chip, then a reason, a suggestion and warnings for each variant."""
    import shutil

    from rich.console import Console

    width = max(shutil.get_terminal_size((140, 24)).columns, 130)
    lines = []
    for name in dict.fromkeys(p.hardware.name for p in results):
        group = [p for p in results if p.hardware.name == name]
        first = group[0]
        dicts = [p.to_dict() for p in group]
        buffer = io.StringIO()
        Console(file=buffer, width=width, highlight=False, color_system=None).print(_grid(group, dicts))
        lines += [f"{first.hardware.title}: {workload(first)}", *buffer.getvalue().rstrip().splitlines()]
        given = " (given)" if first.baseline_time_s is not None else ""
        clock = f"{first.hardware.clock_max_hz / 1e9:.3g} GHz"
        lines += ["", f"Speedups are over {first.baseline_variant.id}{given} at the same rung. flops, roofline and "
                  f"tiles are floors at {clock}: no kernel is faster. schedule is predicted."]  # fmt: skip
        for p, d in zip(group, dicts, strict=True):
            lines += _sentences(p, d)
        lines.append("")
    return "\n".join(line.rstrip() for line in lines[:-1])


def _grid(group: list[Prediction], dicts: list[dict[str, Any]]) -> Any:
    """The table of one chip."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, pad_edge=False)
    measured = any(p.measured_s is not None for p in group)
    heads = ["variant", "kernel, tile", "FLOPs", "HBM", "FLOP/B", *RUNGS[:4], "likely range"]
    heads += ["measured"] if measured else []
    for index, head in enumerate([*heads, "limited by"]):
        grid.add_column(head, justify="right" if 1 < index < len(heads) else "left", no_wrap=True)
    for p, d in zip(group, dicts, strict=True):
        ladder = d["ladder"]
        rungs = [
            "-" if ladder[rung] is None else f"{seconds(ladder[rung]['time_s'])}\n{times(ladder[rung]['speedup'])}"
            for rung in RUNGS[: 4 + measured]
        ]
        schedule = ladder["schedule"]
        rungs.insert(4, "-" if schedule is None else interval(schedule["low_s"], schedule["high_s"]))
        intensity = d["arithmetic_intensity"]
        grid.add_row(
            p.variant.id, _kernel(p, d["tile"], "\n"), amount(d["flops"]["matrix"], ""), amount(d["bytes"]["hbm"], "B"),
            "-" if intensity is None else f"{intensity:,.0f}" if intensity >= 100 else f"{intensity:.3g}",
            *rungs, d["limited_by"] or "-",
        )  # fmt: skip
    return grid


def _sentences(p: Prediction, d: dict[str, Any]) -> list[str]:
    """What is said of one variant below the table."""
    lines = ["", f"{p.variant.id}: {d['reason']}."]
    if d["suggestion"]:
        lines.append(f"  would help: {d['suggestion']}.")
    if d["speedup_bound"] is not None and p.baseline is not p.evaluation:
        lines.append(f"  no kernel of this tiling gains more than {times(d['speedup_bound'])}; predicted "
                     f"{times(p.speedup)}.")  # fmt: skip
    if d["confidence"]:
        error = f", known error about {d['error_percent']:.0f} %" if d["error_percent"] else ""
        lines.append(f"  schedule constants: {d['confidence']}{error}. Fits in memory (one layer): batch "
                     f"{d['fits']['batch']:,}, or context {d['fits']['context']:,}." if d["fits"]["batch"] is not None
                     else f"  schedule constants: {d['confidence']}{error}.")  # fmt: skip
    if p.measured_s is not None:
        lines += _measured(p)
    lines += [f"  warning: {w}" for w in d["warnings"]]
    return lines


def _measured(p: Prediction) -> list[str]:
    """What a measured time means: shares of the floors, and whether it can be true."""
    assert p.measured_s is not None
    reached = p.reached() or {}
    shares = ", ".join(f"{share:.0%} of {rung}" for rung, share in reached.items() if rung != "schedule")
    lines = [f"  measured {seconds(p.measured_s)} reaches {shares}."]
    beaten = [rung for rung in ("roofline", "flops") if reached.get(rung, 0) > 1]
    if beaten:
        lines.append(f"  it beats the {beaten[0]} floor: that cannot be. Look for missing synchronisation, another "
                     "shape, type or clock, or skipped work.")  # fmt: skip
    elif reached.get("tiles", 0) > 1:
        lines.append("  it beats the tiles floor: the kernel has another tiling than the one assumed, or skips work.")
    elif p.time_s is not None:
        gap = p.measured_s / p.time_s
        lines.append(f"  it takes {gap:.2f}x the predicted time; over the tiles floor the prediction spends "
                     + ", ".join(f"{t.name} {seconds(t.time_s)}" for t in sorted(p.terms, key=lambda t: -t.time_s)[:4])
                     + ".")  # fmt: skip
    return lines


def json(results: list[Prediction]) -> str:
    """The contract: version, problem, predictions."""
    return json_library.dumps(
        {
            "attnsim": __version__,
            "problem": results[0].problem.to_dict(),
            "predictions": [p.to_dict() for p in results],
        },
        indent=2,
        allow_nan=False,
    )


def _flat(d: dict[str, Any], path: str) -> Any:
    value: Any = d
    for key in path.split("."):
        value = None if value is None else value.get(key)
    return value


def csv(results: list[Prediction]) -> str:
    """One row a prediction, columns as JSON paths, the problem in front."""
    import csv as csv_library

    buffer = io.StringIO()
    writer = csv_library.writer(buffer, lineterminator="\n")
    problem = list(results[0].problem.to_dict())
    writer.writerow([*(f"problem.{name}" for name in problem), *CSV_COLUMNS])
    for p in results:
        d = p.to_dict()
        asked = {k: "x".join(map(str, v)) if isinstance(v, list) else v for k, v in p.problem.to_dict().items()}
        row = [asked[name] for name in problem]
        row += [_flat(d, path) for path in CSV_COLUMNS]
        writer.writerow(["" if value is None else value for value in row])
    return buffer.getvalue()


def md(results: list[Prediction]) -> str:
    """A Markdown table and the reasons below it."""
    lines = [f"{workload(results[0])}", "",
             "| variant | hardware | kernel | FLOPs | flops | roofline | tiles | schedule | speedup | limited by |",
             "|---|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    notes = []
    for p in results:
        d = p.to_dict()
        rungs = [seconds(d["ladder"][r]["time_s"]) if d["ladder"][r] else "-" for r in RUNGS[:4]]
        cells = [p.variant.id, p.hardware.name, _kernel(p, d["tile"]), amount(d["flops"]["matrix"], "FLOP"), *rungs,
                 times(p.speedup), d["limited_by"] or "-"]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
        notes += [f"- {p.variant.id} on {p.hardware.name}: {d['reason']}."]
    return "\n".join([*lines, "", *notes])
