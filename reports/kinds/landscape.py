"""Tuning landscapes: what the model expected of every config, what was measured, and what its first choice costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ...autotune.archives.landscapes import Landscape
from ...autotune.landscapes import FIRST, Judged, Row, judge
from ...simulator.api import LeftOut
from ...simulator.calibration import confidence
from ...simulator.calibration import load as load_constants
from ...simulator.errors import InputError
from ..common import left_out_section
from ..document import (
    CHIP,
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
    count,
    number,
    seconds,
)
from ..pictures.landscape import MOST_PANELS, Dot, Panel, draw
from ..provenance import constants_line, reproduce
from ..words import plural
from ..words import seconds as seconds_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALONE = 4
"""Landscapes that get a picture each; more share pictures."""
MOST_ROWS = 40
"""Configs that a table names, the model's first among them; the fastest of the others."""
MOST_POINTS = 3000
"""Of the chart."""


def document(
    found: Sequence[Landscape], command: str | None = None, data: Mapping[str, str] | None = None,
    left_out: Sequence[LeftOut] = (),
) -> Document:  # fmt: skip
    """A table over all landscapes, pictures, a table of configs each. Raises InputError where none can be modelled."""
    judged = [judge(one) for one in found if one.task is not None]
    left = [one for one in found if one.task is None]
    if not judged:
        reasons = "; ".join(f"{one.id}: {one.reason}" for one in left[:3]) or "there is none"
        more = f"; and {len(left) - 3} more" if len(left) > 3 else ""
        raise InputError(f"no landscape can be modelled: {reasons}{more}")
    blocks: list[Block] = [_chart(judged), *_pictures(judged), Section("Landscapes", (_summary(judged),))]
    blocks.append(Section("Configs", tuple(_landscape(one) for one in judged)))
    if left:
        items = tuple((one.id, f"{one.reason}.") for one in left)
        blocks.append(Section("Not modelled", (Items(items),)))
    chips = {one.task.chip.name: one.task.chip for one in judged}
    blocks += left_out_section(left_out)
    blocks.append(reproduce((), command, data, chips.values(), map(_constants, judged)))
    lead = (
        f"{plural(len(judged), 'tuning landscape')} on {', '.join(chips)}: each the measured times of many configs of "
        "one kernel on one problem, beside the time that the model predicts of each before any is measured."
    )
    return Document("landscape", _title(judged), lead, tuple(blocks))


def _title(judged: Sequence[Judged]) -> str:
    """What is found, where there was a choice."""
    if len(judged) == 1:
        return f"{judged[0].landscape.id}: {_found(judged[0])}"
    judged = [one for one in judged if len(one.rows) > 1] or judged
    share = math.prod(one.scores.first[0] for one in judged) ** (1 / len(judged))
    right = sum(one.loss is not None and one.loss < 0.005 for one in judged)
    return (
        f"The model's first choice reaches {100 * share:.1f}\u00a0% of the best measured speed on average over "
        f"{plural(len(judged), 'tuning landscape')} and is the best on {right}"
    )


def _found(one: Judged) -> str:
    """One landscape in a sentence."""
    of = plural(len(one.rows), "config")
    if one.loss is None:
        return f"the model's first choice of {of} fails"
    if one.loss == 0:
        return f"the model's first choice is the fastest of {of}"
    return f"the model's first choice takes {100 * one.loss:.1f}\u00a0% longer than the fastest of {of}"


def _constants(one: Judged) -> str:
    task, main = one.task, one.task.part
    kind = (task.problem.direction, main.dtype, main.kv_dtype)
    known = load_constants(task.kernel.calibration or task.kernel.name, task.chip.generation, *kind)
    return constants_line(task.kernel, task.chip.generation, *kind, confidence(known, task.chip.name))


def _seconds(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _summary(judged: Sequence[Judged]) -> Table:
    """One line a landscape."""
    columns = (
        Column("landscape", facet="variant"), CHIP, count("configs", "counted"),
        count("failed", "measured"), seconds("fastest", "measured"),
        seconds("first choice", "measured"), seconds("first choice", "predicted"), Column("loss", _percent, "measured"),
        Column(f"loss of first {FIRST[-1]}", _percent, "measured"), number("Kendall", "measured"),
    )  # fmt: skip
    rows = tuple(
        (
            one.landscape.id, one.task.chip.name, len(one.rows), one.failed, one.best.measured_s,
            _seconds(one.choice.measured_s), one.choice.predicted_s, one.loss,
            1 / one.scores.first[-1] - 1 if one.scores.first[-1] else None, one.scores.kendall,
        )
        for one in judged
    )  # fmt: skip
    note = (
        "first choice: the config with the least predicted time of those that fit the chip's shared memory. loss: how "
        "much longer it takes than the fastest config, as measured; -: it failed. Kendall: rank correlation of "
        "predicted and measured times over the configs that ran (1: the same order)."
    )
    return Table(columns, rows, note)


def _pictures(judged: Sequence[Judged]) -> Iterator[Picture]:
    """One a landscape where they are few, else panels of many."""
    most = 1 if len(judged) <= ALONE else MOST_PANELS
    shown = [one for one in judged if any(row.predicted_s is not None for row in one.rows)]
    for index, at in enumerate(range(0, len(shown), most), start=1):
        some = shown[at : at + most]
        title = _title(judged if len(some) < len(judged) and most > 1 else some)
        if most > 1 and len(shown) > most:
            title += f" ({at + 1} to {at + len(some)} of {len(shown)})"
        alt = "; ".join(f"{one.landscape.id}: {_found(one)}" for one in some) + "."
        caption = (
            "Predicted against measured time of every config; on the line both are equal. Hollow: does not fit the "
            "chip's shared memory by the model. Crosses at the right: failed."
        )
        yield Picture(f"landscape-{index}", alt, partial(_draw, some, title), caption)


def _draw(judged: Sequence[Judged], title: str) -> Figure:
    panels = []
    for one in judged:
        dots = {row: dot for row in one.rows if (dot := _dot(row)) is not None}
        told = f"{one.task.chip.name}: {plural(len(one.rows), 'config')}"
        told += f", {one.failed} failed" if one.failed else ""
        told += ", first choice fails" if one.loss is None else f", first choice +{100 * one.loss:.0f} %"
        panels.append(Panel(one.landscape.id, told, tuple(dots.values()), dots.get(one.best), dots.get(one.choice)))
    return draw(panels, title)


def _dot(row: Row) -> Dot | None:
    return None if row.predicted_s is None else Dot(row.config, _seconds(row.measured_s), row.predicted_s, row.fits)


def _chart(judged: Sequence[Judged]) -> Chart:
    """Every config, to point at."""
    each = max(1, MOST_POINTS // len(judged))
    points, lines = [], []
    for one in judged:
        chip, name = one.task.chip.name, one.landscape.id
        shown = [row for row in _fastest(one, each) if row.predicted_s is not None and math.isfinite(row.measured_s)]
        for row in shown:
            assert row.predicted_s is not None
            hover = (
                name, row.config, f"measured {seconds_text(row.measured_s)}, predicted {seconds_text(row.predicted_s)}",
                f"{row.measured_s / one.best.measured_s:.2f}x the fastest", *_roles(one, row),
            )  # fmt: skip
            values = {"measured": row.measured_s, "slower": row.measured_s / one.best.measured_s}
            points.append(Point(chip, name, row.predicted_s, values, hover))
        every = [second for row in shown for second in (row.measured_s, row.predicted_s) if second is not None]
        if every:
            ends = (min(every), max(every))
            lines.append(Line(chip, "predicted = measured", ends, ends, "measured"))
    quantities = (
        Quantity("measured", "time (s)", "measured"),
        Quantity("slower", "time over that of the fastest config", "measured"),
    )
    return Chart(
        "configs", "Every config: predicted and measured time", "points", "predicted time (s)", quantities,
        tuple(points), tuple(lines),
    )  # fmt: skip


def _roles(one: Judged, row: Row) -> tuple[str, ...]:
    roles = []
    if row == one.best:
        roles.append("the winner")
    if row == one.choice:
        roles.append("the model's first choice")
    if not row.fits:
        roles.append("does not fit the shared memory by the model")
    return tuple(roles)


def _fastest(one: Judged, most: int) -> list[Row]:
    """Of the rows the model's first choices and the fastest, in the order of their measured time."""
    first = one.rows[: FIRST[-1]]
    others = sorted((row for row in one.rows if row not in first), key=lambda row: row.measured_s)
    return sorted((*first, *others[: max(0, most - len(first))]), key=lambda row: row.measured_s)


def _landscape(one: Judged) -> Section:
    """The configs of one landscape."""
    said = f"{one.task}. Measured by: {one.landscape.source or 'not stated'}. {_found(one).capitalize()}."
    if one.landscape.assumed:
        said += f" Assumed, since the source leaves it open: {', '.join(one.landscape.assumed)}."
    place = {row: index for index, row in enumerate(one.rows, start=1)}
    columns = (
        Column("config"), seconds("time", "measured"), Column("over fastest", "{:.2f}x".format, "measured"),
        seconds("time", "predicted"), count("model's rank", "predicted"), Column("what it is"),
    )  # fmt: skip
    shown = _fastest(one, MOST_ROWS)
    rows = tuple(
        (
            row.config, _seconds(row.measured_s), _seconds(row.measured_s / one.best.measured_s), row.predicted_s,
            place[row], "; ".join((*_roles(one, row), *_failure(row))),
        )
        for row in shown
    )  # fmt: skip
    left = len(one.rows) - len(shown)
    note = f"{plural(left, 'slower or failed config')} left out." if left else ""
    return Section(one.landscape.id, (Paragraph(said), Table(columns, rows, note)))


def _failure(row: Row) -> tuple[str, ...]:
    if math.isfinite(row.measured_s):
        return ()
    return (f"failed: {row.failure}" if row.failure else "failed",)
