"""The report of predicted against measured latency: what `attnsim validate` says, as a document."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from attnsim.autotune import accuracy, silicon, timings
from attnsim.commands._reports.validate import command
from attnsim.reports.document import Chart, Document, Items, Picture, Table, walk
from attnsim.reports.kinds.validate import MOST_POINTS, TOGETHER, document
from attnsim.reports.pictures import style
from attnsim.simulator.api import load_hardware
from attnsim.simulator.errors import InputError

DENSE = Path(__file__).parents[2] / "benchmarks" / "measured" / "published_dense.csv"
KEYS = (accuracy.COARSE, accuracy.BY_CASE, accuracy.BY_CHIP)


def of_file(*names: str) -> tuple[accuracy.Validation, Document]:
    """Published times of some chips."""
    profiles = {name: load_hardware(name) for name in names}
    found = accuracy.Validation()
    for checked in timings.check(DENSE, profiles).values():
        found.add(checked, silicon.SPLITS, (accuracy.COARSE, accuracy.BY_CHIP))
    return found, document(found, profiles, "as the file states", "attnsim report validate")


@pytest.fixture(scope="module")
def encoders() -> accuracy.Validation:
    """Rows of the public tables: both splits of one operation of one chip."""
    pytest.importorskip("aiconfigurator_core")
    return accuracy.validate(["h100"], None, ["encoder"], keys=KEYS)


@pytest.fixture(scope="module")
def report(encoders: accuracy.Validation) -> Document:
    return document(encoders, {"h100": load_hardware("h100")}, "the tables")


def tables(made: Document) -> list[Table]:
    return [block for block in walk(made.blocks) if isinstance(block, Table)]


def test_the_title_is_of_rows_that_no_constant_has_seen(encoders: accuracy.Validation, report: Document) -> None:
    rows = [one for one in encoders.rows if one.split == "held-out"]
    measured = np.concatenate([one.measured_s for one in rows])
    error = np.abs(np.concatenate([one.predicted_s for one in rows]) / measured - 1)
    assert f"{100 * error.mean():.1f}\u00a0% off on average over {len(error):,} rows that no constant" in report.title
    assert report.title.endswith(f"within {100 * np.percentile(error, 90):.0f}\u00a0%")
    assert {one.split for one in encoders.rows} == {"calibration", "held-out"}


def test_only_fitted_rows_are_called_fitted() -> None:
    pytest.importorskip("aiconfigurator_core")
    found = accuracy.validate(["h100"], ["vllm"], ["encoder"], ["calibration"], keys=KEYS)
    made = document(found, {"h100": load_hardware("h100")}, "the tables")
    assert "rows that constants were fitted to" in made.title


def test_tables_say_what_validate_says(encoders: accuracy.Validation, report: Document) -> None:
    shown = next(t for t in tables(report) if {"framework", "MAPE"} <= {c.head for c in t.columns})
    heads = [column.head for column in shown.columns]
    records = [r for r in encoders.records if "op" in r]
    assert len(shown.rows) == len(records) == 6
    for row, record in zip(shown.rows, records, strict=True):
        cells = dict(zip(heads, row, strict=True))
        assert (cells["framework"], cells["split"]) == (f"{record['framework']} {record['version']}", record["split"])
        assert (cells["MAPE"], cells["covered"], cells["rows"]) == (record["mape"], record["coverage"], record["rows"])
    assert all(column.mark for table in tables(report) for column in table.columns if column.numeric)


def test_what_is_left_out_is_named_with_its_reason() -> None:
    pytest.importorskip("aiconfigurator_core")
    found = accuracy.validate(["h100"], ["trtllm"], ["context"], ["held-out"], keys=KEYS)
    made = document(found, {"h100": load_hardware("h100")}, "the tables")
    items = dict(item for block in walk(made.blocks) if isinstance(block, Items) for item in block.items)
    rules = {rule.name: rule.reason for rule in silicon.known_bad()}
    (record,) = [r for r in found.records if "case" not in r and "op" not in r]
    assert record["reasons"]
    for name, count in record["reasons"].items():
        assert items[name] == f"{count} row{'s' if count > 1 else ''}. {rules[name]}"


def test_constants_are_named_with_what_they_were_fitted_on(report: Document) -> None:
    shown = next(t for t in tables(report) if t.columns[0].head == "kernels")
    rows = {row[0]: dict(zip([c.head for c in shown.columns], row, strict=True)) for row in shown.rows}
    assert {"fa3-vllm", "fa3-ragged", "trtllm-fmha"} <= set(rows)
    assert rows["fa3-vllm"]["from"] == "fitted"
    assert rows["fa3-vllm"]["rows fitted"] > 0
    assert rows["fa3-vllm"]["chips fitted"] == "h100"
    assert all(len(row["digest"]) == 12 for row in rows.values())


def test_the_chart_is_a_bounded_sample_the_same_each_time(encoders: accuracy.Validation, report: Document) -> None:
    again = document(encoders, {"h100": load_hardware("h100")}, "the tables")
    (chart,), (same,) = ([b for b in one.blocks if isinstance(b, Chart)] for one in (report, again))
    assert chart == same
    assert 0.5 * MOST_POINTS < len(chart.points) <= MOST_POINTS
    for point in chart.points:
        predicted, ratio = point.values["predicted"], point.values["ratio"]
        assert predicted is not None
        assert ratio == pytest.approx(predicted / float(point.x))
    assert {point.hover[-1] for point in chart.points} == {"calibration", "held-out"}


def test_a_file_of_few_chips_has_a_panel_an_operation_of_many_a_panel_a_chip() -> None:
    few, many = of_file("h100")[1], of_file("h100", "b200", "gb200", "a100")[1]
    assert TOGETHER < 4

    def panels(made: Document) -> list[str]:
        drawn = []
        for picture in (block for block in walk(made.blocks) if isinstance(block, Picture)):
            with style():
                figure = picture.draw()
            drawn += [text.get_text() for axes in figure.axes for text in axes.texts if text.get_gid() == "panel"]
        return drawn

    assert panels(few) == ["mha forward", "mha forward causal", "mha backward"]
    assert panels(many) == ["h100", "b200", "gb200", "a100"]


def _boxes(figure: Any) -> list[tuple[str, Any]]:
    figure.canvas.draw()
    texts = [*figure.texts, *(t for axes in figure.axes for t in axes.texts), *figure.legends[0].get_texts()]
    return [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]


@pytest.mark.parametrize(
    "names", [("rtx-5090",), ("h100",), ("h100", "b200", "gb200", "a100", "mi355x", "h20", "gb300")]
)
def test_titles_and_keys_stay_on_the_page_apart(names: tuple[str, ...]) -> None:
    for picture in (block for block in walk(of_file(*names)[1].blocks) if isinstance(block, Picture)):
        with style():
            figure = picture.draw()
            boxes = _boxes(figure)
        page = figure.bbox
        assert not [t for t, b in boxes if b.x0 < page.x0 or b.x1 > page.x1 or b.y0 < page.y0 or b.y1 > page.y1]
        assert not [(a[0], b[0]) for a, b in itertools.combinations(boxes, 2) if a[1].overlaps(b[1])]


def _fails(*words: str) -> str:
    result = CliRunner().invoke(command, [*words])
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def test_mistakes_are_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("--out", str(tmp_path / "out"))
    assert "known: silicon, the name of a .csv file" in _fails("--data", "gold", *out)
    assert "--split chooses rows of silicon" in _fails("--data", str(DENSE), "--split", "held-out", *out)
    assert "has no row of 'l40s'" in _fails("--data", str(DENSE), "--hw", "l40s", *out)
    assert "No such file" in _fails("--data", str(tmp_path / "none.csv"), *out)
    monkeypatch.setattr(silicon, "PACKAGE", "no_such_package")
    assert "pip install 'attnsim[silicon]'" in _fails("--hw", "h100", *out)
    assert not (tmp_path / "out").exists()
