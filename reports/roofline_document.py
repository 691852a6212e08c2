"""The Markdown beside the pictures: counts, ladder, reasons, and how to reproduce them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..simulator.prediction import Prediction
from .provenance import reproduce
from .roofline import Roofline
from .words import amount, kernel, markdown_table, number, seconds, times, workload

FLOORS = ("flops", "roofline", "tiles")


def document(sheets: Sequence[Roofline], pictures: Sequence[str], command: str | None) -> str:
    """The document of all chips; `pictures` are the files that stand beside it."""
    predictions = [p for sheet in sheets for p in sheet.predictions]
    chips = ", ".join(sheet.hardware.title for sheet in sheets)
    lines = [f"# Roofline of attention variants on {chips}", "", f"Workload: {workload(predictions[0])}.", ""]
    for sheet in sheets:
        lines += _chip(sheet, [name for name in pictures if name.rpartition(".")[0] == sheet.stem])
    return "\n".join([*lines, *reproduce(predictions, command)]) + "\n"


def _chip(sheet: Roofline, pictures: Sequence[str]) -> list[str]:
    """The section of one chip."""
    title = sheet.hardware.title
    lines = [f"## {title}", ""]
    if sheet.drawable:
        lines += [*_picture(sheet, pictures), ""]
    else:
        lines += [f"No picture: the profile of {title} states no matrix rate or no memory bandwidth.", ""]
    dicts = [p.to_dict() for p in sheet.predictions]
    lines += ["### Counts", "", *_counts(sheet.predictions, dicts), ""]
    lines += ["### Ladder", "", *_ladder(sheet.predictions, dicts), ""]
    lines += ["### Why, and what would help (predicted)", "", *_reasons(sheet.predictions, dicts), ""]
    if sheet.left_out:
        lines += ["### Left out of the picture", "", *(f"- {name}: {why}." for name, why in sheet.left_out), ""]
    if sheet.ceilings or sheet.slopes:
        lines += ["### Lines of the picture", "", *_ceilings(sheet), ""]
    return lines


def _picture(sheet: Roofline, pictures: Sequence[str]) -> list[str]:
    """The picture, or links to it where a page cannot show it, and how to read it."""
    shown = [name for name in pictures if not name.endswith(".pdf")]
    alt = f"Roofline on {sheet.hardware.title}: {sheet.shown}"
    lines = [f"![{alt}]({shown[0]})"] if shown else [f"[{alt}]({pictures[0]})"]
    lines += [
        "",
        "Each point stands at the variant's useful matrix FLOPs per compulsory byte of main memory and over its "
        "predicted time; the trail above it leads through the floor of its tiles to the floor of the chip.",
    ]
    if any(p.l2_intensity is not None for p in sheet.points):
        lines[-1] += (
            " The small square is the same rate at the bytes that the tiles move between L2 and compute units: "
            "read it against the L2's line."
        )
    if any(c.kind in ("exp", "vector") for c in sheet.ceilings):
        lines[-1] += (
            " The exp and vector lines hold for dense softmax attention; other variants have more or fewer "
            "FLOPs for each of them."
        )
    if sheet.predictions[0].problem.cache == "warm":
        lines += ["", "With a warm cache what fits the L2 need not come from memory: points may stand above its line."]
    return lines


def _parameters(d: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        return "x".join(map(str, value)) if isinstance(value, list) else str(value)

    given = [f"{name}={text(value)}" for name, value in d["parameters"].items() if value is not None]
    return f"{d['variant']} ({', '.join(given)})" if given else str(d["variant"])


def _counts(predictions: Sequence[Prediction], dicts: Sequence[dict[str, Any]]) -> list[str]:
    heads = ["variant", "kernel and tile", "matrix FLOPs (counted)", "vector FLOPs (counted)", "exps (counted)",
             "HBM bytes (counted)", "L2 bytes of the tiles (counted)", "FLOP per HBM byte (counted)"]  # fmt: skip
    rows = [
        [_parameters(d), kernel(p), *(amount(d["flops"][unit]) for unit in ("matrix", "vector", "special")),
         amount(d["bytes"]["hbm"], "B"), amount(d["tiled"]["bytes"]["l2"], "B"), number(d["arithmetic_intensity"])]
        for p, d in zip(predictions, dicts, strict=True)
    ]  # fmt: skip
    return markdown_table(heads, rows, left=(0, 1))


def _ladder(predictions: Sequence[Prediction], dicts: Sequence[dict[str, Any]]) -> list[str]:
    """Times and, in brackets, speedups over the baseline at the same rung."""
    measured = any(d["ladder"]["measured"] for d in dicts)
    heads = ["variant", "limited by", *(f"{rung} (bounded)" for rung in FLOORS), "schedule (predicted)",
             "likely range (predicted)", "speedup bound (bounded)", *(["measured"] if measured else [])]  # fmt: skip
    rows = []
    for d in dicts:
        ladder, schedule = d["ladder"], d["ladder"]["schedule"]
        span = f"{seconds(schedule['low_s'])} to {seconds(schedule['high_s'])}" if schedule else "-"
        cells = [d["variant"], d["limited_by"] or "-", *(_rung(ladder[rung]) for rung in FLOORS), _rung(schedule), span,
                 times(d["speedup_bound"])]  # fmt: skip
        rows.append([*cells, _rung(ladder["measured"])] if measured else cells)
    first = predictions[0]
    if first.baseline_time_s is None:
        over = f"{first.baseline_variant.id} at the same rung"
    else:
        over = f"{first.baseline_variant.id}; its measured time, {seconds(first.baseline_time_s)}, was given"
    clock = f"{first.hardware.clock_max_hz / 1e9:.3g} GHz"
    note = f"In brackets: speedup over {over}. flops, roofline and tiles are floors at {clock}: no kernel is faster."
    if first.baseline_time_s is None:
        note += " Speedup bound: the baseline's predicted time over the variant's tiles floor."
    return [*markdown_table(heads, rows, left=(0, 1)), "", note]


def _rung(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return "-"
    return seconds(entry["time_s"]) + (f" ({times(entry['speedup'])})" if entry["speedup"] is not None else "")


def _reasons(predictions: Sequence[Prediction], dicts: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for p, d in zip(predictions, dicts, strict=True):
        line = f"- **{d['variant']}**: {d['reason']}."
        if d["suggestion"]:
            line += f" Would help: {d['suggestion']}."
        if d["confidence"]:
            error = f", known error about {d['error_percent']:.0f} %" if d["error_percent"] else ""
            line += f" Constants: {d['confidence']}{error}."
        lines += [line, *(f"  - warning: {warning}." for warning in p.warnings)]
    return lines


def _ceilings(sheet: Roofline) -> list[str]:
    rows = [[c.name, amount(c.flop_per_s, "FLOP/s"), c.basis] for c in sheet.ceilings]
    rows += [[s.level, amount(s.bytes_per_s, "B/s"), s.basis] for s in sheet.slopes]
    return markdown_table(["line", "peak (bounded)", "from"], rows, left=(0, 2))
