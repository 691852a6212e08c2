"""Sections that several kinds of reports have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..simulator.api import LeftOut
from ..simulator.prediction import Prediction
from .document import Column, Items, Paragraph, Section, Table, times
from .words import parameters, workload


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
        Column("variant", facet="variant"), Column("chip", facet="chip"), Column("claim", mark="claimed"),
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
