"""The picture of predicted against measured latencies: right numbers, all rows in view, same inputs same bytes."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnsim.reports.pictures import COLOURS, style
from attnsim.reports.pictures.accuracy import BANDS, RATIOS, Cloud, draw, gather, predicted_vs_measured
from attnsim.reports.words import seconds
from attnsim.simulator.errors import InputError


def _cloud(panel: str = "context", colour: str = "held-out", rows: int = 300, error: float = 0.1) -> Cloud:
    generator = np.random.default_rng(rows)
    measured = np.exp(generator.uniform(np.log(1e-5), np.log(1e-1), rows))
    return Cloud(panel, colour, measured, measured * (1 + error))


def _figure(*clouds: Cloud) -> Any:
    with style():
        return draw(gather(clouds), "Predicted and measured latency")


def _texts(figure: Any, gid: str) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_gid() == gid]


def test_a_panel_for_each_operation_with_its_numbers() -> None:
    figure = _figure(
        _cloud("context", "held-out", 1200, 0.1), _cloud("context", "zero-shot", 1200, 0.3),
        _cloud("decode", "held-out", 10, -0.5),
    )  # fmt: skip
    assert _texts(figure, "panel") == ["context", "decode"]
    assert _texts(figure, "numbers") == ["2,400 rows, MAPE 20.0 %", "10 rows, MAPE 50.0 %"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["held-out", "zero-shot", "within 10 %", "within 25 %"]
    assert len(figure.axes) == 4


def test_points_are_where_the_rows_are() -> None:
    cloud = Cloud("x", "a", np.array([1e-4, 1e-3, 1e-2]), np.array([1.1e-4, 0.9e-3, 8e-2]))
    square, strip = _figure(cloud).axes
    drawn = {tuple(point) for point in np.asarray(square.collections[-1].get_offsets())}
    assert drawn == set(zip(cloud.measured_s, cloud.predicted_s, strict=True))
    low, high = square.get_xlim()
    assert square.get_ylim() == pytest.approx((low, high))
    assert low < 1e-4
    assert high > 8e-2
    ratios = {round(float(y), 6) for _, y in np.asarray(strip.collections[-1].get_offsets())}
    assert ratios == {1.1, 0.9, RATIOS[1]}, "what is beyond lies on the edge"


def test_bands_are_painted_around_the_diagonal() -> None:
    square, _ = _figure(_cloud()).axes
    for (factor, _), band in zip(BANDS, square.collections, strict=False):
        ratios = {round(y / x, 6) for x, y in band.get_paths()[0].vertices}
        assert ratios == {round(factor, 6), round(1 / factor, 6)}


def test_rows_without_a_prediction_are_neither_drawn_nor_counted() -> None:
    cloud = _cloud(rows=100)
    some = Cloud("context", "held-out", cloud.measured_s, np.where(np.arange(100) < 40, np.nan, cloud.predicted_s))
    none = Cloud("decode", "held-out", cloud.measured_s, np.full(100, np.nan))
    figure = _figure(some, none)
    assert _texts(figure, "numbers") == ["60 rows, MAPE 10.0 %"]
    with pytest.raises(InputError, match="nothing to draw"):
        predicted_vs_measured([none], Path("a.svg"))


@pytest.mark.parametrize("form", ["svg", "png", "pdf"])
def test_same_inputs_same_bytes(form: str) -> None:
    clouds = [_cloud(rows=5000), _cloud("decode", "zero-shot")]
    first = predicted_vs_measured(clouds, Path(f"a.{form}"))
    assert first == predicted_vs_measured(clouds, Path(f"b.{form}"))
    assert {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}[form] == first[: 5 if form == "svg" else 4]


def test_other_suffixes_are_refused() -> None:
    with pytest.raises(InputError, match="svg, png, pdf"):
        predicted_vs_measured([_cloud()], Path("a.bmp"))


@pytest.mark.parametrize("count", [1, 2, 5, 14])
def test_nothing_overlaps_or_leaves_the_page(count: int) -> None:
    figure = _figure(*(_cloud(f"an-operation-{i}", f"split {i % 3}", 1_000_000 if i == 0 else 9) for i in range(count)))
    figure.canvas.draw()
    page = figure.bbox
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes.yaxis.label]
        for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            texts += [tick.label1 for tick in ticks if tick.label1.get_visible()]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts if text.get_text()]
    assert not [words for words, b in boxes if b.x0 < page.x0 or b.x1 > page.x1 or b.y0 < page.y0 or b.y1 > page.y1]
    assert not [(a[0], b[0]) for a, b in itertools.combinations(boxes, 2) if a[1].overlaps(b[1])]


def test_more_names_than_the_palette_have_colours_of_their_own() -> None:
    figure = _figure(*(_cloud(colour=f"chip {i}") for i in range(len(COLOURS) + 3)))
    (legend,) = figure.legends
    shades = [tuple(patch.get_facecolor()) for patch in legend.get_patches()]
    assert len(set(shades)) == len(shades) == len(COLOURS) + 3 + len(BANDS)


def test_times_are_plain() -> None:
    assert [seconds(10.0**power) for power in range(-9, 2)] == [
        "1 ns", "10 ns", "100 ns", "1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s", "10 s"
    ]  # fmt: skip


def test_matplotlib_is_imported_late_and_without_global_figures() -> None:
    code = """
import sys
from pathlib import Path
import numpy as np
import attnsim.reports.pictures.accuracy as accuracy
assert "matplotlib" not in sys.modules
one = np.array([1e-3])
accuracy.predicted_vs_measured([accuracy.Cloud("a", "b", one, one)], Path("a.svg"))
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_has_its_colour_in_every_picture() -> None:
    times = np.array([1e-3])
    looks = []
    for drawn in (["calibration", "held-out"], ["held-out"]):
        with style():
            figure = draw(gather([Cloud("a", name, times, times) for name in drawn]), "x", ("calibration", "held-out"))
        looks.append({text.get_text(): mark.get_facecolor() for key in (figure.legends[0],)
                      for text, mark in zip(key.get_texts(), key.get_patches(), strict=True)})  # fmt: skip
    assert looks[0]["held-out"] == looks[1]["held-out"]
    assert "calibration" not in looks[1]
