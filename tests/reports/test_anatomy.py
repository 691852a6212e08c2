"""The anatomy of variants: dataflow, tiles and counts of every registered one, readable pictures."""

from __future__ import annotations

from typing import Any

import pytest
from labels import check_apart

import attnsim
from attnsim.commands.explain import layout
from attnsim.reports.dataflow import dataflow
from attnsim.reports.document import Code, Document, Picture, Section, Table, walk
from attnsim.reports.kinds.anatomy import document
from attnsim.reports.pictures import encode, style
from attnsim.reports.tile_map import TileMap, tile_map
from attnsim.simulator import variants
from attnsim.simulator.masks.lists import tile_lists

CASES: list[tuple[str, str, dict[str, Any]]] = [
    *((name, "b200", {"shape": layout(variants.make(name))}) for name in variants.names()),
    ("gna", "b200", {"shape": (30, 48, 80), "heads": 24, "window": (18, 24, 24)}),
    ("gna", "h100", {"shape": (64, 64), "window": (16, 16), "dilation": (2, 2)}),
    ("swin", "h100", {"shape": (64, 64)}),
    ("sliding-window", "h100", {"seq": 32768, "causal": True}),
    ("mha", "h100", {"seq": 8192, "direction": "backward", "causal": True}),
    ("gqa", "mi300x", {"seq": 1, "kv_len": 32768, "batch": 16}),
    ("mla", "b200", {"seq": 1, "kv_len": 32768, "batch": 16}),
    ("mha", "tpu-v5p", {"seq": 1000}),
    ("mha", "b200", {"seq": 2**20}),
]


def ids(case: Any) -> str:
    return f"{case[0]}-{case[1]}"


def made(name: str, chip: str, arguments: dict[str, Any]) -> Document:
    p = attnsim.predict(name, chip, **arguments)
    return document([p], {p.variant.id: "matrix FLOPs = 4*B*H*N^2*d"}, "attnsim report anatomy")


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_pictures_are_readable_and_always_the_same(case: tuple[str, str, dict[str, Any]]) -> None:
    found = [block for block in walk(made(*case).blocks) if isinstance(block, Picture)]
    assert found[0].stem == f"graph-{case[0]}-{case[1]}"
    for picture in found:
        assert case[0] in picture.alt
        with style():
            figure = picture.draw()
            check_apart(figure)
            assert encode(figure, "svg") == encode(picture.draw(), "svg")


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_the_map_counts_as_the_prediction_does(case: tuple[str, str, dict[str, Any]]) -> None:
    p = attnsim.predict(case[0], case[1], **case[2])
    found = tile_map(p)
    if isinstance(found, str):
        stated = " ".join(block.text for block in walk(made(*case).blocks) if hasattr(block, "text"))
        assert f"No tile map: {found}." in stated
        return
    assert isinstance(found, TileMap)
    assert found.counts == p.tile_counts()
    listed = tile_lists(p.evaluation.graph.main.mask, p.chosen.tile.query, p.chosen.tile.key).summary()
    for kind in ("visited", "full", "partial", "skipped"):
        assert getattr(listed, kind) == found.counts[kind]


@pytest.mark.parametrize("name", ["gated-deltanet", "padre", "moba"])
def test_variants_without_a_map_say_why(name: str) -> None:
    blocks = list(walk(made(name, "b200", {}).blocks))
    assert not [block for block in blocks if isinstance(block, Picture) and block.stem.startswith("mask")]
    assert any("No tile map: " in getattr(block, "text", "") for block in blocks)


@pytest.mark.parametrize("name", variants.names())
def test_every_operation_is_drawn_and_its_work_adds_up(name: str) -> None:
    p = attnsim.predict(name, "b200", shape=layout(variants.make(name)))
    ops = {op.name for part in p.evaluation.graph.parts for op in part.ops}
    drawn = {slot.key for lane in dataflow(p).lanes for layer in lane.layers for slot in layer if slot.node is not None}
    assert len(ops) <= len(drawn)
    blocks = list(walk(document([p], {}).blocks))
    table = next(b for b in blocks if isinstance(b, Table) and b.columns[0].head == "operation")
    assert {row[0] for row in table.rows} == ops
    useful = [row for row in table.rows if row[-1] == "once"]
    for column, counted in ((1, p.evaluation.useful.matrix_flops), (2, p.evaluation.useful.vector),
                            (3, p.evaluation.useful.special)):  # fmt: skip
        assert sum(row[column] for row in useful) == pytest.approx(float(counted))


def test_the_report_has_formula_kernels_refusals_and_claims() -> None:
    p = attnsim.predict("moba", "b200")
    report = document([p, attnsim.predict("moba", "h100")], {"moba": "FLOPs = 1"}, "attnsim report anatomy moba")
    blocks = list(walk(report.blocks))
    assert Code("FLOPs = 1") in blocks
    titles = [block.title for block in blocks if isinstance(block, Section)]
    assert f"{len(p.evaluation.refusals)} kernels refuse" in titles
    assert "Claims of the papers" in titles
    accepted = next(b for b in blocks if isinstance(b, Table) and b.columns[0].head == "kernel that accepts")
    assert accepted.rows[0][0] == p.chosen.implementation.name
    assert accepted.rows[0][2] == pytest.approx(p.time_s)
    for table in (block for block in blocks if isinstance(block, Table)):
        assert all(column.mark for column in table.columns if column.numeric)


def test_a_chip_without_kernels_says_so() -> None:
    blocks = list(walk(made("mha", "snapdragon-8-elite", {"seq": 1024}).blocks))
    assert any("No known kernel runs mha" in getattr(block, "text", "") for block in blocks)
