"""What a variant is, and what a kernel of it touches: definition, formulas, dataflow, tiles, counts, kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from ...simulator import implementations
from ...simulator.api import LeftOut
from ...simulator.prediction import Prediction
from ..common import check_chips, claims_section, hover, left_out_section, named, reasons
from ..dataflow import dataflow
from ..document import (
    CHIP,
    VARIANT,
    Block,
    Chart,
    Code,
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
    count,
    seconds,
)
from ..pictures import graph, mask
from ..provenance import reproduce
from ..tile_map import TileMap, percent, tile_map
from ..words import amount as amount_text
from ..words import file_name, kernel, plural, workload
from ..words import seconds as seconds_text

IN_THE_TITLE = 4
"""Variants that a title names."""
STATES = ("visited", "full", "partial", "skipped")
"""Counts of tiles; those visited are full or partial."""
GRAPH_CAPTION = (
    "Each shaded box is what one kernel does without writing anything in between (a fusion group); what crosses its "
    "border is traffic of main memory. Sizes and work are of the whole call (counted)."
)


def document(
    predictions: Sequence[Prediction], command: str | None = None, left_out: Sequence[LeftOut] = (),
    formulas: Mapping[str, Sequence[str]] | None = None,
) -> Document:  # fmt: skip
    """A section a variant, with what chips make of it; one interactive chart of the counts. Raises InputError for two
    chips of one name.

    formulas: lines of text a variant, as `attnsim explain` prints them.
    """
    check_chips(p.hardware for p in predictions)
    variants: dict[str, list[Prediction]] = {}
    for p in predictions:
        variants.setdefault(p.variant.id, []).append(p)
    blocks: list[Block] = [Section("Counts", (_counts(predictions), _tile_counts(predictions))), _chart(predictions)]
    blocks += [_variant(group, (formulas or {}).get(name, ())) for name, group in variants.items()]
    blocks += [*claims_section(predictions), *left_out_section(left_out), reproduce(predictions, command)]
    chips = ", ".join(dict.fromkeys(p.hardware.title for p in predictions))
    lead = f"Workload: {workload(predictions[0])}. Chips: {chips}."
    what = ", ".join(variants) if len(variants) <= IN_THE_TITLE else plural(len(variants), "variant")
    return Document("anatomy", f"Anatomy of {what}: what a kernel touches", lead, tuple(blocks))


def _variant(group: Sequence[Prediction], formulas: Sequence[str]) -> Section:
    """One variant on all chips: what it is, its dataflow, its tiles, its kernels."""
    first = group[0]
    variant = first.variant
    items = [("Definition", f"{variant.formula}.")] if variant.formula else []
    items += [("Family", f"{variant.family}.")]
    items += [("Paper", f"arXiv {variant.paper}, https://arxiv.org/abs/{variant.paper}.")] if variant.paper else []
    if named(first) != variant.id:
        items.append(("Parameters", f"{named(first)}."))
    items.append(("Kept after the call", _kept(first)))
    blocks: list[Block] = [Paragraph(f"{variant.title}."), Items(tuple(items))]
    if formulas:
        blocks.append(Section("Cost as formulas (counted)", (Code("\n".join(formulas)),)))
    blocks.append(Section("Dataflow and fusion groups", (_graph(group),)))
    blocks.append(Section("Tiles", tuple(_tiles(group))))
    blocks += [Section("Kernels", tuple(_kernels(group)))]
    blocks.append(Section("Why, and what would help (predicted)", (reasons(group),)))
    return Section(variant.id, tuple(blocks))


def _kept(p: Prediction) -> str:
    """The cache or state of one layer."""
    size = p.evaluation.graph.cache_bytes
    if not size:
        return "nothing: it has neither a cache nor a state (counted)."
    states = any(tensor.role == "state" for tensor in p.evaluation.graph.tensors)
    word = "recurrent state" if states else "cache"
    return f"{amount_text(float(size), 'B')} of {word} for one layer, whole batch (counted)."


def _stem(what: str, p: Prediction, several: bool) -> str:
    """The name of a picture's file; with the chip where there is one for each."""
    return file_name("anatomy", what, p.variant.id, *([p.hardware.name] if several else []))


def _graph(group: Sequence[Prediction]) -> Picture:
    """One picture of all chips: their kernels differ, what they compute and move does not."""
    sheet = dataflow(group[0], chosen=len(group) == 1)
    return Picture(_stem("graph", group[0], False), sheet.finding, partial(graph.draw, sheet), GRAPH_CAPTION)


def _tiles(group: Sequence[Prediction]) -> list[Block]:
    """One map for each tile that a chip settles on, or the sentence why there is none."""
    blocks: list[Block] = []
    seen: dict[object, list[Prediction]] = {}
    for p in group:
        seen.setdefault((p.chosen.tile.query, p.chosen.tile.key), []).append(p)
    for chips in seen.values():
        p = chips[0]
        sheet = tile_map(p)
        if isinstance(sheet, str):
            blocks.append(Paragraph(f"No tile map: {sheet}."))
            if p.tile_counts() is None:
                break
            continue
        stem = _stem("tiles", p, len(seen) > 1)
        blocks.append(Picture(stem, sheet.finding, partial(mask.draw, sheet), _map_caption(sheet, chips)))
    return blocks


def _map_caption(sheet: TileMap, chips: Sequence[Prediction]) -> str:
    """Which chips, and how the map is to be read."""
    c = sheet.counts
    said = (
        f"Tiles of {', '.join(p.hardware.title for p in chips)}. A full tile holds only pairs that attend, a partial "
        f"one some, a skipped one none: {c['visited']:,} tiles are visited ({c['full']:,} full, {c['partial']:,} "
        f"partial), {c['skipped']:,} skipped (counted; {percent(sheet.share)} visited)."
    )
    if len(sheet.grids) > 1:
        said += f" Not all fit a picture: on the left {sheet.grids[0].told}; on the right {sheet.grids[1].told}."
        said += " The counts are of all tiles."
    if sheet.regrouped:
        said += " Tokens are in the order in which tiles take them, not that of the sequence."
    if sheet.separate:
        said += " White: queries and keys of different documents, windows or dilation groups, for which a kernel has "
        said += "no tile."
    return said


def _kernels(group: Sequence[Prediction]) -> list[Block]:
    """What was considered on each chip, the chosen one first, and why the others refuse."""
    rows: list[tuple[object, ...]] = []
    refused = []
    for p in group:
        best: dict[str, tuple[object, ...]] = {}
        ranked = sorted(
            (c for c in p.evaluation.candidates if c.implementation is not None),
            key=lambda c: (c is not p.chosen, c.time_s is None, float(c.time_s or 0.0)),
        )
        for c in ranked:
            assert c.implementation is not None
            name = c.implementation.name
            if name not in best:
                floor = None if c.bound is None else float(c.bound.time_s)
                time = None if c.time_s is None else float(c.time_s)
                best[name] = (p.hardware.name, name, str(c.tile).replace("/", " by "),
                              "chosen" if c is p.chosen else "", floor, time)  # fmt: skip
        rows += best.values()
        reasons_given = _refusals(p)
        if reasons_given:
            refused.append((f"Refused on {p.hardware.name}", "; ".join(reasons_given) + "."))
    columns = (
        CHIP, Column("kernel"), Column("its best tile"), Column(""),
        seconds("floor of the tile", "bounded"), seconds("time", "predicted"),
    )  # fmt: skip
    blocks: list[Block] = [Paragraph(_chosen(p)) for p in group]
    blocks += [Table(columns, tuple(rows), "Queries by keys. The fastest predicted is chosen.")] if rows else []
    blocks += [Items(tuple(refused))] if refused else []
    return blocks


def _refusals(p: Prediction) -> list[str]:
    """Why kernels refuse that run parts of this style at all; those of other styles are no candidates."""
    style = p.evaluation.graph.main.style
    other = {one.name for one in implementations.for_hardware(p.hardware) if style not in one.part_styles}
    return [why for why in dict.fromkeys(p.evaluation.refusals) if why.split(" ", 1)[0] not in other]


def _chosen(p: Prediction) -> str:
    """Which kernel is chosen, in a sentence."""
    head = f"{p.hardware.title}:"
    if p.chosen.implementation is None:
        return f"{head} no implementation is known that runs it; its tile is assumed."
    others = len({c.implementation.name for c in p.evaluation.candidates if c.implementation is not None}) - 1
    said = f"{head} {kernel(p)} ({p.chosen.implementation.title})"
    said += f", {seconds_text(p.time_s)} (predicted)" if p.time_s is not None else ", without a schedule"
    said += f", of {plural(others + 1, 'kernel')} that take it" if others else ", the only kernel that takes it"
    return said + "."


def _work(p: Prediction) -> dict[str, float]:
    """Useful work by unit, and bytes, of the whole call."""
    useful, cache = p.evaluation.useful, p.evaluation.graph.cache_bytes
    amounts = {"matrix": useful.matrix_flops, "vector": useful.vector, "special": useful.special,
               "hbm": useful.hbm_bytes, "cache": cache}  # fmt: skip
    return {name: float(value) for name, value in amounts.items()}


def _counts(predictions: Sequence[Prediction]) -> Table:
    columns = (
        VARIANT, CHIP, amount("matrix FLOPs", "counted"),
        amount("vector FLOPs", "counted"), amount("exps", "counted"), amount("HBM bytes", "counted", "B"),
        amount("cache or state", "counted", "B"),
    )  # fmt: skip
    rows = [(named(p), p.hardware.name, *_work(p).values()) for p in predictions]
    return Table(columns, tuple(rows), "Useful work and operands of the whole call; the cache is of one layer.")


def _tile_counts(predictions: Sequence[Prediction]) -> Table:
    """Visited and skipped tiles; dashes where there is no mask."""
    columns = (
        VARIANT, CHIP, Column("kernel and tile"), *(count(name, "counted") for name in STATES),
        Column("share visited", percent, "counted"),
    )  # fmt: skip
    rows = []
    for p in predictions:
        tiles = p.tile_counts() or {}
        found = [tiles.get(name) for name in STATES]
        share = tiles["visited"] / max(1, tiles["visited"] + tiles["skipped"]) if tiles else None
        rows.append((p.variant.id, p.hardware.name, kernel(p), *found, share))
    return Table(columns, tuple(rows), "Tiles of queries by keys, of one query head of one sequence.")


def _chart(predictions: Sequence[Prediction]) -> Chart:
    """Bars of what each variant counts."""
    points = []
    for p in predictions:
        values: dict[str, float | None] = {name: value or None for name, value in _work(p).items()}
        points.append(Point(p.hardware.name, p.variant.id, p.variant.id, values, hover(p)))
    quantities = (
        Quantity("matrix", "matrix work (FLOP)", "counted", log=False),
        Quantity("vector", "vector work (FLOP)", "counted", log=False),
        Quantity("special", "exponentials (count)", "counted", log=False),
        Quantity("hbm", "HBM bytes (B)", "counted", log=False),
        Quantity("cache", "cache or state (B)", "counted", log=False),
    )  # fmt: skip
    return Chart("counts", "Work and bytes of each variant", "bars", "variant", quantities, tuple(points))
