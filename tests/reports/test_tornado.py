"""attnsim report sensitivity: what is shown equals what is predicted, labels stay apart, mistakes are told."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import pytest

import attnsim
from attnsim.reports.document import Chart, Picture, Table, walk
from attnsim.reports.kinds.sensitivity import advice, document, finding, percent
from attnsim.reports.pictures import encode, style
from attnsim.reports.pictures.tornado import Group, Row, Tornado, draw, number
from attnsim.reports.writers import write
from attnsim.simulator.api import LeftOut, predict
from attnsim.simulator.sensitivity import sensitivity
from attnsim.simulator.variants import names

CHIPS = ("b200", "mi300x", "tpu-v5p", "apple-m4-ane")
WORKLOADS: dict[str, dict[str, Any]] = {
    "prefill": {"causal": True}, "decode": {"seq": 1, "kv_len": 32768, "batch": 16, "heads": 32, "kv_heads": 8},
    "backward": {"direction": "backward"}, "video": {"shape": (8, 16, 16), "heads": 24, "window": (4, 8, 8)},
}  # fmt: skip


def _predictions(variants: Any, chips: Any, **arguments: Any) -> tuple[list[Any], list[LeftOut]]:
    left_out: list[LeftOut] = []
    return predict(list(variants), list(chips), left_out=left_out, **arguments), left_out


def _pictures(made: Any) -> list[Picture]:
    return [block for block in walk(made.blocks) if isinstance(block, Picture)]


def check_apart(figure: Any) -> None:
    """No text that a reader sees covers another one or leaves the page."""
    figure.canvas.draw()
    texts = [*figure.texts]
    for axes in figure.axes:
        texts += [*axes.texts, axes.xaxis.label, axes._left_title, *(t.label1 for t in axes.xaxis.get_major_ticks())]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    page = figure.bbox
    for said, box in boxes:
        assert page.x0 <= box.x0 <= box.x1 <= page.x1, said
        assert page.y0 <= box.y0 <= box.y1 <= page.y1, said
    for (one, a), (two, b) in itertools.combinations(boxes, 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= 0.5 or height <= 0.5, (one, two)


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("chip", CHIPS)
def test_labels_stay_apart(chip: str, workload: str) -> None:
    drawn = 0
    many = names() if (chip, workload) == ("b200", "prefill") else names()[::6]
    for variants in (("gna",),) if workload == "video" else (("mha",), ("moba",), many):
        found, left_out = _predictions(variants, [chip], **WORKLOADS[workload])
        if not found:
            continue
        with style():
            for picture in _pictures(document(found, None, left_out)):
                check_apart(picture.draw())
                drawn += 1
    assert drawn or chip == "apple-m4-ane"


ROWS = (Row("a long name of a number (123,456 FLOP/clock/SM)", 1e-4, 2e4), Row("b", None, None), Row("c", 1.0, 0.9999))


@pytest.mark.parametrize("rows", [(), ROWS, ROWS[1:], (Row("x", 1.001, 0.999, (True, True)),)])
def test_extreme_effects_keep_labels_apart(rows: tuple[Row, ...]) -> None:
    """Nothing to draw, times from a ten-thousandth to twenty thousand of now, less than a thousandth."""
    for groups in ((Group("", rows, rows),), (Group("one", rows, ()), Group("two", (), rows[:1]))):
        with style():
            check_apart(draw(Tornado("What is seen " * 12, "workload", "predicted time", groups)))


def _near(bar: Any, y: float) -> bool:
    """Whether a bar belongs to the row at a height."""
    return bool(abs(bar.get_y() + bar.get_height() / 2 - y) < 0.1)


def test_bars_end_where_predictions_say() -> None:
    """The doubled and the halved exp rate, against a prediction with that number set."""
    now, rate = attnsim.predict("mha", "b200"), 16
    again = {f: attnsim.predict("mha", "b200", overrides={"exp_per_clock_per_sm": rate * f}).time_s for f in (0.5, 2)}
    with style():
        figure = _pictures(document([now]))[0].draw()
        figure.canvas.draw()
    axes = figure.axes[0]
    place = next(t.xy[1] for t in axes.texts if t.get_text().startswith("exp rate"))
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches if _near(bar, place)]
    assert sorted(ends) == pytest.approx(sorted(time / now.time_s for time in again.values()))
    labels = {t.get_text().rstrip("*") for t in axes.texts}
    assert {f"\u00d72 {number(again[2] / now.time_s)}", f"\u00f72 {number(again[0.5] / now.time_s)}"} <= labels


@pytest.mark.parametrize("chip", ["b200", "h100", "mi300x"])
def test_what_is_advised_is_what_a_prediction_gives(chip: str) -> None:
    """The share in the title is that of the number named there, and no other single unit saves more."""
    now = attnsim.predict("mha", chip, seq=1, kv_len=8192, batch=8)
    rate = now.hardware.hbm_bandwidth_bytes_per_s
    then = attnsim.predict(
        "mha", chip, seq=1, kv_len=8192, batch=8, overrides={"hbm_bandwidth_bytes_per_s": 2 * rate}
    ).time_s
    saved = percent(1 - then / now.time_s)
    found = sensitivity(now)
    assert found is not None
    assert finding(found).startswith(f"mha on {now.hardware.title}: doubling the HBM bandwidth saves {saved}")
    chip_said, model_said = advice(found)
    assert chip_said.startswith(
        f"A chip designer should double the HBM bandwidth: it saves {saved} of the predicted time"
    )
    assert "should halve" in model_said


def test_rows_stand_by_their_effect() -> None:
    with style():
        figure = _pictures(document([attnsim.predict("mha", "h100")]))[0].draw()
    for axes in figure.axes:
        heights = [t.xy[1] for t in axes.texts if t.get_gid() == "name"]
        ends = {y: [bar.get_x() + bar.get_width() for bar in axes.patches if _near(bar, y)] for y in heights}
        reach = {y: max(abs(math.log(end)) for end in found) for y, found in ends.items()}
        assert len(heights) > 3
        assert [reach[y] for y in sorted(heights)] == sorted(reach.values(), reverse=True)


def test_a_chip_without_a_schedule_shows_the_floor_and_says_so() -> None:
    made = document([attnsim.predict("moba", "tpu-v5p")])
    text = write(made, ["md"])["sensitivity.md"].decode()
    assert "floor" in made.title
    assert "no schedule" in text
    assert "(predicted)" not in text.split("## Claims")[0]
    with style():
        assert "floor" in _pictures(made)[0].draw().axes[0].get_xlabel()


def test_variants_left_out_are_named() -> None:
    found, left_out = _predictions(("mha", "gna"), ["b200"], seq=1, kv_len=8192)
    assert left_out
    assert "Left out" in write(document(found, None, left_out), ["md"])["sensitivity.md"].decode()


def test_tables_have_facets_and_one_chart() -> None:
    made = document(_predictions(("mha", "moba"), ["b200", "h100"])[0])
    tables = [block for block in walk(made.blocks) if isinstance(block, Table)]
    assert {c.facet for t in tables for c in t.columns} >= {"chip", "variant"}
    assert all(len(row) == len(t.columns) for t in tables for row in t.rows)
    charts = [block for block in walk(made.blocks) if isinstance(block, Chart)]
    assert [chart.kind for chart in charts] == ["bars"]
    assert {(p.chip, p.variant) for p in charts[0].points} == set(itertools.product(("b200", "h100"), ("mha", "moba")))


def test_same_inputs_same_bytes_and_distinct_files() -> None:
    found = _predictions(("mha", "sliding-window"), ["b200", "h100"], causal=True)[0]
    files = [write(document(found), ["md", "svg"]) for _ in range(2)]
    assert files[0] == files[1]
    stems = [picture.stem for picture in _pictures(document(found))]
    assert len(set(stems)) == len(stems)
    linked = set(re.findall(r"\]\((\S+\.svg)\)", files[0]["sensitivity.md"].decode()))
    assert linked == {name for name in files[0] if name.endswith(".svg")}


def test_numbers_have_three_digits() -> None:
    assert [number(r) for r in (0.034, 0.5, 0.99999, 1.0, 1.004, 9.999, 123.4)] == [
        "0.034", "0.500", "1.00", "1.00", "1.00", "10.00", "123",
    ]  # fmt: skip


def test_pictures_are_encoded_fast() -> None:
    import time

    made = document([attnsim.predict("mha", "b200")])
    with style():
        best = math.inf
        for _ in range(3):
            start = time.process_time()
            encode(_pictures(made)[0].draw(), "svg")
            best = min(best, time.process_time() - start)
    assert best < 1.0
