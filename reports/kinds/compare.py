"""Time and memory of variants over a range of lengths: rankings, and from which length on each of them pays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ...simulator.api import LeftOut
from ...simulator.crossover import RUNGS, Curve, Efficiency, Sample, crossings, efficiency, leads
from ...simulator.errors import InputError
from ...simulator.hardware import Hardware
from ...simulator.prediction import Prediction
from ..common import check_chips, claims_section, left_out_section
from ..document import (
    CHIP,
    VARIANT,
    Block,
    Chart,
    Column,
    Document,
    Items,
    Paragraph,
    Picture,
    Point,
    Quantity,
    Section,
    Table,
    amount,
    seconds,
    times,
)
from ..pictures.lengths import Path, Sheet, draw, tokens
from ..provenance import reproduce
from ..words import amount as amount_text
from ..words import file_name, parameters, plural, workload
from ..words import seconds as seconds_text
from ..words import times as times_text

MOST_PAIRS = 6
"""Variants up to which each pair's crossings are listed."""
SAME = 1e-3
"""Share by which times differ at least, to be those of another problem."""
MARKS = {"tiles": "floor of the tiles, bounded", "schedule": "predicted"}
LENGTH_NAMES = {"seq": "sequence length", "kv_len": "length of the cache"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """The curves of one chip. rung: what is ranked by, `tiles` where no kernel is modelled. pays: by variant and rung.
    leads: (from which length on, who is fastest)."""

    hardware: Hardware
    curves: tuple[Curve, ...]
    rung: str
    pays: dict[str, dict[str, Efficiency]]
    leads: tuple[tuple[int, Curve], ...]

    @property
    def lengths(self) -> tuple[int, ...]:
        return tuple(sorted({sample.length for curve in self.curves for sample in curve.samples}))

    @property
    def axis(self) -> str:
        return self.curves[0].question.axis

    @property
    def baseline(self) -> str:
        return self.curves[0].question.baseline


def left_out(curves: Sequence[Curve]) -> list[LeftOut]:
    """Variants with the lengths that they refuse, and why."""
    found = []
    for one in curves:
        for gap in one.gaps:
            where = f" (at {', '.join(map(tokens, gap.lengths))} tokens)" if one.samples else ""
            found.append(LeftOut(one.question.variant.id, one.question.hardware.name, f"{gap.why}{where}"))
    return found


def comparisons(curves: Sequence[Curve]) -> list[Comparison]:
    """One a chip, in the order of the curves. Raises InputError where every variant refuses every length."""
    chips: dict[int, list[Curve]] = {}
    for one in curves:
        chips.setdefault(id(one.question.hardware), []).append(one)
    if not any(one.samples for one in curves if not one.question.is_baseline or len(curves) == len(chips)):
        raise InputError(
            "; ".join(dict.fromkeys(gap.why for one in curves for gap in one.gaps)) or "nothing to compare"
        )
    check_chips(group[0].question.hardware for group in chips.values())
    return [_comparison(tuple(one for one in group if one.samples)) for group in chips.values()]


def _comparison(curves: tuple[Curve, ...]) -> Comparison:
    rung = "schedule" if any(one.times("schedule") for one in curves) else "tiles"
    pays = {
        one.question.variant.id: {rung: efficiency(one, rung) for rung in RUNGS}
        for one in curves if not one.question.is_baseline
    }  # fmt: skip
    # Where the baseline ties with others, it is the one that leads.
    ordered = sorted(curves, key=lambda one: not one.question.is_baseline)
    return Comparison(curves[0].question.hardware, curves, rung, pays, tuple(leads(ordered, rung)))


def document(curves: Sequence[Curve], command: str | None = None) -> Document:
    """A picture and its tables a chip, one interactive chart and one ranking over all chips.

    Raises InputError where every variant refuses, or for two chips of one name.
    """
    chips = comparisons(curves)
    predictions = [p for chip in chips for one in chip.curves for p in _predictions(one)]
    about = _workload(chips[0])
    blocks: list[Block] = [_chart(chips)]
    blocks += [_chip(chip, about) for chip in chips]
    blocks.append(_ranking(chips))
    last = [one.question.prediction(one.samples[-1].length) for chip in chips for one in chip.curves]
    blocks += [*_notes(last), *claims_section(last), *left_out_section(left_out(curves)),
               reproduce(predictions, command)]  # fmt: skip
    titles = ", ".join(chip.hardware.title for chip in chips)
    return Document("compare", f"Attention variants over {LENGTH_NAMES[chips[0].axis]} on {titles}",
                    f"Workload: {about}. Speedups are over {chips[0].baseline}; variants compute different "
                    "functions, and only their cost is compared.", tuple(blocks))  # fmt: skip


def _predictions(one: Curve) -> list[Prediction]:
    """One prediction for each kernel that the curve passes."""
    first: dict[str | None, int] = {}
    for sample in one.samples:
        first.setdefault(sample.implementation, sample.length)
    return [one.question.prediction(length) for length in first.values()]


def _workload(chip: Comparison) -> str:
    """The problem, with the range of lengths."""
    low, high = chip.lengths[0], chip.lengths[-1]
    told = workload(next(c for c in chip.curves if c.samples[-1].length == high).question.prediction(high))
    return told if low == high else told.replace(f"{high} ", f"{tokens(low)} to {tokens(high)} ", 1)


def _chip(chip: Comparison, about: str) -> Section:
    """One chip: the picture, from where on variants pay, who is fastest where."""
    blocks: list[Block] = []
    sheet = _sheet(chip, about)
    if sheet.paths:
        stem = file_name("compare", chip.hardware.name)
        blocks.append(Picture(stem, sheet.title, partial(draw, sheet), _caption(chip)))
    else:
        blocks.append(Paragraph(f"No picture: the numbers of {chip.hardware.title} give no floor of this problem."))
    if chip.pays:
        blocks.append(Section(f"From which length on a variant is faster than {chip.baseline}", (_pays(chip),)))
    if chip.leads:
        items = tuple((f"from {n:,} tokens", f"{one.question.variant.id}.") for n, one in chip.leads)
        blocks.append(Section(f"The fastest by length ({MARKS[chip.rung]})", (Items(items),)))
    if 2 < len(chip.curves) <= MOST_PAIRS:
        crossed = [
            (crossing.length, crossing.faster, crossing.slower)
            for one, other in itertools.combinations(chip.curves, 2) for crossing in crossings(one, other, chip.rung)
        ]  # fmt: skip
        if crossed:
            columns = (_length("from length", chip.rung), Column("faster", facet="variant"), Column("than"))
            blocks.append(Section(f"Where two curves cross ({MARKS[chip.rung]})",
                                  (Table(columns, tuple(sorted(crossed)), _crossed_note(chip)),)))  # fmt: skip
    return Section(chip.hardware.title, tuple(blocks))


def _caption(chip: Comparison) -> str:
    said = "Above: the predicted time of a call" if chip.rung == "schedule" else "Above: the floor of the tiles"
    said += f"; rings mark the length from which on a variant is faster than {chip.baseline}, to the token. "
    said += "Shaded: the likely range, where lines are few. " if chip.rung == "schedule" else ""
    undrawn = [one.question.variant.id for one in chip.curves if not one.times(chip.rung)]
    if _references(chip):
        said += f"{chip.baseline} for a variant: what that one is compared with, causal or with its head dimensions. "
    said += f"Without such a time, and not drawn: {', '.join(undrawn)}. " if undrawn else ""
    return said + (
        "Below: the bytes that a call must at least read and write (operands), and dashed the cache that one "
        "layer keeps after it. Cached keys and values are operands too: the two do not add up."
    )


def _crossed_note(chip: Comparison) -> str:
    if not _references(chip):
        return ""
    return (
        f"{chip.baseline} is the baseline itself here, for every variant; the table above compares a variant with "
        f"{chip.baseline} of the same problem, causal or with its head dimensions, and so tells other lengths."
    )


def _sheet(chip: Comparison, about: str) -> Sheet:
    axis = LENGTH_NAMES[chip.axis]
    paths = [_path(chip, one) for one in chip.curves if one.times(chip.rung)]
    paths = [*(p for p in paths if not p.baseline), *_references(chip), *(p for p in paths if p.baseline)]
    return Sheet(
        finding(chip), about, f"{axis} (tokens; 1k = 1,024)", f"time of a call ({MARKS[chip.rung]})", chip.lengths,
        tuple(paths),
    )  # fmt: skip


def _references(chip: Comparison) -> list[Path]:
    """Lines of what variants are compared with, where that is another problem than the baseline's own: causal for
    those that are causal by definition, other head dimensions for latent attention."""
    own = next((one.times(chip.rung) for one in chip.curves if one.question.is_baseline), {})
    lines: dict[tuple[float | None, ...], list[str]] = {}
    for one in chip.curves:
        over = {s.length: (s.time_s(chip.rung), s.over_baseline(chip.rung)) for s in one.samples}
        times = {n: time * speedup for n, (time, speedup) in over.items() if time is not None and speedup is not None}
        if any(abs(time / own[n] - 1) > SAME for n, time in times.items() if n in own):
            drawn = tuple(None if n not in times else float(f"{times[n]:.4g}") for n in chip.lengths)
            lines.setdefault(drawn, []).append(one.question.variant.id)
    none = (None,) * len(chip.lengths)
    return [
        Path(f"{chip.baseline} for {', '.join(names)}", times, none, none, none, none, reference=True)
        for times, names in lines.items()
    ]


def _path(chip: Comparison, one: Curve) -> Path:
    by_length = {sample.length: sample for sample in one.samples}
    samples = [by_length.get(length) for length in chip.lengths]
    name = one.question.variant.id
    known, crossing, told = chip.pays.get(name, {}).get(chip.rung), None, ""
    if known is None:
        told = "(baseline)"
    elif known.length is not None and not known.everywhere:
        time = one.question.prediction(known.length).rung_time(chip.rung)
        crossing, told = (known.length, time) if time else None, f"faster from {known.length:,}"
    elif known.everywhere:
        told = "faster throughout"

    def told_at(value: Callable[[Sample], float | None]) -> tuple[float | None, ...]:
        return tuple(None if sample is None else value(sample) for sample in samples)

    return Path(
        name, told_at(lambda s: s.time_s(chip.rung)), told_at(lambda s: s.low_s), told_at(lambda s: s.high_s),
        told_at(lambda s: s.operand_bytes), told_at(lambda s: s.cache_bytes), told, crossing, known is None,
    )  # fmt: skip


def finding(chip: Comparison) -> str:
    """What is seen, in a line."""
    head, high = f"On {chip.hardware.title}", chip.lengths[-1]
    by = " by floor" if chip.rung == "tiles" else ""
    others = [one for one in chip.curves if not one.question.is_baseline]
    pays = [(one.question.variant.id, chip.pays[one.question.variant.id][chip.rung]) for one in others]
    if 0 < len(pays) <= 2:
        parts = [_pays_words(name, known, chip.baseline, known.high == high) for name, known in pays]
        return f"{head}{by} " + " and ".join(parts)
    best = chip.leads[-1][1] if chip.leads else None
    if best is None or not pays:
        return f"{head}{by} {chip.baseline} takes {_longest(chip)}"
    won = sum(known.length is not None for _, known in pays)
    said = (
        f"{head}{by} {won} of {plural(len(pays), 'variant')} {'is' if won == 1 else 'are'} faster than {chip.baseline}"
    )
    speedup = best.samples[-1].over_baseline(chip.rung)
    tail = f", {best.question.variant.id} the most" if won and speedup is not None and speedup > 1 else ""
    return said + f" at {tokens(high)} tokens" + (f"{tail}: {times_text(speedup)}" if tail else "")


def _pays_words(name: str, known: Efficiency, baseline: str, whole: bool) -> str:
    until = "" if whole or known.high is None else f" (up to {tokens(known.high)})"
    if known.low is None or known.high is None:
        return f"{name} has no known time"
    if known.length is None:
        return f"{name} is nowhere faster than {baseline}{until}"
    if known.everywhere:
        return f"{name} is faster than {baseline} from {tokens(known.low)} tokens or fewer on{until}"
    return f"{name} is faster than {baseline} from {known.length:,} tokens on{until}"


def _longest(chip: Comparison) -> str:
    known = [(n, s) for n, s in chip.curves[0].times(chip.rung).items()]
    return f"{seconds_text(known[-1][1])} at {tokens(known[-1][0])} tokens" if known else "an unknown time"


def _length(head: str, rung: str) -> Column:
    """A column of lengths, of a floor or of predictions."""
    return Column(f"{head} (tokens)", lambda n: f"{n:,}", "bounded" if rung == "tiles" else "predicted")


def _pays(chip: Comparison) -> Table:
    rows = []
    for one in chip.curves:
        name = one.question.variant.id
        if name in chip.pays:
            found, last = chip.pays[name], one.samples[-1]
            told = "; ".join(f"{'by floor' if rung == 'tiles' else 'predicted'} {_told(found[rung])}" for rung in RUNGS)
            rows.append((name, chip.hardware.name, found["tiles"].length, found["schedule"].length,
                         last.tiles_speedup, last.speedup, told))  # fmt: skip
    longest = tokens(chip.lengths[-1])
    columns = (
        VARIANT, CHIP, _length("by floor", "tiles"),
        _length("by schedule", "schedule"), times(f"floor's speedup at {longest}", "bounded"),
        times(f"speedup at {longest}", "predicted"), Column("found"),
    )  # fmt: skip
    return Table(columns, tuple(rows), f"A length holds for good: {chip.baseline} is faster at none of the longer "
                 "lengths tried. Tiles that are not filled make times jump, so that curves may cross more than once "
                 "below it.")  # fmt: skip


def _told(known: Efficiency) -> str:
    if known.low is None or known.high is None:
        return "unknown"
    span = f"{tokens(known.low)} to {tokens(known.high)}"
    if known.length is None:
        return f"nowhere in {span}"
    return (
        f"everywhere in {span}" if known.everywhere else f"from {known.length:,} on, tried up to {tokens(known.high)}"
    )


def _ranking(chips: Sequence[Comparison]) -> Section:
    """All lengths of all chips, the fastest first; those without a time last."""
    rows = []
    for chip in chips:
        for length in chip.lengths:
            found = [(s, c.question.variant.id) for c in chip.curves for s in c.samples if s.length == length]
            found.sort(key=lambda one: (one[0].time_s(chip.rung) is None, one[0].time_s(chip.rung) or 0.0, one[1]))
            for place, (s, name) in enumerate(found, 1):
                rank = None if s.time_s(chip.rung) is None else place
                rows.append((chip.hardware.name, length, rank, name, s.schedule_s, s.low_s, s.high_s, s.speedup,
                             s.tiles_s, s.tiles_speedup, s.operand_bytes, s.cache_bytes, s.limited_by,
                             s.implementation, s.confidence))  # fmt: skip
    columns = (
        CHIP, Column("length (tokens)", lambda n: f"{n:,}"), Column("rank", lambda n: f"{n}"),
        VARIANT, seconds("time", "predicted"), seconds("at least", "predicted"),
        seconds("at most", "predicted"), times("speedup", "predicted"), seconds("floor of the tiles", "bounded"),
        times("floor's speedup", "bounded"), amount("operands", "counted", "B"), amount("cache", "counted", "B"),
        Column("limited by"), Column("kernel"), Column("constants"),
    )  # fmt: skip
    note = (
        "Operands: compulsory bytes of a call. Cache: one layer's, whole batch, after the call. At least and at most: "
        "the likely range."
    )
    return Section("Ranking at each length", (Table(columns, tuple(rows), note),))


def _notes(predictions: Sequence[Prediction]) -> list[Section]:
    """Parameters and warnings, each once with the chips it holds for."""
    found: dict[tuple[str, str], list[str]] = {}
    for p in predictions:
        given = parameters(p)
        for text in ((f"parameters {given}",) if given else ()) + p.warnings:
            found.setdefault((p.variant.id, text), []).append(p.hardware.name)
    items = tuple((f"{name} on {', '.join(dict.fromkeys(chips))}", f"{text}.") for (name, text), chips in found.items())
    return [Section("Notes on single variants, at the longest length", (Items(items),))] if items else []


def _chart(chips: Sequence[Comparison]) -> Chart:
    """Lines of all variants on all chips; the reader switches between times, speedups and bytes."""
    points = []
    for chip in chips:
        for one in chip.curves:
            for s in one.samples:
                values = {"time": s.schedule_s, "speedup": s.speedup, "floor": s.tiles_s,
                          "operands": s.operand_bytes or None, "cache": s.cache_bytes or None}  # fmt: skip
                points.append(
                    Point(chip.hardware.name, one.question.variant.id, float(s.length), values, _hover(chip, one, s))
                )
    quantities = (
        Quantity("time", "time of a call (s)", "predicted"), Quantity("speedup", "speedup (ratio)", "predicted"),
        Quantity("floor", "floor of the tiles (s)", "bounded"),
        Quantity("operands", "operands of a call (B)", "counted"),
        Quantity("cache", "cache of a layer (B)", "counted"),
    )  # fmt: skip
    axis = LENGTH_NAMES[chips[0].axis]
    return Chart(
        "lengths", f"Time, speedup and memory over {axis}", "lines", f"{axis} (tokens)", quantities, tuple(points)
    )


def _hover(chip: Comparison, one: Curve, s: Sample) -> tuple[str, ...]:
    """What is told of a point: counts, times, limit."""
    lines = [
        f"{one.question.variant.id} on {chip.hardware.title}, {s.length:,} tokens",
        f"{amount_text(s.matrix_flops, 'FLOP')}, {amount_text(s.special)} exps, {amount_text(s.operand_bytes, 'B')} "
        f"operands, {amount_text(s.cache_bytes, 'B')} cache (counted)",
        f"floor of the tiles {seconds_text(s.tiles_s)} (bounded)",
    ]  # fmt: skip
    if s.schedule_s is None:
        lines.append("no schedule")
    else:
        lines.append(
            f"{seconds_text(s.schedule_s)}, {times_text(s.speedup)} {chip.baseline} (predicted), {s.implementation}"
        )
    return (*lines, f"limited by {s.limited_by}") if s.limited_by else tuple(lines)
