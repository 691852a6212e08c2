"""attnsim report anatomy: what is drawn equals what is counted, labels stay apart, every variant has its graph."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnsim
from attnsim import cli
from attnsim.reports import dataflow as flow
from attnsim.reports.dataflow import dataflow
from attnsim.reports.document import pictures
from attnsim.reports.kinds.anatomy import document
from attnsim.reports.pictures import graph, mask, style
from attnsim.reports.tile_map import OUTSIDE, PARTIAL, SKIPPED, WHOLE, TileMap, tile_map
from attnsim.reports.writers import write
from attnsim.simulator import variants
from attnsim.simulator.errors import InputError
from attnsim.simulator.prediction import Prediction

WORKLOADS: dict[str, dict[str, Any]] = {
    "forward": {}, "backward": {"direction": "backward"}, "decode": {"seq": 1, "kv_len": 32768, "batch": 8},
}  # fmt: skip
CUBE = (16, 32, 32)
MAPS: dict[str, tuple[str, dict[str, Any]]] = {
    "window": ("sliding-window", {}),
    "long window": ("sliding-window", {"seq": 131072, "causal": True, "window": 4096}),
    "one tile": ("mha", {"seq": 16}),
    "gna in 3-D": ("gna", {"shape": (30, 48, 80), "heads": 24, "window": (18, 24, 24), "stride": (16, 8, 8),
                           "q_tile": (4, 8, 8), "kv_tile": (2, 8, 8)}),
    "gna in 2-D": ("gna", {"shape": (64, 64), "window": (16, 16), "q_tile": (8, 8), "kv_tile": (8, 8)}),
    "gna, flat tiles": ("gna", {"shape": (48, 80), "window": (16, 16), "tile": (64, 32)}),
    "gna, its own tile": ("gna", {"shape": (48, 80), "window": (16, 16)}),
    "gna, dilated": ("gna", {"shape": (32, 32), "window": (8, 8), "dilation": (2, 2)}),
    "swin": ("swin", {"shape": (64, 64), "heads": 8}),
    "dilated": ("dilated", {"seq": 16384}),
    "blocks": ("radial", {"shape": CUBE}),
    "power": ("power-attention", {}),
    "decode": ("gqa", {"seq": 1, "kv_len": 32768, "batch": 16}),
    "documents": ("mha", {"documents": (1000, 3000, 2000, 500), "causal": True}),
    "backward": ("sink-window", {"direction": "backward", "causal": True}),
}  # fmt: skip


def _predict(variant: str, chip: str = "b200", **arguments: Any) -> Prediction | None:
    """The prediction; None where the variant has no such form."""
    if 1 not in variants.get_class(variant).axes:
        arguments = {**arguments, "shape": CUBE}
        arguments.pop("seq", None)
        arguments.pop("kv_len", None)
    try:
        made = attnsim.predict(variant, chip, **arguments)
    except InputError:
        return None
    assert isinstance(made, Prediction)
    return made


def _map(name: str) -> tuple[Prediction, TileMap]:
    variant, arguments = MAPS[name]
    p = attnsim.predict(variant, "b200", **arguments)
    made = tile_map(p)
    assert isinstance(made, TileMap)
    return p, made


def _texts(figure: Any) -> list[tuple[str, Any]]:
    """Every text that a reader sees, with its box."""
    figure.canvas.draw()
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += axes.texts
        if axes.axison:
            texts += [axes.title, axes.xaxis.label, axes.yaxis.label]
            for axis in (axes.xaxis, axes.yaxis):
                low, high = sorted(axis.get_view_interval())
                ticks = [t for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
                texts += [t.label1 for t in ticks if t.label1.get_visible()]
    return [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]


def _apart(figure: Any) -> None:
    boxes, page = _texts(figure), figure.bbox
    assert not [(a[0], b[0]) for a, b in itertools.combinations(boxes, 2) if a[1].overlaps(b[1])]
    assert not [t for t, b in boxes if b.x0 < page.x0 or b.x1 > page.x1 or b.y0 < page.y0 or b.y1 > page.y1]


@pytest.mark.parametrize("name", MAPS)
def test_a_map_has_the_counts_of_the_prediction(name: str) -> None:
    p, sheet = _map(name)
    assert sheet.counts == p.tile_counts()
    first = sheet.grids[0]
    if not first.told:
        for state, word in ((WHOLE, "full"), (PARTIAL, "partial"), (SKIPPED, "skipped")):
            assert np.count_nonzero(first.states == state) == sheet.counts[word]


@pytest.mark.parametrize("name", [name for name in MAPS if name != "decode"])
def test_states_are_those_of_the_pair_rule(name: str) -> None:
    """Tiles of consecutive tokens, looked at pair by pair."""
    p, sheet = _map(name)
    if sheet.regrouped:
        pytest.skip("tokens are regrouped")
    m = p.evaluation.graph.main.mask
    assert m is not None
    bm, bn = sheet.tile.query[0], sheet.tile.key[0]
    for grid in sheet.grids:
        for row, column in list(np.ndindex(*grid.states.shape))[::37]:
            t, c = grid.queries.tiles[row], grid.keys.tiles[column]
            assert (grid.queries.starts[row], grid.keys.starts[column]) == (t * bm, c * bn)
            i, j = np.arange(t * bm, min((t + 1) * bm, m.queries)), np.arange(c * bn, min((c + 1) * bn, m.keys))
            attends = np.broadcast_to(m.attends(i[:, None], j[None, :]), (len(i), len(j)))
            whole = attends.all() and (len(i), len(j)) == (bm, bn)
            assert grid.states[row, column] == (WHOLE if whole else PARTIAL if attends.any() else SKIPPED)


@pytest.mark.parametrize(
    "name", ["gna in 3-D", "gna in 2-D", "gna, flat tiles", "gna, its own tile", "gna, dilated", "swin", "blocks"]
)
def test_slices_show_the_keys_that_a_query_tile_visits(name: str) -> None:
    """Every key that one of its queries attends to is in a visited tile; in a full one all attend."""
    p, sheet = _map(name)
    m, shape = p.evaluation.graph.main.mask, p.prepared.shape
    assert m is not None
    planes = {one.at: one for one in sheet.slices}
    assert len(planes) == len(sheet.slices) <= 7
    own = next(one for one in sheet.slices if one.queries.any())
    place = np.argwhere(own.queries)[0]
    query = np.ravel_multi_index((*((own.at,) if own.at >= 0 else ()), *place), shape)
    for at, one in planes.items():
        base = 0 if at < 0 else at * one.states.size
        attends = m.attends(np.array(int(query)), base + np.arange(one.states.size)).reshape(one.states.shape)
        assert not (attends & (one.states == SKIPPED)).any()
        assert attends[one.states == WHOLE].all()


def test_tiles_of_other_groups_are_no_tiles() -> None:
    for name in ("dilated", "documents", "swin"):
        _, sheet = _map(name)
        assert sheet.separate
        assert (sheet.grids[0].states == OUTSIDE).any()


@pytest.mark.parametrize("name", MAPS)
def test_labels_of_maps_do_not_overlap(name: str) -> None:
    _, sheet = _map(name)
    with style():
        _apart(mask.draw(sheet))


def test_a_title_says_what_is_seen() -> None:
    assert _map("long window")[1].finding == "sliding-window: 3.3 % of the tiles are visited, 12 % of them partial"
    assert _map("decode")[1].finding == "gqa: all tiles are visited, all of them partial"


@pytest.mark.parametrize(
    ("variant", "why"), [("moba", "run time"), ("dsa", "before the run"), ("padre", "no mask"), ("mamba2", "no mask")]
)
def test_without_a_list_of_tiles_a_sentence_says_why(variant: str, why: str) -> None:
    said = tile_map(attnsim.predict(variant, "b200"))
    assert isinstance(said, str)
    assert why in said
    text = write(document([attnsim.predict(variant, "b200")]), ["md"])["anatomy.md"].decode()
    assert "No tile map: " in text


def test_too_many_tiles_are_not_listed() -> None:
    said = tile_map(attnsim.predict("mha", "b200", seq=2**21))
    assert isinstance(said, str)
    assert "too many" in said


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("variant", variants.names())
def test_every_variant_has_its_graph(variant: str, workload: str) -> None:
    """All ops and all tensors in memory, edges between neighbouring layers, labels apart."""
    p = _predict(variant, **WORKLOADS[workload])
    if p is None:
        pytest.skip("no such form")
    sheet, operator = dataflow(p), p.evaluation.graph
    nodes = [slot.node for lane in sheet.lanes for layer in lane.layers for slot in layer if slot.node is not None]
    ops = {op.name for part in operator.parts for op in part.ops}
    assert {node.key for node in nodes if node.size is None} >= ops
    assert {node.name for node in nodes if node.size is not None} == {t.name for t in operator.tensors if t.bytes > 0}
    for lane in sheet.lanes:
        level = {slot.key: i for i, layer in enumerate(lane.layers) for slot in layer}
        assert all(level[b] == level[a] + 1 for a, b, _ in lane.edges)
        touched = {key for a, b, _ in lane.edges for key in (a, b)} | lane.loose
        assert {key for key in level if key.startswith(("read ", "write "))} <= touched
    with style():
        _apart(graph.draw(sheet))


@pytest.mark.parametrize("variant", variants.names())
def test_bytes_at_the_borders_are_the_compulsory_ones(variant: str) -> None:
    """Operands, each once (a state twice), add up to the operator's own traffic."""
    p = _predict(variant)
    assert p is not None
    roles = {t.name: t.role for t in p.evaluation.graph.tensors}
    seen: dict[str, float] = {}
    for lane in dataflow(p).lanes:
        for slot in (*lane.layers[0], *lane.layers[-1]):
            if slot.node is not None and slot.node.size is not None and roles[slot.node.name] != "intermediate":
                key = slot.key if roles[slot.node.name] == "state" else slot.node.name
                seen[key] = slot.node.size
    assert sum(seen.values()) == pytest.approx(float(p.evaluation.useful.hbm_bytes))


def test_kernels_that_pass_tensors_are_joined() -> None:
    sheet = dataflow(attnsim.predict("dsa", "b200"))
    assert [lane.name for lane in sheet.lanes] == ["index", "select", "absorb, before", "attention", "absorb, after"]
    passed = {(source, written.split()[1], target) for source, written, target, _ in sheet.passed}
    assert passed == {(0, "logits", 1), (1, "selection", 3), (2, "q_latent", 3), (3, "o_latent", 4)}
    assert "772 MB between kernels" in sheet.finding


def test_recomputed_work_is_dashed() -> None:
    lane = dataflow(attnsim.predict("mha", "b200", direction="backward")).lanes[0]
    again = [s.node.name for layer in lane.layers for s in layer if s.node is not None and s.node.recomputed]
    assert again == ["qk"]


def test_layers_order_lets_straight_edges_be_straight() -> None:
    made, edges = flow._layered([["a", "b"], ["c", "d"]], [("a", "d"), ("b", "c")])
    place = {key: k for layer in made for k, key in enumerate(layer)}
    assert all(place[a] == place[b] for a, b, _ in edges)


@pytest.mark.parametrize("form", ["svg", "png", "md"])
def test_same_inputs_same_bytes(form: str) -> None:
    made = [write(document([attnsim.predict("swin", "b200", shape=(64, 64))], "x"), [form]) for _ in range(2)]
    assert made[0] == made[1]
    assert {name for name in made[0] if name.endswith(form)} == (
        {"anatomy.md"} if form == "md" else {f"anatomy-{what}-swin.{form}" for what in ("graph", "tiles")}
    )


def test_pictures_are_few_and_named_apart() -> None:
    predictions = attnsim.predict(["mha", "moba"], ["b200", "h100", "h200"])
    stems = [picture.stem for picture in pictures(document(predictions))]
    assert len(stems) == len(set(stems))
    assert stems[0] == "anatomy-graph-mha"
    assert len([s for s in stems if "graph" in s]) == 2


def test_a_report_says_what_the_variant_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["attnsim", "report", "anatomy", "mla", "gated-deltanet", "--hw", "b200,h100",
                                      "--out", str(tmp_path), "--format", "md"])  # fmt: skip
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code
    text = (tmp_path / "anatomy.md").read_text()
    for said in ("matrix FLOPs = ", "arXiv 2405.04434", "of recurrent state", "of cache for one layer", "(counted)",
                 "Refused on b200", "chosen", "## Claims of the papers", "## How to reproduce"):  # fmt: skip
        assert said in text, said
    for name in (line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")):
        assert (tmp_path / name).exists()
