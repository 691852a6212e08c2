"""Predicted against measured latency: how far off, on which rows, by what kernels, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ...autotune.accuracy import Shown, Validation, errors
from ...autotune.baselines import sampled
from ...autotune.silicon import SPLITS, known_bad
from ...simulator.hardware import Hardware
from ..document import (
    CHIP,
    Block,
    Chart,
    Column,
    Document,
    Items,
    Line,
    Mark,
    Paragraph,
    Picture,
    Point,
    Quantity,
    Section,
    Table,
    count,
    seconds,
)
from ..fits import constants_table, overhead_lines
from ..pictures.accuracy import Cloud, draw, gather
from ..provenance import reproduce
from ..words import file_name, plural, sizes
from ..words import seconds as seconds_text

Record = Mapping[str, Any]

SPLITS_MEAN = (
    ("calibration", "one row in ten of the chips that are fitted, chosen by a hash of its key: constants may be fitted "
                    "to these alone; and rows of a file whose kernel has constants in the profile of the chip"),
    ("held-out", "the other rows of those chips: no constant has seen them"),
    ("zero-shot", "all rows of other chips, and the other rows of files: constants come from the generation or papers"),
)  # fmt: skip
MEANING = (
    "MAPE, median, P90: mean, median and 90th percentile of the size of the error of the predicted latency. signed: "
    "median of the error itself; below 0 is predicted too fast. covered: measured rows inside the predicted range, "
    "meant to be 90 %. pairs: share of pairs ranked right whose times are 10 to 20 % and over 20 % apart. beat: rows "
    "faster than a floor, which no honest measurement is."
)
SIMPLER = (
    ("roofline", "roofline"), ("nearest", "nearest"), ("aiconfigurator_sol", "aic SOL"),
    ("aiconfigurator_calibration", "aic same data"), ("aiconfigurator_left_out", "aic neighbours"),
)  # fmt: skip
SIMPLER_MEAN = (
    "MAPE on the rows that nothing was fitted to. roofline: no data. nearest: the time of the nearest calibration row. "
    "aic SOL: aiconfigurator's speed of light, no data; aic same data: its interpolation, given the calibration rows "
    "alone; aic neighbours: its interpolation from all measured rows but the one asked for, so that it knows more than "
    "the model. aiconfigurator is asked about a sample of the rows."
)
TOGETHER = 2
"""Chips that get pictures of their own, a panel an operation; of more each is a panel."""
MOST_PANELS = 6
"""Of one picture."""
MOST_POINTS = 2400
"""Of the chart."""
WORST_SHOWN = 20
BANDS = (0.8, 1.25)
"""Predicted over measured, as lines of the chart."""


def document(
    found: Validation, profiles: Mapping[str, Hardware], source: str, command: str | None = None,
    data: Mapping[str, str] | None = None,
) -> Document:  # fmt: skip
    """Records by chip, by case and by framework and operation; `found.rows` must not be empty.

    profiles: of the chips by their names. source: who measured.
    """
    chips = list(dict.fromkeys(one.checked.table.chip for one in found.rows))
    title = f"{', '.join(chips)}: {_finding(found.rows)}"
    blocks: list[Block] = [_chart(found.rows), *_pictures(found.rows, chips)]
    blocks += [Section("Errors", tuple(_errors(found.records))), *_simpler(found.records)]
    blocks += [_worst(found.worst), *_drift(found.drift), *_left_out(found)]
    checked = [one.checked for one in found.rows]
    blocks.append(_fitted(constants_table(checked, profiles)))
    lines = [*overhead_lines(checked, profiles), "kernels: the table of constants above"]
    blocks.append(reproduce((), command, data, [profiles[chip] for chip in chips], lines))
    lead = f"Measured: {source}. Predicted: the kernel's schedule plus what the framework around it adds."
    return Document("validate", title, lead, tuple(blocks))


def _finding(rows: Sequence[Shown]) -> str:
    """How far off the predictions are, on rows that nothing was fitted to where there are any."""
    unseen = [one for one in rows if one.split != "calibration"]
    of = unseen or rows
    measured = np.concatenate([one.measured_s for one in of])
    off = errors(np.concatenate([one.predicted_s for one in of]), measured)
    which = "that no constant was fitted to" if unseen else "that constants were fitted to"
    return (
        f"predicted latency is {off['mape']:.1f}\u00a0% off on average over {len(measured):,} rows {which}, nine of "
        f"ten within {off['p90']:.0f}\u00a0%"
    )


def _percent(value: float) -> str:
    return f"{value:.1f} %"


def _share(head: str, mark: Mark = "measured") -> Column:
    return Column(head, _percent, mark)


NUMBERS = (
    count("rows", "measured"), _share("MAPE"), _share("median"), _share("P90"), _share("signed"), _share("covered"),
    _share("pairs 10-20 %"), _share("pairs >20 %"), count("beat a floor", "measured"),
)  # fmt: skip
FIELDS = ("rows", "mape", "median", "p90", "signed_median", "coverage", "pairs_10_20", "pairs_over_20",
          "bound_violations")  # fmt: skip


def _errors(records: Sequence[Record]) -> Iterator[Block]:
    """Tables of errors, the coarsest first."""
    chip, op, split = CHIP, Column("operation", facet="variant"), Column("split")
    kinds: tuple[tuple[str, tuple[Column, ...], Any], ...] = (
        ("By chip", (chip, split), lambda r: (r["chip"], r["split"])),
        ("By case", (Column("case"), chip, split), lambda r: (r["case"], r["chip"], r["split"])),
        ("By framework and operation", (chip, Column("framework"), op, split, Column("kernel, mostly")),
         lambda r: (r["chip"], _framework(r), r["op"], r["split"], r["implementation"] or "-")),
    )  # fmt: skip
    for heading, columns, names in kinds:
        of = [r for r in records if _kind(r) == heading]
        if of:
            rows = tuple((*names(r), *(r[field] for field in FIELDS)) for r in of)
            yield Section(heading, (Table((*columns, *NUMBERS), rows, MEANING if heading == "By chip" else ""),))


def _kind(record: Record) -> str:
    return "By framework and operation" if "op" in record else "By case" if "case" in record else "By chip"


def _framework(record: Record) -> str:
    return f"{record['framework']} {record['version']}".strip() or "-"


def _simpler(records: Sequence[Record]) -> list[Section]:
    """What predictors without a model reach."""
    of = [r for r in records if _kind(r) == "By framework and operation" and r["split"] != "calibration"]
    if not any(r["baselines"]["nearest"]["rows"] for r in of):
        return []
    columns = (CHIP, Column("framework"), Column("operation", facet="variant"), _share("model"),
               *(_share(head) for _, head in SIMPLER))  # fmt: skip
    rows = tuple(
        (r["chip"], _framework(r), r["op"], r["mape"], *(r["baselines"][name]["mape"] for name, _ in SIMPLER))
        for r in of
    )
    return [Section("Simpler predictors", (Table(columns, rows, SIMPLER_MEAN),))]


def _worst(worst: Sequence[Record]) -> Section:
    columns = (
        CHIP, Column("framework"), Column("operation", facet="variant"), Column("types"),
        Column("kernel"), Column("problem"), seconds("time", "measured"), seconds("time", "predicted"),
        Column("what its like say"),
    )  # fmt: skip
    rows = tuple(
        (r["chip"], _framework(r), r["op"], f"{r['dtype']}/{r['kv_dtype']}", r["implementation"], sizes(r),
         r["measured_s"], r["predicted_s"], r["reason"])
        for r in worst[:WORST_SHOWN]
    )  # fmt: skip
    note = "B batch, H heads/kv heads, N queries, M keys, d head_dim, w window."
    return Section("Rows furthest off", (Table(columns, rows, note),))


def _drift(drift: Sequence[Record]) -> list[Section]:
    """Newer over older measured time of the same problems: no error of a prediction."""
    if not drift:
        return []
    columns = (
        CHIP, Column("framework"), Column("operation", facet="variant"), Column("types"),
        count("rows", "measured"), *(Column(head, "{:.2f}x".format, "measured") for head in ("P10", "median", "P90")),
    )  # fmt: skip
    rows = tuple(
        (r["chip"], f"{r['framework']} {r['old']} to {r['new']}", r["op"], f"{r['dtype']}/{r['kv_dtype']}", r["rows"],
         r["ratio_p10"], r["ratio"], r["ratio_p90"])
        for r in drift
    )  # fmt: skip
    note = (
        "Newer over older measured time of the same problems: no error of a prediction, but how far a version carries."
    )
    return [Section("Drift between versions", (Table(columns, rows, note),))]


def _left_out(found: Validation) -> list[Section]:
    """Rows that are not counted, or not predicted, and why."""
    coarse = [r for r in found.records if _kind(r) == "By chip"]
    counts: Counter[str] = Counter()
    for record in coarse:
        counts.update(record["reasons"])
    reasons = {rule.name: rule.reason for rule in known_bad()}
    blocks: list[Block] = []
    if counts:
        items = tuple((name, f"{plural(rows, 'row')}. {reasons[name]}") for name, rows in counts.items())
        blocks += [Paragraph("Excluded from every number, since they do not measure what they say:"), Items(items)]
    missing = sum(r["rows"] - r["predicted"] for r in coarse)
    if missing:
        blocks.append(Paragraph(f"Not predicted, since no known kernel takes them: {plural(missing, 'row')}."))
    return [Section("Left out", tuple(blocks))] if blocks else []


def _fitted(constants: Table) -> Section:
    """How constants came to be."""
    said = (
        "A kernel's constants (efficiencies, latencies, what softmax exposes) are fitted between bounds to "
        "calibration rows, by least squares of the logarithm of predicted over measured latency that outliers move "
        "little, together with what each framework adds around the kernel; peaks, counts and floors are never fitted. "
        "Expected ranges come from fits that have not seen the rows they are judged on. "
        "Where no row is fitted, constants are from the literature or another chip of the generation."
    )
    return Section("How constants were fitted", (Paragraph(said), Items(SPLITS_MEAN), constants))


def _pictures(rows: Sequence[Shown], chips: Sequence[str]) -> Iterator[Picture]:
    """Panels by operation on few chips, by chip on many; a colour a split."""
    together = len(chips) > TOGETHER
    for group in [tuple(chips)] if together else [(chip,) for chip in chips]:
        some = [one for one in rows if one.checked.table.chip in group]
        clouds = [
            Cloud(getattr(one.checked.table, "chip" if together else "operation"), one.split, one.measured_s,
                  one.predicted_s)
            for one in some
        ]  # fmt: skip
        panels = list(gather(clouds).items())
        name = plural(len(group), "chip") if together else group[0]
        for number, at in enumerate(range(0, len(panels), MOST_PANELS), start=1):
            shown = dict(panels[at : at + MOST_PANELS])
            part = f" ({number} of {-(-len(panels) // MOST_PANELS)})" if len(panels) > MOST_PANELS else ""
            title = f"{name}: {_finding(some)}{part}"
            stem = file_name("validate", "chips" if together else group[0], str(number))
            alt = f"{title}. Panels: {', '.join(shown)}."
            caption = "Predicted against measured latency; bands: 10 % and 25 % either way. Below: their ratio."
            yield Picture(stem, alt, partial(draw, shown, title, SPLITS), caption)


def _chart(rows: Sequence[Shown]) -> Chart:
    """A sample of the rows, spread evenly over chips, operations and splits."""
    each = max(1, MOST_POINTS // len(rows))
    points = [point for one in rows for point in _points(one, each)]
    lines = []
    for chip in dict.fromkeys(point.chip for point in points):
        values = [v for p in points if p.chip == chip for v in (float(p.x), p.values["predicted"]) if v is not None]
        ends = (min(values), max(values))
        lines.append(Line(chip, "predicted = measured", ends, ends, "predicted"))
        lines += [Line(chip, f"{band:g}x", ends, (ends[0] * band, ends[1] * band), "predicted") for band in BANDS]
    quantities = (
        Quantity("predicted", "latency (s)", "predicted"),
        Quantity("ratio", "latency over the measured one", "predicted"),
    )
    title = f"A sample of {len(points):,} rows: predicted and measured latency"
    return Chart("rows", title, "points", "measured latency (s)", quantities, tuple(points), tuple(lines))


def _points(one: Shown, most: int) -> Iterator[Point]:
    table = one.checked.table
    names = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "window")
    for index in sampled(table, one.rows, most):
        measured, predicted = float(table.latency_s[index]), float(one.checked.predicted_s[index])
        problem = {name: int(getattr(table, name)[index]) for name in names}
        hover = (
            f"{table.chip}, {table.framework} {table.version}".rstrip(),
            f"{table.operation} {table.dtype}, {one.checked.implementation[index]}", sizes(problem),
            f"measured {seconds_text(measured)}, predicted {seconds_text(predicted)} "
            f"({100 * (predicted / measured - 1):+.1f} %)",
            one.split,
        )  # fmt: skip
        values = {"predicted": predicted, "ratio": predicted / measured}
        yield Point(table.chip, table.operation, measured, values, hover)
