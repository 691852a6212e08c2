"""attnsim report atlas: every variant on every chip is there, numbers are predict's, maps are readable."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest
from labels import boxes, check_apart

import attnsim
from attnsim import cli
from attnsim.reports.document import Chart, Document, Items, Paragraph, Section, Table, pictures, walk
from attnsim.reports.kinds import atlas as kind
from attnsim.reports.pictures import encode, style
from attnsim.reports.pictures.heatmap import Cell, Heat, draw, number, reach
from attnsim.simulator import variants
from attnsim.simulator.api import load_hardware
from attnsim.simulator.atlas import WORKLOADS, Atlas, atlas, fastest
from attnsim.simulator.hardware import Hardware

SHORT = [one for one in WORKLOADS if one.key in ("prefill-8k", "video-30x48x80")]
CHIPS = ("b200", "h100", "mi300x", "apple-m4-ane", "tensor-g5")


@functools.cache
def _whole() -> Atlas:
    """Every variant on every chip at two workloads, without efficiency lengths."""
    from dataclasses import replace

    return atlas(variants.names(), [load_hardware(n) for n in Hardware.names()], [replace(w, axis=None) for w in SHORT])


@functools.cache
def _small() -> Atlas:
    return atlas(["mha", "moba", "gna", "padre", "mamba2"], [load_hardware(n) for n in CHIPS])


@functools.cache
def _document() -> Document:
    return kind.document(_small(), "attnsim x")


def _table(title: str) -> list[dict[str, object]]:
    section = next(b for b in walk(_document().blocks) if isinstance(b, Section) and b.title == title)
    table = section.blocks[-1]
    assert isinstance(table, Table)
    return [dict(zip([c.head for c in table.columns], row, strict=True)) for row in table.rows]


def test_every_variant_is_on_every_chip_or_refused() -> None:
    found = _whole()
    assert {chip.name for chip in found.chips} == set(Hardware.names())
    assert set(found.variants) == set(variants.names())
    for workload in found.workloads:
        there = {(cell.variant.id, cell.hardware.name) for cell in found.of(workload)}
        refused = {r.variant for r in found.refusals if r.workload is workload}
        expected = {(v, chip) for v in variants.names() if v not in refused for chip in Hardware.names()}
        assert there == expected
        assert not refused & {v for v, _ in there}
    assert {r.why for r in found.refusals if r.variant == "radial"} == {"radial has no causal form"}


def test_cells_are_what_predict_says() -> None:
    single = [cell for cell in _small().cells if len(cell.workload.directions) == 1]
    assert len(single) > 80
    for cell in single:
        p = attnsim.predict(cell.variant.id, cell.hardware, **cell.workload.arguments)
        assert (cell.time_s("schedule"), cell.time_s("tiles")) == (p.time_s, p.rung_time("tiles"))
        assert (cell.speedup("schedule"), cell.interval_s) == (p.speedup, p.interval_s)
        assert cell.slowest.limited_by == p.limited_by
        assert bool(cell.why_not) == (p.time_s is None)


def test_an_efficiency_length_is_right_to_a_tenth() -> None:
    cell = next(c for c in _small().cells if (c.variant.id, c.hardware.name, c.workload.key)
                == ("moba", "b200", "prefill-8k"))  # fmt: skip
    assert cell.pays is not None
    assert cell.pays.length is not None
    sure = [attnsim.predict("moba", "b200", seq=n, causal=True).speedup
            for n in (int(cell.pays.length * 0.85), cell.pays.length)]  # fmt: skip
    assert sure[0] <= 1 < sure[1]
    other = next(c for c in _small().cells if (c.variant.id, c.hardware.name, c.workload.key)
                 == ("moba", "b200", "prefill-128k"))  # fmt: skip
    assert other.pays == cell.pays


def test_winners_are_the_fastest() -> None:
    found = _small()
    rows = {str(row["chip"]): row for row in _table("The fastest variant on each chip")}
    assert list(rows) == list(CHIPS)
    for workload in found.workloads:
        for chip in CHIPS:
            cells = [c for c in found.of(workload) if c.hardware.name == chip]
            best = fastest(cells)
            said = rows[chip][workload.key]
            if best is None:
                assert said is None
                continue
            cell, rung = best
            assert str(said).startswith(f"{cell.variant.id} ")
            assert str(said).endswith("(floor)") == (rung == "tiles")
            known = [c.speedup(rung) for c in cells]
            assert cell.speedup(rung) == max(s for s in known if s is not None)


def test_the_table_has_every_cell_and_reasons() -> None:
    rows = _table("All variants on all chips")
    assert len(rows) == len(_small().cells)
    for row in rows:
        assert (row["time"] is None) == (row["why no time"] is not None)
    chart = next(b for b in _document().blocks if isinstance(b, Chart))
    assert len(chart.points) == len(rows)
    assert [p.stem for p in pictures(_document())] == [f"atlas-{one.key}" for one in WORKLOADS]


def test_it_says_that_cost_is_not_quality() -> None:
    assert "not accuracy" in _document().lead
    said = [block.text for block in walk(_document().blocks) if isinstance(block, Paragraph)]
    assert any("another function than dense attention" in text for text in said)
    items = next(block for block in _document().blocks if isinstance(block, Items))
    assert [key for key, _ in items.items] == [one.key for one in WORKLOADS]


def test_chips_without_numbers_have_no_map_and_say_why() -> None:
    document = kind.document(atlas(["mha", "moba"], [load_hardware("tensor-g5")], SHORT[:1]))
    assert not pictures(document)
    said = [block.text for block in walk(document.blocks) if isinstance(block, Paragraph)]
    assert any(text.startswith("No map") for text in said)
    cells = [c for b in walk(document.blocks) if isinstance(b, Table) for row in b.rows for c in row]
    assert any(str(c).startswith("no floor: tensor-g5 has no known matrix rate") for c in cells)


@pytest.mark.parametrize("found", [_whole, _small], ids=["all", "few"])
def test_labels_do_not_overlap(found: object) -> None:
    made = found()  # type: ignore[operator]
    for workload in made.workloads:
        heat = kind.heat_of(made, workload)
        with style():
            figure = draw(heat)
            check_apart(figure)
            cell = figure.axes[0].get_window_extent().width / len(heat.columns)
            inside = [text.get_window_extent() for text in figure.axes[0].texts]
        assert all(box.width < cell for box in inside)
        said = [text for text, _ in boxes(figure)]
        assert set(heat.rows) | set(heat.columns) <= set(said)
        assert "fastest on" in heat.title


def test_colours_are_centred_on_one_and_shown_by_kind() -> None:
    cells = (Cell(4.0, best=True), Cell(0.25), Cell(1.0), Cell(3.0, floor=True), None)
    heat = Heat("t", "w", ("v",), ("a", "b", "c", "d", "e"), (cells,), "mha")
    assert reach(heat) == 4.0
    with style():
        axes = draw(heat).axes[0]
    squares, frames = axes.collections
    colours = [tuple(float(x) for x in c[:3]) for c in squares.get_facecolor()]  # type: ignore[union-attr]
    assert colours[0][2] > colours[0][0]
    assert colours[1][0] > colours[1][2]
    assert min(colours[2]) > 0.93
    assert len(colours) == 6
    assert len(frames.get_paths()) == 1
    assert [t.get_text() for t in axes.texts] == [number(4.0), number(0.25)]


def test_same_inputs_same_bytes() -> None:
    heat = kind.heat_of(_small(), WORKLOADS[0])
    made = []
    for _ in range(2):
        with style():
            made.append(encode(draw(heat), "svg"))
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--workload", "prefil-8k"), "unknown workload 'prefil-8k'; did you mean 'prefill-8k'"),
        (("mhaa",), "unknown variant 'mhaa'"),
        (("radial", "--workload", "prefill-8k"), "radial has no causal form"),
        (("--hw", "b20"), "unknown hardware 'b20'"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["attnsim", "report", "atlas", *words, "--out", str(tmp_path / "new")])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    assert exit_info.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert not list(tmp_path.iterdir())
