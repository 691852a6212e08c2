"""Every variant on every chip at standard workloads: who is fastest where, from which length on, what limits it."""

from __future__ import annotations

import statistics
from collections import Counter
from functools import partial

from ...simulator.atlas import BASELINE, Atlas, Cell, Workload, fastest
from ...simulator.prediction import Prediction
from ..common import check_chips
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
    count,
    seconds,
    times,
)
from ..pictures import heatmap
from ..provenance import reproduce
from ..words import amount as amount_text
from ..words import plural, workload
from ..words import seconds as seconds_text
from ..words import times as times_text

COST_ONLY = "cost is compared, not accuracy."
DIFFERENT = (
    "A sliding window, a linear recurrence or a selection of blocks computes "
    "another function than dense attention, and which quality a model reaches with it is not told here. Every variant "
    "has its default parameters: other windows, blocks or states give other times."
)


def document(found: Atlas, command: str | None = None) -> Document:
    """A map and a chart a workload, who is fastest on each chip, and a table of everything.

    Raises InputError for two chips of one name.
    """
    check_chips(found.chips)
    blocks: list[Block] = [
        _workloads(found),
        Paragraph(DIFFERENT),
        _chart(found),
        Section("The fastest variant on each chip", (_winners(found),)),
    ]
    blocks += [_workload(found, one) for one in found.workloads if found.of(one)]
    blocks += [
        Section("From which length on a variant pays", (_pays(found),)),
        Section("What limits a variant", (_limits(found),)),
        Section("All variants on all chips", (_all(found),)),
        *_refusals(found),
        reproduce(_representatives(found), command),
    ]
    title = f"Attention atlas: {plural(len(found.variants), 'variant')} on {plural(len(found.chips), 'chip')}"
    lead = f"Which attention variant is the fastest where, from which length on, and what limits it: {COST_ONLY}"
    return Document("atlas", title, lead, tuple(blocks))


def _workloads(found: Atlas) -> Items:
    """The problems that are compared at."""
    items = []
    for one in found.workloads:
        cells = found.of(one)
        if cells:
            passes = f", {' and '.join(one.directions)}" if len(one.directions) > 1 else ""
            items.append((one.key, f"{one.title} ({workload(cells[0].predictions[0])}{passes})."))
    return Items(tuple(items))


def _by_chip(found: Atlas, one: Workload) -> dict[str, list[Cell]]:
    """The cells of a workload by chip, in the order of the chips."""
    groups: dict[str, list[Cell]] = {chip.name: [] for chip in found.chips}
    for cell in found.of(one):
        groups[cell.hardware.name].append(cell)
    return groups


def _winners(found: Atlas) -> Table:
    """Chips by workloads; the fastest variant with its speedup, by floor where no kernel is modelled."""
    shown = [one for one in found.workloads if found.of(one)]
    groups = [_by_chip(found, one) for one in shown]
    rows = []
    for chip in found.chips:
        cells: list[str | None] = [chip.name]
        for group in groups:
            best = fastest(group[chip.name])
            if best is None:
                cells.append(None)
                continue
            cell, rung = best
            speedup = times_text(cell.speedup(rung))
            limit = f", {cell.slowest.limited_by}" if cell.slowest.limited_by else ""
            cells.append(f"{cell.variant.id} {speedup}{limit}" + (" (floor)" if rung == "tiles" else ""))
        rows.append(tuple(cells))
    columns = (CHIP, *(Column(one.key, mark="predicted") for one in shown))
    return Table(columns, tuple(rows), f"Variant, speedup over {BASELINE}, what limits it. (floor): no kernel of any "
                 "variant is modelled there; by floors of tiles, which are bounded, not predicted.")  # fmt: skip


def _workload(found: Atlas, one: Workload) -> Section:
    heat = heat_of(found, one)
    shown: Block = Picture(f"atlas-{one.key}", heat.title, partial(heatmap.draw, heat), _caption(found, one))
    if not heat.rows:
        shown = Paragraph("No map: the numbers of these chips give no floor of any variant.")
    return Section(f"{one.title[0].upper()}{one.title[1:]}", (shown,))


def _caption(found: Atlas, one: Workload) -> str:
    said = f"Speedup over {BASELINE} on the same chip; variants from the largest median speedup down."
    refused = sorted({r.variant for r in found.refusals if r.workload is one})
    if refused:
        said += f" Not for this workload, for reasons listed below: {', '.join(refused)}."
    if len(one.directions) > 1:
        said += f" Times of {' and '.join(one.directions)} are added."
    return said


def heat_of(found: Atlas, one: Workload) -> heatmap.Heat:
    """The map of a workload: variants with any cell, by their median speedup."""
    groups = _by_chip(found, one)
    cells: dict[str, dict[str, heatmap.Cell]] = {}
    wins: dict[str, list[float]] = {}
    for chip, group in groups.items():
        best = fastest(group)
        if best is not None:
            wins.setdefault(best[0].variant.id, []).append(best[0].speedup(best[1]) or 0.0)
        for cell in group:
            made = _heat_cell(cell, best is not None and cell is best[0])
            if made is not None:
                cells.setdefault(cell.variant.id, {})[chip] = made
    middle = {name: statistics.median(c.speedup for c in row.values()) for name, row in cells.items()}
    order = tuple(sorted(cells, key=lambda name: (-middle[name], name)))
    return heatmap.Heat(
        _finding(found, one, wins), _told(found, one), order, tuple(groups),
        tuple(tuple(cells[name].get(chip) for chip in groups) for name in order), BASELINE,
    )  # fmt: skip


def _heat_cell(cell: Cell, best: bool) -> heatmap.Cell | None:
    for rung in ("schedule", "tiles"):
        speedup = cell.speedup(rung)
        if speedup:
            return heatmap.Cell(speedup, rung == "tiles", best)
    return None


def _finding(found: Atlas, one: Workload, wins: dict[str, list[float]]) -> str:
    """Which variant is fastest on most chips, and by how much."""
    head = f"{one.title[0].upper()}{one.title[1:]}"
    if not wins:
        return f"{head}: no floor is known"
    name, speedups = min(wins.items(), key=lambda item: (-len(item[1]), item[0]))
    where = f"{len(speedups)} of {plural(len(found.chips), 'chip')}"
    level = sorted(other for other, won in wins.items() if len(won) == len(speedups))
    if len(level) > 1:
        who = f"{', '.join(level[:-1])} and {level[-1]}" if len(level) <= 3 else plural(len(level), "variant")
        return f"{head}: {who} are each the fastest on {where}"
    middle = times_text(statistics.median(speedups))
    return f"{head}: {name} is the fastest on {where}, by a median of {middle}"


def _told(found: Atlas, one: Workload) -> str:
    return f"{workload(found.of(one)[0].predictions[0])}; cost alone: variants compute different functions"


def _chart(found: Atlas) -> Chart:
    """Workloads side by side, a point for each variant on each chip."""
    points = []
    for cell in found.cells:
        moved = sum(float(p.evaluation.useful.hbm_bytes) for p in cell.predictions)
        values = {"speedup": cell.speedup("schedule"), "time": cell.time_s("schedule"), "floor": cell.time_s("tiles"),
                  "bytes": moved or None}  # fmt: skip
        shown = {key: _short(value) for key, value in values.items()}
        points.append(Point(cell.hardware.name, cell.variant.id, cell.workload.key, shown, _hover(cell)))
    quantities = (
        Quantity("speedup", f"speedup over {BASELINE} (ratio)", "predicted"), Quantity("time", "time (s)", "predicted"),
        Quantity("floor", "floor of the tiles (s)", "bounded"), Quantity("bytes", "HBM bytes (B)", "counted"),
    )  # fmt: skip
    title = "Variants on chips at each workload"
    return Chart("atlas", title, "points", "workload", quantities, tuple(points), x_log=False)


def _short(value: float | None) -> float | None:
    """Four digits: thousands of rows stay a page that opens quickly."""
    return None if value is None else float(f"{value:.4g}")


def _hover(cell: Cell) -> tuple[str, ...]:
    p = cell.slowest
    flops = sum(float(one.evaluation.useful.matrix_flops) for one in cell.predictions)
    floor = seconds_text(cell.time_s("tiles"))
    lines = [f"{cell.variant.id} on {cell.hardware.name}",
             f"{amount_text(flops, 'FLOP')} (counted), floor {floor} (bounded)"]  # fmt: skip
    if cell.time_s("schedule") is None:
        lines.append("no schedule; the table says why")
    else:
        kernel = p.chosen.implementation
        said = f"{seconds_text(cell.time_s('schedule'))}, {times_text(cell.speedup('schedule'))} {BASELINE} (predicted)"
        lines.append(said + (f", {kernel.name}" if kernel else ""))
    return (*lines, f"limited by {p.limited_by}") if p.limited_by else tuple(lines)


def _pays(found: Atlas) -> Table:
    """For each variant along each axis: on how many chips it pays, and from which lengths on."""
    rows = []
    for one in _along(found):
        for name in found.variants:
            known = [(cell.pays, cell.hardware.name) for cell in found.of(one) if cell.variant.id == name and cell.pays]
            tried = [(p, chip) for p, chip in known if p.low is not None]
            if not tried:
                continue
            won = sorted((p.length, chip) for p, chip in tried if p.length is not None)
            lengths = [length for length, _ in won]
            rows.append((
                name, f"{one.axis} of {one.key}", len(won), len(tried), lengths[0] if won else None,
                won[0][1] if won else None, statistics.median_low(lengths) if won else None,
                lengths[-1] if won else None, won[-1][1] if won else None,
            ))  # fmt: skip
    columns = (
        VARIANT, Column("along"), count("chips where it pays", "predicted"),
        Column("chips tried", "{:,}".format), count("earliest (tokens)", "predicted"), Column("on"),
        count("median (tokens)", "predicted"), count("latest (tokens)", "predicted"), Column("on which chip"),
    )  # fmt: skip
    return Table(columns, tuple(rows), f"The length from which on a variant is faster than {BASELINE} at every longer "
                 "one tried, known to about a tenth; tried from 512 tokens to 1M, or to 128k where a mask is counted "
                 "one length at a time. By floors on chips without a modelled kernel. `attnsim report compare` finds "
                 "the lengths to the token.")  # fmt: skip


def _along(found: Atlas) -> list[Workload]:
    """Workloads with a length to seek, one of those that share it."""
    seen: dict[object, Workload] = {}
    for one in found.workloads:
        if one.axis is not None and found.of(one):
            others = tuple(sorted((k, v) for k, v in one.arguments.items() if k != one.axis))
            seen.setdefault((one.axis, others), one)
    return list(seen.values())


def _limits(found: Atlas) -> Table:
    """What limits a variant, over the chips of a workload."""
    shown = [one for one in found.workloads if found.of(one)]
    limits: dict[str, dict[str, Counter[str]]] = {}
    for cell in found.cells:
        limit = cell.slowest.limited_by
        if limit is not None:
            limits.setdefault(cell.variant.id, {}).setdefault(cell.workload.key, Counter())[limit] += 1

    def text(counter: Counter[str] | None) -> str | None:
        if not counter:
            return None
        ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
        return ", ".join(f"{limit} {count}" for limit, count in ordered)

    rows = [(name, *(text(limits[name].get(one.key)) for one in shown)) for name in found.variants if name in limits]
    columns = (VARIANT, *(Column(one.key, mark="predicted") for one in shown))
    return Table(columns, tuple(rows), "The unit that sets the floor, or the schedule term that outweighs it, with the "
                 "number of chips; of the longer pass in training.")  # fmt: skip


def _all(found: Atlas) -> Table:
    rows = []
    for cell in found.cells:
        low, high = cell.interval_s or (None, None)
        p = cell.slowest
        kernel = p.chosen.implementation
        timed = cell.time_s("schedule") is not None
        pays = cell.pays.length if cell.pays else None
        numbers = (cell.time_s("schedule"), low, high, cell.speedup("schedule"), cell.time_s("tiles"),
                   cell.speedup("tiles"))  # fmt: skip
        rows.append((
            cell.workload.key, cell.hardware.name, cell.variant.id, *map(_short, numbers), pays, p.limited_by,
            kernel.name if kernel and timed else None, p.confidence, cell.why_not or None,
        ))  # fmt: skip
    columns = (
        Column("workload"), CHIP, VARIANT,
        seconds("time", "predicted"), seconds("at least", "predicted"), seconds("at most", "predicted"),
        times("speedup", "predicted"), seconds("floor of the tiles", "bounded"), times("floor's speedup", "bounded"),
        count("pays from (tokens)", "predicted"), Column("limited by"), Column("kernel"), Column("constants"),
        Column("why no time"),
    )  # fmt: skip
    return Table(columns, tuple(rows))


def _refusals(found: Atlas) -> list[Section]:
    items = tuple((f"{one.variant}, {one.workload.key}", f"{one.why}.") for one in found.refusals)
    return (
        [Section("Left out", (Paragraph("Variants that a workload is not for, on any chip."), Items(items)))]
        if items
        else []
    )


def _representatives(found: Atlas) -> list[Prediction]:
    """One prediction for each chip and kernel, which the provenance rests on."""
    seen: dict[tuple[object, ...], Prediction] = {}
    for cell in found.cells:
        for p in cell.predictions:
            kernel = p.chosen.implementation
            main = p.evaluation.graph.main
            seen.setdefault(
                (p.hardware.name, kernel and kernel.name, p.problem.direction, main.dtype, main.kv_dtype), p
            )
    return list(seen.values())
