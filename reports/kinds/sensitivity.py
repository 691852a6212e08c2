"""What-if: how the time moves with each number of the chip and of the problem."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ...simulator.api import LeftOut
from ...simulator.prediction import Prediction
from ...simulator.sensitivity import WHOLE_CHIP, End, Moved, Rung, Sensitivity, sensitivity
from ..common import check_chips, claims_section, left_out_section, named
from ..document import (
    CHIP,
    VARIANT,
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
from ..words import amount, file_name, workload
from ..words import seconds as seconds_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALONE = 6
"""Predictions that get a section and a picture each; more share those of their chip."""
SHARING = 5
"""Variants in a picture then."""
MOST_ROWS, FEW_ROWS = 10, 4
"""Numbers in each panel: of a prediction alone, and of one that shares its picture."""
WORTH = 0.03
"""Savings below it are not worth a word."""
FREE = 0.1
"""Doubling a number that adds no more is nearly free."""
METHOD = (
    "Each number is halved and doubled, one at a time, and all is predicted again, the fastest kernel chosen anew. "
    "Elasticity: log(time doubled / time halved) over log(number doubled / number halved); where one end cannot be "
    "had, the number as it is stands in for it. -1: twice the number halves the time; 0: it does not matter. Tiles and "
    "waves are whole numbers, so it is a slope over two octaves. Local elasticity: the same between 1 % less and 1 % "
    "more (a central difference), for continuous numbers of the chip. Cost alone is told: what a changed model is "
    "worth is not."
)
TOLD: dict[Rung, str] = {"schedule": "the predicted time", "tiles": "the floor"}
OWNERS = {"chip": "chip", "problem": "workload", "model": "model"}


def document(
    predictions: Sequence[Prediction], command: str | None = None, left_out: Sequence[LeftOut] = ()
) -> Document:
    """What to change, tornado pictures and tables, one interactive chart over all.

    Raises InputError for two chips of one name.
    """
    check_chips(p.hardware for p in predictions)
    found = [(p, sensitivity(p)) for p in predictions]
    known = [s for _, s in found if s is not None]
    blocks: list[Block] = [Paragraph(METHOD)]
    if known:
        alone = len(known) <= ALONE
        said: Block = Items(tuple(_items(known))) if alone else _overview(known)
        blocks.append(Section("What a chip designer should double, what a model designer should change", (said,)))
        blocks.append(_chart(known))
        blocks += _sections(known) if alone else _chips(known)
    without = tuple((f"{p.variant.id} on {p.hardware.name}", "no floor and no schedule: nothing can be moved.")
                    for p, s in found if s is None)  # fmt: skip
    if without:
        blocks.append(Section("Without a time", (Items(without),)))
    blocks += [*claims_section(predictions), *left_out_section(left_out), reproduce(predictions, command)]
    title = finding(known[0]) if len(known) == 1 else overall("Sensitivity", known)
    return Document("sensitivity", title, f"Workload: {workload(predictions[0])}.", tuple(blocks))


@dataclass(frozen=True, slots=True)
class Gain:
    """A number at its faster end. saved: share of the time; kernel: the fastest there, where it is another one."""

    number: str
    doubled: bool
    saved: float
    kernel: str = ""

    @property
    def said(self) -> str:
        return f"{'doubling' if self.doubled else 'halving'} {self.number}"

    @property
    def order(self) -> str:
        """As advice."""
        return f"{'double' if self.doubled else 'halve'} {self.number}"

    def share(self, of: str = "") -> str:
        """What is saved, and the kernel that becomes the fastest."""
        with_ = f" (with {self.kernel}, then the fastest kernel)" if self.kernel else ""
        return f"{percent(self.saved)}{of}{with_}"


def percent(share: float) -> str:
    """A share in whole percent."""
    return f"{100 * share:.0f}\u00a0%"


def gains(s: Sensitivity, numbers: Sequence[Moved]) -> list[Gain]:
    """What saves time, the most first: each number halved or doubled, whichever is faster."""
    found = []
    for one in numbers:
        end, ratio = one.best(s.rung)
        if 1 - ratio >= WORTH:
            name = f"the {one.name}" if one.group == "chip" and "_" not in one.name else one.name
            kernel = (end.kernel or "") if one.switches(end) else ""
            found.append(Gain(name, end is one.doubled, 1 - ratio, kernel))
    return sorted(found, key=lambda gain: -gain.saved)


def units(s: Sensitivity) -> list[Moved]:
    """Numbers of single units of the chip: the clock and the count of units speed up all at once."""
    return [one for one in s.of("chip") if one.name not in WHOLE_CHIP]


def finding(s: Sensitivity) -> str:
    """What the picture shows: which unit of the chip is worth most."""
    where = f"{s.prediction.variant.id} on {s.prediction.hardware.title}"
    best = gains(s, units(s))
    if not best:
        return f"{where}: no single unit, doubled, saves {percent(WORTH)}"
    rest = f"{best[1].said} {percent(best[1].saved)}" if best[1:] else f"no other single unit above {percent(WORTH)}"
    of = "" if s.rung == "schedule" else " of the floor"
    return f"{where}: {best[0].said} saves {percent(best[0].saved)}{of}, {rest}"


def overall(where: str, known: Sequence[Sensitivity], noun: str = "prediction") -> str:
    """What several predictions have in common: the unit that saves most on the most of them."""
    best = [found[0] for s in known if (found := gains(s, units(s)))]
    if not best:
        return f"{where}: no single unit, doubled, saves {percent(WORTH)}"
    said, count = min(Counter(gain.said for gain in best).items(), key=lambda item: (-item[1], item[0]))
    most = max(gain.saved for gain in best if gain.said == said)
    every = "both" if len(known) == 2 else f"all {len(known)}"
    of = every if count == len(known) else f"{count} of {len(known)}"
    return f"{where}: {said} saves the most for {of} {noun}s, up to {percent(most)}"


def advice(s: Sensitivity) -> tuple[str, str]:
    """Two sentences: what a chip designer should double, and what a model designer should change."""
    best, whole = gains(s, units(s)), gains(s, [one for one in s.of("chip") if one.name in WHOLE_CHIP])
    chip = _advised("A chip designer", "unit of the chip", s, best)
    if whole:
        chip += f"; all compute at once: {', '.join(f'{gain.said} {gain.share()}' for gain in whole)}"
    model = _advised("A model designer", "number of the model", s, gains(s, s.of("model")))
    added = [(one, ratio - 1) for one in s.of("model") if (ratio := one.relative(one.doubled, s.rung)) is not None]
    free = [f"{one.name} (+{percent(more)})" for one, more in sorted(added, key=lambda a: a[1]) if 0 <= more < FREE]
    if free:
        model += f"; nearly free to double: {', '.join(free[:3])}"
    return f"{chip}.", f"{model}."


def _advised(who: str, what: str, s: Sensitivity, found: Sequence[Gain]) -> str:
    if not found:
        return f"{who}: no single {what}, doubled or halved, saves {percent(WORTH)} of {TOLD[s.rung]}"
    then = ", ".join(f"{gain.said} {gain.share()}" for gain in found[1:4])
    first = f"{who} should {found[0].order}: it saves {found[0].share(f' of {TOLD[s.rung]}')}"
    return f"{first}; then {then}" if then else first


def _items(known: Sequence[Sensitivity]) -> Iterator[tuple[str, str]]:
    for s in known:
        where = f"{s.prediction.variant.id} on {s.prediction.hardware.title}"
        yield where, " ".join(advice(s))


def _overview(known: Sequence[Sensitivity]) -> Table:
    """For each prediction its times and the best change of a unit, of the chip as a whole, and of the model."""
    rows = []
    for s in known:
        p = s.prediction
        groups = (units(s), s.of("model"))
        cells: list[str | float | None] = []
        for group in groups:
            best = next(iter(gains(s, group)), None)
            cells += [best.said, best.saved] if best else [None, None]
        rows.append((p.variant.id, p.hardware.name, p.time_s, p.rung_time("tiles"), *cells))
    columns = (
        VARIANT, CHIP, seconds("time now", "predicted"),
        seconds("floor now", "bounded"), Column("change of the chip"), Column("it saves", percent, "predicted"),
        Column("change of the model"), Column("this saves", percent, "predicted"),
    )  # fmt: skip
    note = "The change of one unit of the chip, and of one number of the model, that saves most."
    if any(s.rung == "tiles" for s in known):
        note += " Where no time is predicted, of the floor: bounded."
    return Table(columns, tuple(rows), note)


def _sections(known: Sequence[Sensitivity]) -> Iterator[Section]:
    """A section a prediction."""
    stems: Counter[str] = Counter()
    for s in known:
        p = s.prediction
        stem = file_name("sensitivity", p.variant.id, p.hardware.name)
        stems[stem] += 1
        blocks: list[Block] = [Paragraph(_now(s))]
        if s.moved:
            title, stem = finding(s), stem if stems[stem] == 1 else f"{stem}-{stems[stem]}"
            more = max(len(s.of("chip")), len(s.of("problem", "model"))) > MOST_ROWS
            caption = f"The {MOST_ROWS} strongest numbers of each side; the others stand in the table." if more else ""
            blocks += [Picture(stem, title, partial(_draw, (s,), title, False), caption), _table([s])]
        reasons = tuple((f"{one.name} {word}", f"{said}.") for one in s.moved for word, end in _ends(one)
                        if (said := _remark(one, end, s.rung)))  # fmt: skip
        if reasons:
            blocks.append(Section("Unavailable, or with another kernel", (Items(reasons),)))
        blocks += _still([s])
        yield Section(f"{named(p)} on {p.hardware.title}", tuple(blocks))


def _now(s: Sensitivity) -> str:
    """The time that all is relative to; where there is none, that the floor stands in for it, and why."""
    p, floor = s.prediction, seconds_text(s.prediction.rung_time("tiles"))
    if s.rung == "tiles":
        why = next((w for w in p.warnings if w.startswith("no schedule")), "no schedule")
        return f"What moves here is the floor of the tiles, {floor} now (bounded): {why}."
    kernel = p.chosen.implementation
    with_ = f" with {kernel.name}" if kernel else ""
    return f"Now: {seconds_text(p.time_s)}{with_} (predicted); floor of the tiles {floor} (bounded)."


def _chips(known: Sequence[Sensitivity]) -> Iterator[Section]:
    """A section a chip: pictures with several variants each, one table."""
    for name in dict.fromkeys(s.prediction.hardware.name for s in known):
        here = [s for s in known if s.prediction.hardware.name == name]
        title = here[0].prediction.hardware.title
        drawn = [s for s in here if s.moved]
        blocks: list[Block] = []
        for start in range(0, len(drawn), SHARING):
            some = tuple(drawn[start : start + SHARING])
            said = overall(title, some, "variant") if some[1:] else finding(some[0])
            caption = f"The {FEW_ROWS} strongest numbers of each; the clock and the count of compute units, which "
            caption += "speed up all compute, stand in the table."
            stem = file_name("sensitivity", name, str(start // SHARING + 1))
            blocks.append(Picture(stem, said, partial(_draw, some, said, True), caption))
        yield Section(title, (*blocks, _table(here, remarks=True), *_still(here)))


def _still(found: Sequence[Sensitivity]) -> list[Paragraph]:
    """One sentence about the numbers that move nothing, in any of the predictions."""
    moving = {one.name for s in found for one in s.moved}
    names = dict.fromkeys(name for s in found for name in s.unmoved if name not in moving)
    return [Paragraph(f"Halved or doubled, these move nothing: {', '.join(names)}.")] if names else []


def _draw(found: Sequence[Sensitivity], title: str, shared: bool) -> Figure:
    """The picture of one prediction, or of several on one chip."""
    rungs = {s.rung for s in found}
    time = "predicted time, or floor," if len(rungs) > 1 else "predicted time"
    time = "floor of the time (bounded)" if rungs == {"tiles"} else time
    groups = tuple(_group(s, shared) for s in found)
    return tornado.draw(tornado.Tornado(title, f"{workload(found[0].prediction)}.", time, groups))


def _group(s: Sensitivity, shared: bool) -> tornado.Group:
    """The strongest numbers of a prediction as rows of a picture; those that cannot be changed at all left out."""
    sides = (units(s) if shared else s.of("chip"), s.of("problem", "model"))
    most = FEW_ROWS if shared else MOST_ROWS
    chip, problem = (tuple(_row(s, one) for one in side if one.effect(s.rung) > 0)[:most] for side in sides)
    floor = " (floor)" if s.rung == "tiles" else ""
    return tornado.Group(f"{s.prediction.variant.id}{floor}" if shared else "", chip, problem)


def _row(s: Sensitivity, one: Moved) -> tornado.Row:
    switched = one.switches(one.halved), one.switches(one.doubled)
    name = f"{one.name} ({value_text(one)})"
    return tornado.Row(name, one.relative(one.halved, s.rung), one.relative(one.doubled, s.rung), switched)


def _ends(one: Moved) -> tuple[tuple[str, End], tuple[str, End]]:
    return ("halved", one.halved), ("doubled", one.doubled)


def _remark(one: Moved, end: End, rung: Rung) -> str:
    """Why there is no time at an end, or which kernel is the fastest there."""
    if end.at(rung) is None:
        return f"unavailable: {end.why}"
    return f"{end.kernel} is faster than {one.now.kernel}" if one.switches(end) else ""


def value_text(one: Moved) -> str:
    """A number as it is, with its unit."""
    value = one.now.value
    assert value is not None
    if one.unit == "s":
        return seconds_text(value)
    if one.unit in ("Hz", "B", "B/s"):
        return amount(value, one.unit)
    unit = "token" if one.unit == "tokens" and value == 1 else one.unit
    return f"{value:,.6g} {unit}".rstrip()


def _table(found: Sequence[Sensitivity], remarks: bool = False) -> Table:
    """Every number that moves a time: what halving and doubling it gives, at the schedule and at the floor."""
    rungs: list[tuple[Rung, str, Mark]] = [("tiles", "floor", "bounded")]
    if any(s.rung == "schedule" for s in found):
        rungs.insert(0, ("schedule", "time", "predicted"))
    columns = [VARIANT, CHIP, Column("number"), Column("of"),
               Column("now")]  # fmt: skip
    for rung, what, mark in rungs:
        columns += [seconds(f"{what}, number halved", mark), seconds(f"{what}, number doubled", mark),
                    number("elasticity" if rung == "schedule" else "elasticity of the floor", mark)]  # fmt: skip
        columns += [number("local elasticity", mark)] if rung == rungs[0][0] else []
    columns += [Column("remarks")] if remarks else []
    rows = []
    for s in found:
        for one in s.moved:
            cells: list[str | float | None] = [
                s.prediction.variant.id, s.prediction.hardware.name, one.name, OWNERS[one.group], value_text(one)
            ]  # fmt: skip
            for rung, _, _ in rungs:
                cells += [one.halved.at(rung), one.doubled.at(rung), _rounded(one.elasticity(rung))]
                cells += [_rounded(one.local(rung))] if rung == rungs[0][0] else []
            said = [f"{word}: {text}" for word, end in _ends(one) if (text := _remark(one, end, s.rung))]
            rows.append((*cells, "; ".join(said) or None) if remarks else tuple(cells))
    return Table(tuple(columns), tuple(rows))


def _rounded(value: float | None) -> float | None:
    """Thousandths: what is left below is noise of the arithmetic; no -0."""
    return None if value is None else round(value, 3) + 0.0


def _chart(known: Sequence[Sensitivity]) -> Chart:
    """Bars of every number: its elasticity, or the change of the time where it is doubled or halved."""
    points = []
    for s in known:
        p, mark = s.prediction, "predicted" if s.rung == "schedule" else "floor, bounded"
        for one in s.moved:
            values = {"elasticity": one.elasticity(s.rung), "doubled": _change(one.relative(one.doubled, s.rung)),
                      "halved": _change(one.relative(one.halved, s.rung))}  # fmt: skip
            hover = [f"{named(p)} on {p.hardware.title}", f"{one.name}, now {value_text(one)}"]
            hover += [f"{word}: {seconds_text(end.at(s.rung))} ({mark})" for word, end in _ends(one)]
            hover += [f"{word}: {text}" for word, end in _ends(one) if (text := _remark(one, end, s.rung))]
            points.append(Point(p.hardware.name, p.variant.id, one.name, values, tuple(hover)))
    mark_of_all: Mark = "predicted" if any(s.rung == "schedule" for s in known) else "bounded"
    quantities = (
        Quantity("elasticity", "elasticity of the time (ratio of logs)", mark_of_all, log=False),
        Quantity("doubled", "change of the time, number doubled (%)", mark_of_all, log=False),
        Quantity("halved", "change of the time, number halved (%)", mark_of_all, log=False),
    )
    title = "How the time moves with each number"
    return Chart("sensitivity", title, "bars", "number", quantities, tuple(points), x_log=False)


def _change(ratio: float | None) -> float | None:
    """A relative time as a change in percent."""
    return None if ratio is None else round(100 * (ratio - 1), 2)
