"""What-if: how the time moves with each number of the chip and of the problem."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...simulator.api import LeftOut
from ...simulator.prediction import Prediction
from ...simulator.sensitivity import WHOLE_CHIP, End, Moved, Sensitivity, sensitivity
from ..common import left_out_section, named
from ..document import (
    Block,
    Chart,
    Column,
    Document,
    Items,
    Mark,
    Paragraph,
    Picture,
    Point,
    Quantity,
    Section,
    Table,
    number,
    seconds,
)
from ..pictures import tornado
from ..provenance import reproduce
from ..words import amount, workload
from ..words import seconds as seconds_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROWS = 10
"""Numbers that a picture of one prediction shows in each panel."""
WORTH = 0.03
"""Savings below it are not worth a word."""
PICTURES = 40
"""Pictures a report has at most; tables and the chart have all."""
METHOD = (
    "Each number is halved and doubled, one at a time, and all is predicted again, the fastest kernel chosen anew. "
    "Elasticity: log(time doubled / time halved) over log(number doubled / number halved); where one end cannot be "
    "had, the number as it is stands in for it. -1: twice the number halves the time; 0: it does not matter. Tiles and "
    "waves are whole numbers, so it is a slope over two octaves. Local elasticity: the same between 1 % less and 1 % "
    "more (a central difference), for continuous numbers of the chip."
)


def document(
    predictions: Sequence[Prediction], command: str | None = None, left_out: Sequence[LeftOut] = ()
) -> Document:
    """A tornado and a table for each variant on each chip, one interactive chart over all."""
    found = [(p, sensitivity(p)) for p in predictions]
    known = [s for _, s in found if s is not None]
    blocks: list[Block] = [Paragraph(METHOD)]
    if len(known) > PICTURES:
        blocks.append(Paragraph(f"Pictures of the first {PICTURES} of {len(known)}; ask for fewer to see the others."))
    if known:
        blocks += [_advice(known), _chart(known)]
    stems: dict[str, int] = {}
    for s in known:
        stem = _stem(s)
        stems[stem] = stems.get(stem, 0) + 1
        drawn = sum(stems.values()) <= PICTURES
        blocks.append(_section(s, stem if stems[stem] == 1 else f"{stem}-{stems[stem]}", drawn))
    without = tuple((f"{p.variant.id} on {p.hardware.name}", "no floor and no schedule: nothing can be moved.")
                    for p, s in found if s is None)  # fmt: skip
    if without:
        blocks.append(Section("Without a time", (Items(without),)))
    blocks += [*left_out_section(left_out), reproduce(predictions, command)]
    title = finding(known[0]) if len(known) == 1 else f"What would make {len(known)} predictions faster"
    return Document("sensitivity", title, f"Workload: {workload(predictions[0])}.", tuple(blocks))


def _stem(s: Sensitivity) -> str:
    text = f"sensitivity-{s.prediction.variant.id}-{s.prediction.hardware.name}"
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-.")


@dataclass(frozen=True, slots=True)
class Gain:
    """A number at its faster end. said: in words; saved: share of the time."""

    said: str
    saved: float


def gains(s: Sensitivity, numbers: Sequence[Moved]) -> list[Gain]:
    """What saves time, the most first: each number halved or doubled, whichever is faster."""
    found = []
    for one in numbers:
        end, ratio = one.best(s.rung)
        if 1 - ratio >= WORTH:
            found.append(Gain(f"{'doubling' if end is one.doubled else 'halving'} {_the(one)}", 1 - ratio))
    return sorted(found, key=lambda gain: -gain.saved)


def _the(one: Moved) -> str:
    """A number in a sentence: those of the chip with an article."""
    return f"the {one.name}" if one.group == "chip" else one.name


def finding(s: Sensitivity) -> str:
    """What the picture shows: which unit of the chip is worth most."""
    where = f"{s.prediction.variant.id} on {s.prediction.hardware.title}"
    units = gains(s, _units(s))
    if not units:
        return f"{where}: no single unit of the chip, doubled, saves {WORTH:.0%}"
    rest = f"next {units[1].said} {units[1].saved:.0%}" if units[1:] else f"no other unit saves {WORTH:.0%}"
    of = "" if s.rung == "schedule" else " of the floor"
    return f"{where}: {units[0].said} saves {units[0].saved:.0%}{of}, {rest}"


def _units(s: Sensitivity) -> list[Moved]:
    """Numbers of single units: the clock and the count of units speed up all at once."""
    return [one for one in s.of("chip") if one.name not in WHOLE_CHIP]


def _list(found: Sequence[Gain], most: int = 3) -> str:
    return ", ".join(f"{gain.said} ({gain.saved:.0%})" for gain in found[:most])


def advice(s: Sensitivity) -> tuple[str, str]:
    """What a chip designer should double, and what a model designer should change."""
    what = "predicted time" if s.rung == "schedule" else "floor"
    units, whole = gains(s, _units(s)), gains(s, [one for one in s.of("chip") if one.name in WHOLE_CHIP])
    chip = f"saves of the {what}: {_list(units)}" if units else f"no single unit saves {WORTH:.0%} of the {what}"
    if whole:
        chip += f"; of the whole chip: {_list(whole)}"
    model = gains(s, s.of("model"))
    changed = f"saves of the {what}: {_list(model)}" if model else f"no number of the model saves {WORTH:.0%}"
    return f"Chip designer: {chip}.", f"Model designer: {changed}."


def _advice(known: Sequence[Sensitivity]) -> Section:
    items = tuple((f"{s.prediction.variant.id} on {s.prediction.hardware.title}", " ".join(advice(s))) for s in known)
    return Section("What a chip designer should double, what a model designer should change", (Items(items),))


@dataclass(frozen=True, slots=True)
class _Drawing:
    s: Sensitivity

    def __call__(self) -> Figure:
        time = "predicted time" if self.s.rung == "schedule" else "floor of the time (bounded)"
        return tornado.draw(tornado.Tornado(finding(self.s), f"{workload(self.s.prediction)}.", time, (group(self.s),)))


def group(s: Sensitivity, name: str = "", most: int = MOST_ROWS) -> tornado.Group:
    """The numbers of a prediction as rows of a picture, the strongest of the chip and of the problem."""
    chip, problem = s.of("chip")[:most], s.of("problem", "model")[:most]
    return tornado.Group(name, tuple(_row(s, one) for one in chip), tuple(_row(s, one) for one in problem))


def _row(s: Sensitivity, one: Moved) -> tornado.Row:
    switched = one.switches(one.halved), one.switches(one.doubled)
    name = f"{one.name} ({value_text(one)})"
    return tornado.Row(name, one.relative(one.halved, s.rung), one.relative(one.doubled, s.rung), switched)


def _section(s: Sensitivity, stem: str, drawn: bool) -> Section:
    p = s.prediction
    blocks: list[Block] = []
    if s.rung == "tiles":
        why = next((w for w in p.warnings if w.startswith("no schedule")), "no schedule")
        blocks.append(Paragraph(f"What moves here is the floor of the tiles: {why}."))
    if s.moved and drawn:
        blocks.append(Picture(stem, finding(s), _Drawing(s)))
    if s.moved:
        blocks.append(_table(s))
    reasons = tuple((f"{word} {one.name}", f"{said}.") for one in s.moved for word, end in _ends(one)
                    if (said := _remark(s, one, end)))  # fmt: skip
    if reasons:
        blocks.append(Section("Unavailable, or with another kernel", (Items(reasons),)))
    if s.unmoved:
        blocks.append(Paragraph(f"Moves nothing: {', '.join(s.unmoved)}."))
    return Section(f"{named(p)} on {p.hardware.title}", tuple(blocks))


def _ends(one: Moved) -> tuple[tuple[str, End], tuple[str, End]]:
    return ("half", one.halved), ("twice", one.doubled)


def _remark(s: Sensitivity, one: Moved, end: End) -> str:
    """Why there is no time at an end, or which kernel is the fastest there."""
    if end.at(s.rung) is None:
        return f"unavailable: {end.why}"
    return f"{end.kernel} is faster than {one.now.kernel}" if one.switches(end) else ""


def _mark(s: Sensitivity) -> Mark:
    return "predicted" if s.rung == "schedule" else "bounded"


def value_text(one: Moved) -> str:
    """A number as it is, with its unit."""
    value = one.now.value
    assert value is not None
    if one.unit == "s":
        return seconds_text(value)
    if one.unit in ("Hz", "B", "B/s"):
        return amount(value, one.unit)
    return f"{value:,.6g} {one.unit}".rstrip()


def _table(s: Sensitivity) -> Table:
    """Every number that moves a time."""
    mark = _mark(s)
    columns = [Column("number"), Column("of"), Column("now"), seconds("time now", mark),
               seconds("time, number halved", mark), seconds("time, number doubled", mark),
               number("elasticity", mark), number("local elasticity", mark)]  # fmt: skip
    if s.rung == "schedule":
        columns.append(number("elasticity of the floor", "bounded"))
    rows = []
    for one in s.moved:
        cells = [one.name, one.group, value_text(one), *(end.at(s.rung) for end in (one.now, one.halved, one.doubled)),
                 _rounded(one.elasticity(s.rung)), _rounded(one.local(s.rung))]  # fmt: skip
        rows.append((*cells, _rounded(one.elasticity("tiles"))) if s.rung == "schedule" else tuple(cells))
    return Table(tuple(columns), tuple(rows))


def _rounded(value: float | None) -> float | None:
    """Thousandths: what is left below is noise of the arithmetic; no -0."""
    return None if value is None else round(value, 3) + 0.0


def _chart(known: Sequence[Sensitivity]) -> Chart:
    points = []
    for s in known:
        p = s.prediction
        for one in s.moved:
            values = {"twice": one.relative(one.doubled, s.rung), "half": one.relative(one.halved, s.rung),
                      "elasticity": one.elasticity(s.rung)}  # fmt: skip
            hover = (f"{named(p)} on {p.hardware.title}", f"{one.name}, now {value_text(one)}",
                     *(f"{word}: {seconds_text(end.at(s.rung))} ({_mark(s)})" for word, end in _ends(one)),
                     *(f"{word}: {said}" for word, end in _ends(one) if (said := _remark(s, one, end))))  # fmt: skip
            points.append(Point(p.hardware.name, p.variant.id, one.name, values, hover))
    mark: Mark = "predicted" if any(s.rung == "schedule" for s in known) else "bounded"
    quantities = (
        Quantity("elasticity", "elasticity of the time (ratio of logs)", mark, log=False),
        Quantity("twice", "time with twice the number (ratio to now)", mark, log=False),
        Quantity("half", "time with half the number (ratio to now)", mark, log=False),
    )
    return Chart("sensitivity", "How the time moves with each number", "bars", "number", quantities, tuple(points),
                 x_log=False)  # fmt: skip
