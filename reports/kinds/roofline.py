"""The hierarchical roofline: where variants stand between what a chip can do and what they will do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from ...simulator.api import LeftOut
from ...simulator.prediction import FLOORS, Prediction
from ..common import claims_section, hover, left_out_section, named, reasons
from ..document import (
    CHIP,
    VARIANT,
    Block,
    Chart,
    Column,
    Document,
    Items,
    Line,
    Paragraph,
    Picture,
    Point,
    Quantity,
    Section,
    Table,
    amount,
    number,
    seconds,
    times,
)
from ..pictures import roofline
from ..provenance import reproduce
from ..roofline import Roofline, rooflines
from ..words import amount as amount_text
from ..words import kernel, workload
from ..words import seconds as seconds_text


def document(
    predictions: Sequence[Prediction], command: str | None = None, left_out: Sequence[LeftOut] = ()
) -> Document:
    """A picture and tables a chip, one interactive chart over all. Raises InputError for two chips of one name."""
    sheets = rooflines(predictions)
    chips = ", ".join(sheet.hardware.title for sheet in sheets)
    blocks: list[Block] = []
    if any(sheet.drawable for sheet in sheets):
        blocks.append(_chart(sheets))
    blocks += [_chip(sheet) for sheet in sheets]
    blocks += [*claims_section(predictions), *left_out_section(left_out), reproduce(predictions, command)]
    title = f"Roofline of attention variants on {chips}"
    return Document("roofline", title, f"Workload: {workload(predictions[0])}.", tuple(blocks))


def _chip(sheet: Roofline) -> Section:
    """The section of one chip."""
    title = sheet.hardware.title
    blocks: list[Block] = []
    if sheet.drawable:
        blocks += _picture(sheet)
    else:
        blocks.append(Paragraph(f"No picture: the profile of {title} states no matrix rate or no memory bandwidth."))
    dicts = [p.to_dict() for p in sheet.predictions]
    blocks += [
        Section("Counts", (_counts(sheet.predictions, dicts),)),
        Section("Ladder", (_ladder(sheet.predictions, dicts),)),
        Section("Why, and what would help (predicted)", (reasons(sheet.predictions),)),
    ]
    if sheet.left_out:
        items = tuple((name, f"{why}.") for name, why in sheet.left_out)
        blocks.append(Section("Left out of the picture", (Items(items),)))
    if sheet.ceilings or sheet.slopes:
        blocks.append(Section("Lines of the picture", (_lines(sheet),)))
    return Section(title, tuple(blocks))


def _picture(sheet: Roofline) -> list[Block]:
    """The picture, and how to read it."""
    said = (
        "Each point stands at the variant's useful matrix FLOPs per compulsory byte of main memory and over its "
        "predicted time; the trail above it leads through the floor of its tiles to the floor of the chip."
    )
    if any(p.l2_intensity is not None for p in sheet.points):
        said += (
            " The small square is the same rate at the bytes that the tiles move between L2 and compute units: "
            "read it against the L2's line. They are also the least that is read from shared memory."
        )
    if any(c.kind in ("exp", "vector") for c in sheet.ceilings):
        said += (
            " The exp and vector lines hold for dense softmax attention; other variants have more or fewer "
            "FLOPs for each of them."
        )
    if sheet.predictions[0].problem.cache == "warm":
        said += " With a warm cache what fits the L2 need not come from memory: points may stand above its line."
    alt = f"Roofline on {sheet.hardware.title}: {sheet.finding}"
    return [Picture(sheet.stem, alt, partial(roofline.draw, sheet), said)]


def _counts(predictions: Sequence[Prediction], dicts: Sequence[dict[str, Any]]) -> Table:
    columns = (
        VARIANT, CHIP, Column("kernel and tile"),
        amount("matrix FLOPs", "counted"), amount("vector FLOPs", "counted"), amount("exps", "counted"),
        amount("HBM bytes", "counted", "B"), amount("L2 bytes of the tiles", "counted", "B"),
        number("FLOP per HBM byte", "counted"),
    )  # fmt: skip
    rows = [
        (named(p), p.hardware.name, kernel(p), *(d["flops"][unit] for unit in ("matrix", "vector", "special")),
         d["bytes"]["hbm"], d["tiled"]["bytes"]["l2"], d["arithmetic_intensity"])
        for p, d in zip(predictions, dicts, strict=True)
    ]  # fmt: skip
    return Table(columns, tuple(rows))


def _ladder(predictions: Sequence[Prediction], dicts: Sequence[dict[str, Any]]) -> Table:
    """Times and speedups over the baseline at each rung."""
    measured = any(d["ladder"]["measured"] for d in dicts)
    columns = [VARIANT, CHIP, Column("limited by")]
    for rung in FLOORS:
        columns += [seconds(rung, "bounded"), times(f"speedup at {rung}", "bounded")]
    columns += [seconds("schedule", "predicted"), times("speedup", "predicted"), seconds("from", "predicted"),
                seconds("to", "predicted"), times("speedup bound", "bounded")]  # fmt: skip
    columns += [seconds("time", "measured"), times("speedup", "measured")] if measured else []
    rows = []
    for d in dicts:
        ladder, schedule = d["ladder"], d["ladder"]["schedule"] or {}
        cells = [d["variant"], d["hardware"], d["limited_by"]]
        for rung in FLOORS:
            cells += _rung(ladder[rung])
        cells += [*_rung(schedule), schedule.get("low_s"), schedule.get("high_s"), d["speedup_bound"]]
        rows.append(tuple(cells + _rung(ladder["measured"]) if measured else cells))
    return Table(tuple(columns), tuple(rows), _ladder_note(predictions[0]))


def _ladder_note(first: Prediction) -> str:
    """What speedups refer to, and what floors are."""
    if first.baseline_time_s is None:
        over = f"{first.baseline_variant.id} at the same rung"
    else:
        over = f"{first.baseline_variant.id}; its measured time, {seconds_text(first.baseline_time_s)}, was given"
    clock = f"{first.hardware.clock_max_hz / 1e9:.3g} GHz"
    note = f"Speedups are over {over}. flops, roofline and tiles are floors at {clock}: no kernel is faster. "
    note += "From and to: the likely range."
    if first.baseline_time_s is None:
        note += " Speedup bound: the baseline's predicted time over the variant's tiles floor."
    return note


def _rung(entry: dict[str, Any] | None) -> list[Any]:
    return [entry["time_s"], entry["speedup"]] if entry else [None, None]


def _lines(sheet: Roofline) -> Table:
    """The ceilings and slopes; a FLOP/s or a B/s each, so that cells are texts."""
    rows = [(c.name, amount_text(c.flop_per_s, "FLOP/s"), c.basis) for c in sheet.ceilings]
    rows += [(s.level, amount_text(s.bytes_per_s, "B/s"), s.basis) for s in sheet.slopes]
    return Table((Column("line"), Column("peak", mark="bounded"), Column("from")), tuple(rows))


def _chart(sheets: Sequence[Roofline]) -> Chart:
    """All chips in one: rates under the roofs, or times, speedups, bytes over the same intensities."""
    points, lines = [], []
    for sheet in sheets:
        by_label = {p.variant.id: p for p in sheet.predictions}
        # In the order that gives the picture its colours, so that a page gives the same.
        for one in sorted(sheet.points, key=lambda point: point.rank):
            p = by_label[one.label]
            values = {"rate": one.flop_per_s, "time": p.time_s, "speedup": p.speedup,
                      "bytes": float(p.evaluation.useful.hbm_bytes)}  # fmt: skip
            points.append(Point(sheet.hardware.name, one.label, one.intensity, values, hover(p)))
    reach = [p.x for p in points if isinstance(p.x, float)]
    for sheet in sheets:
        if sheet.drawable:
            lines += _chart_lines(sheet, reach)
    quantities = (
        Quantity("rate", "matrix work done (useful FLOP/s)", "predicted"), Quantity("time", "time (s)", "predicted"),
        Quantity("speedup", "speedup (ratio)", "predicted"), Quantity("bytes", "HBM bytes (B)", "counted"),
    )  # fmt: skip
    x_label = "arithmetic intensity (useful FLOP per HBM byte, counted)"
    return Chart(
        "roofline",
        "Variants under the roofs of their chips",
        "points",
        x_label,
        quantities,
        tuple(points),
        tuple(lines),
    )


def _chart_lines(sheet: Roofline, reach: Sequence[float]) -> list[Line]:
    """The roof of each memory level under the matrix peak, and the other ceilings."""
    peak = sheet.peak_flop_per_s
    corners = [peak / s.bytes_per_s for s in sheet.slopes]
    low, high = min(*reach, *corners) / 4, max(*reach, *corners) * 4
    chip = sheet.hardware.name
    made = [
        Line(chip, s.label, (low, corner, high), (low * s.bytes_per_s, peak, peak), "rate")
        for s, corner in zip(sheet.slopes, corners, strict=True)
    ]
    widest = max(s.bytes_per_s for s in sheet.slopes)
    made += [
        Line(chip, c.label.replace("\n", " "), (c.flop_per_s / widest, high), (c.flop_per_s,) * 2, "rate")
        for c in sheet.ceilings
        if c.kind != "matrix"
    ]
    return made
