"""What several kinds of reports have: chips, sections, what is told of a point."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..simulator.api import LeftOut
from ..simulator.errors import InputError
from ..simulator.hardware import Hardware
from ..simulator.prediction import FLOORS, Prediction
from .document import CHIP, VARIANT, Column, Items, Paragraph, Section, Table, times
from .words import amount, file_name, kernel, parameters, seconds, workload
from .words import times as speedup_text


def check_chips(chips: Iterable[Hardware]) -> None:
    """Raises InputError for two chips of one name: files, tables and switches go by names."""
    known: dict[str, Hardware] = {}
    for chip in chips:
        if known.setdefault(file_name(chip.name), chip) is not chip:
            raise InputError(f"two chips are called {chip.name!r}: give the profiles different names")


def by_chip(predictions: Sequence[Prediction]) -> list[list[Prediction]]:
    """Predictions chip by chip, in their order. Raises InputError for two chips of one name."""
    check_chips(p.hardware for p in predictions)
    groups: dict[str, list[Prediction]] = {}
    for p in predictions:
        groups.setdefault(p.hardware.name, []).append(p)
    return list(groups.values())


def hover(p: Prediction) -> tuple[str, ...]:
    """What is told of a point: kernel, counts, times, limit."""
    useful = p.evaluation.useful
    lines = [
        f"{named(p)} on {p.hardware.title}", kernel(p),
        f"{amount(float(useful.matrix_flops), 'FLOP')}, {amount(float(useful.special))} exps, "
        f"{amount(float(useful.hbm_bytes), 'B')} HBM (counted)",
    ]  # fmt: skip
    floors = [f"{rung} {seconds(time)}" for rung in FLOORS if (time := p.rung_time(rung)) is not None]
    lines.append(f"{', '.join(floors)} (bounded)" if floors else "no floor")
    lines.append(f"schedule {seconds(p.time_s)} (predicted)" if p.time_s is not None else "no schedule")
    if p.speedup is not None:
        lines.append(f"speedup {speedup_text(p.speedup)} (predicted)")
    return (*lines, f"limited by {p.limited_by}") if p.limited_by else tuple(lines)


def left_out_section(left_out: Iterable[LeftOut]) -> list[Section]:
    """Variants that refuse the problem, with the reason; nothing where there are none."""
    items = tuple((f"{one.variant} on {one.hardware}", f"{one.why}.") for one in left_out)
    return [Section("Left out", (Items(items),))] if items else []


def claims_section(predictions: Sequence[Prediction]) -> list[Section]:
    """What papers claim of the variants, beside what is predicted here; nothing where no paper claims anything."""
    rows = [
        (p.variant.id, p.hardware.name, claim.figure, claim.configuration, claim.where,
         "read in the source" if claim.checked else "not verified", p.rung_speedup("flops"), p.speedup)
        for p in predictions for claim in p.variant.claims
    ]  # fmt: skip
    if not rows:
        return []
    columns = (
        VARIANT, CHIP, Column("claim", mark="claimed"),
        Column("configuration of the claim"), Column("where"), Column("source"), times("FLOP ratio here", "counted"),
        times("speedup here", "predicted"),
    )  # fmt: skip
    said = (
        f"A claim holds for its own configuration; what stands beside it is for this one: {workload(predictions[0])}."
    )
    return [Section("Claims of the papers", (Paragraph(said), Table(columns, tuple(rows))))]


def reasons(predictions: Sequence[Prediction]) -> Items:
    """For each variant what limits it, what would help, how far the constants are known, and warnings."""
    items = []
    for p in predictions:
        d = p.to_dict()
        text = f"{d['reason']}."
        if d["suggestion"]:
            text += f" Would help: {d['suggestion']}."
        if d["confidence"]:
            error = f", known error about {d['error_percent']:.0f} %" if d["error_percent"] else ""
            text += f" Constants: {d['confidence']}{error}."
        items.append((p.variant.id, text))
        items += [(f"{p.variant.id}, warning", f"{warning}.") for warning in p.warnings]
    return Items(tuple(items))


def named(p: Prediction) -> str:
    """A variant with its parameters."""
    given = parameters(p)
    return f"{p.variant.id} ({given})" if given else p.variant.id
