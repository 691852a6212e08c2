"""The speedup ladder: from the FLOP-wise promise to what is predicted or measured, and the reason for each step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ...simulator.api import LeftOut
from ...simulator.prediction import Prediction
from ..common import by_chip, claims_section, hover, left_out_section, reasons
from ..document import (
    CHIP,
    VARIANT,
    Block,
    Chart,
    Column,
    Document,
    Items,
    Picture,
    Point,
    Quantity,
    Section,
    Table,
    seconds,
)
from ..ladder import Ladder, ladder, without_promise
from ..pictures import ladder as pictures
from ..provenance import reproduce
from ..words import file_name, workload
from ..words import seconds as seconds_text
from ..words import times as times_text

IN_A_PICTURE = 4
"""Ladders below each other: more would not fit a page."""


def document(
    predictions: Sequence[Prediction], command: str | None = None, left_out: Sequence[LeftOut] = ()
) -> Document:
    """The ladders of each chip as pictures, rungs and schedule terms as tables, one interactive chart over all.

    Raises InputError for two chips of one name.
    """
    chips = [[(p, ladder(p)) for p in group] for group in by_chip(predictions)]
    known = [one for found in chips for _, one in found if isinstance(one, Ladder)]
    blocks: list[Block] = [_chart(known)] if known else []
    blocks += [_chip(found) for found in chips]
    blocks += [*claims_section(predictions), *left_out_section(left_out), reproduce(predictions, command)]
    over = predictions[0].baseline_variant.id
    lead = (
        f"Workload: {workload(predictions[0])}. Speedups are over {over} at the same rung: both times climb, so that "
        "a speedup may rise from one rung to the next although no time falls."
    )
    return Document("ladder", f"From the promise to the kernel: {_finding(known)}", lead, tuple(blocks))


def _finding(known: Sequence[Ladder]) -> str:
    """What is seen over all chips."""
    if len(known) == 1:
        return f"{known[0].finding} on {known[0].prediction.hardware.title}"
    kept = [one.kept for one in known if one.kept is not None]
    if not kept:
        return without_promise(known) if known else "no floor is known"
    span = f"{min(kept):.0%}" if len(kept) == 1 else f"{min(kept):.0%} to {max(kept):.0%}"
    return f"{span} of the promised speedup is kept"


def _chip(found: Sequence[tuple[Prediction, Ladder | str]]) -> Section:
    """The section of one chip: pictures of a few ladders each, tables of all."""
    group = [p for p, _ in found]
    known = [one for _, one in found if isinstance(one, Ladder)]
    name = group[0].hardware.name
    several = len(known) > IN_A_PICTURE
    blocks: list[Block] = []
    for start in range(0, len(known), IN_A_PICTURE):
        shown = tuple(known[start : start + IN_A_PICTURE])
        stem = file_name("ladder", name) + (f"-{start // IN_A_PICTURE + 1}" if several else "")
        alt = f"{group[0].hardware.title}: " + "; ".join(one.finding for one in shown)
        blocks.append(Picture(stem, alt, partial(pictures.draw, shown)))
    if known:
        blocks += [Section("Rungs", (_rungs(known),)), *_terms(known)]
    blocks.append(Section("Why, and what would help (predicted)", (reasons(group),)))
    without = tuple((p.variant.id, f"{one}.") for p, one in found if isinstance(one, str))
    without += tuple((one.prediction.variant.id, f"{one.missing}.") for one in known if one.missing)
    if without:
        blocks.append(Section("Rungs that are missing", (Items(without),)))
    return Section(group[0].hardware.title, tuple(blocks))


def _rungs(known: Sequence[Ladder]) -> Table:
    """Every rung of every ladder."""
    columns = (
        VARIANT, CHIP, Column("rung"), Column("mark"),
        Column("time", seconds_text), Column("speedup", times_text), Column("reason of the step"),
    )  # fmt: skip
    rows = []
    for one in known:
        names = one.prediction.variant.id, one.prediction.hardware.name
        rows += [(*names, step.rung, step.mark, step.time_s, step.speedup, step.why) for step in one.steps]
    return Table(columns, tuple(rows), "The mark says where time and speedup of the rung come from.")


def _terms(known: Sequence[Ladder]) -> list[Section]:
    """What `schedule` adds to `tiles`, term by term."""
    rows = []
    for one in known:
        p = one.prediction
        if p.time_s is None:
            continue
        for term in sorted(p.terms, key=lambda t: -t.time_s):
            share = float(term.time_s) / p.time_s
            rows.append((p.variant.id, p.hardware.name, term.name, float(term.time_s), share, term.reason))
    if not rows:
        return []
    columns = (
        VARIANT, CHIP, Column("term"), seconds("time", "predicted"),
        Column("share of the predicted time", lambda share: f"{share:.1%}", "predicted"), Column("reason"),
    )  # fmt: skip
    return [Section("What the schedule adds to the tiles", (Table(columns, tuple(rows)),))]


def _chart(known: Sequence[Ladder]) -> Chart:
    """Rungs along x, times or speedups as bars."""
    points = []
    for one in known:
        p, counts = one.prediction, hover(one.prediction)
        points += [
            Point(p.hardware.name, p.variant.id, step.rung, {"speedup": step.speedup, "time": step.time_s},
                  (f"{step.rung} ({step.mark})", step.why, *counts))
            for step in one.steps
        ]  # fmt: skip
    quantities = (
        Quantity("speedup", "speedup over the baseline at the same rung (ratio)", "predicted", log=False),
        Quantity("time", "time (s)", "predicted", log=False),
    )
    x_label = "rung (flops, roofline, tiles: bounded)"
    return Chart("ladder", "The ladder, rung by rung", "bars", x_label, quantities, tuple(points))
