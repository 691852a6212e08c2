"""The report of tuning landscapes: right numbers, readable pictures, plain words where there is nothing to report."""

from __future__ import annotations

import csv
import itertools
import math
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from attnsim.autotune import landscapes
from attnsim.autotune.measurement import Measurement, write
from attnsim.autotune.task import Task
from attnsim.commands._reports.landscape import command
from attnsim.reports.document import Chart, Document, Picture, Section, Table, walk
from attnsim.reports.kinds.landscape import MOST_ROWS, document
from attnsim.reports.pictures import encode, style
from attnsim.reports.pictures.landscape import Dot, Panel, draw
from attnsim.simulator.errors import InputError

PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "measured" / "landscapes" / "published.csv"
ROW = {
    "landscape_id": "one", "source": "a log", "chip": "NVIDIA H100 SXM", "dtype": "fp16", "kernel": "own Triton fwd",
    "batch": "4", "q_heads": "16", "kv_heads": "4", "q_len": "2048", "kv_len": "2048", "qk_head_dim": "64",
    "v_head_dim": "64", "mask": "causal", "notes": "",
}  # fmt: skip


def table(path: Path, *rows: dict[str, str]) -> Path:
    """A table of published landscapes."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, (*ROW, "config", "time_ms"))
        writer.writeheader()
        writer.writerows([ROW | row for row in rows])
    return path


def configs(path: Path, count: int = 60) -> Path:
    """One landscape of so many configs; the fastest is the last one written, one failed."""
    grid = itertools.product((16, 32, 64, 128), (16, 32, 64, 128), (2, 4, 8), (1, 2, 3))
    named = [f"BLOCK_M={m};BLOCK_N={n};num_warps={w};num_stages={s}" for m, n, w, s in itertools.islice(grid, count)]
    rows = [{"config": text, "time_ms": str(1 + 0.01 * (count - i))} for i, text in enumerate(named)]
    rows[0] |= {"time_ms": "", "notes": "out of shared memory"}
    return table(path, *rows)


def report(*paths: Path) -> Document:
    return document([one for path in paths for one in landscapes.read(path)], "attnsim report landscape")


def test_the_table_says_what_the_first_choice_loses(tmp_path: Path) -> None:
    path = configs(tmp_path / "one.csv")
    made = report(path)
    summary = next(block for block in walk(made.blocks) if isinstance(block, Table))
    row = dict(zip([(c.head, c.mark) for c in summary.columns], summary.rows[0], strict=True))
    (one,) = landscapes.read(path)
    first = landscapes.model_order(one)[0]
    best = min(one.seconds.values())
    assert row["configs", "counted"] == 60
    assert row["failed", "measured"] == 1
    assert row["fastest", "measured"] == best
    assert row["first choice", "measured"] == one.seconds[first]
    assert row["loss", "measured"] == pytest.approx(one.seconds[first] / best - 1)
    assert f"takes {100 * (one.seconds[first] / best - 1):.1f}" in made.title
    assert "of 60 configs" in made.title


def test_configs_are_in_the_order_of_their_times_with_the_winner_and_the_first_choice(tmp_path: Path) -> None:
    path = configs(tmp_path / "one.csv")
    shown = [block for block in walk(report(path).blocks) if isinstance(block, Table)][1]
    assert len(shown.rows) == MOST_ROWS
    assert shown.note == f"{60 - MOST_ROWS} slower or failed configs left out."
    times = [row[1] for row in shown.rows if row[1] is not None]
    assert times == sorted(times)
    (one,) = landscapes.read(path)
    roles = {row[0]: row[-1] for row in shown.rows}
    assert "the winner" in roles[min(one.seconds, key=lambda text: one.seconds[text])]
    assert "the model's first choice" in roles[landscapes.model_order(one)[0]]


def test_a_first_choice_that_fails_is_said_to(tmp_path: Path) -> None:
    path = configs(tmp_path / "all.csv", 12)
    (one,) = landscapes.read(path)
    first = landscapes.model_order(one)[0]
    rows = [{"config": text, "time_ms": "wrong answer" if text == first else f"{1e3 * time_s}"}
            for text, time_s in one.seconds.items() if math.isfinite(time_s) or text == first]  # fmt: skip
    made = report(table(tmp_path / "one.csv", *rows))
    assert "the model's first choice of" in made.title
    assert made.title.endswith("fails")
    shown = [block for block in walk(made.blocks) if isinstance(block, Table)][1]
    assert next(row[-1] for row in shown.rows if row[0] == first).endswith("failed: wrong answer")
    (picture,) = [block for block in walk(made.blocks) if isinstance(block, Picture)]
    with style():
        labels = {text.get_text().split("\n")[0] for text in _texts(picture.draw(), "label")}
    assert labels == {"winner", "model's first choice (failed)"}


def test_recordings_are_landscapes_too(tmp_path: Path) -> None:
    task = Task.make("mha", "h100", "triton-flash", seq=1024, heads=4, head_dim=64)
    some = list(itertools.islice(task.kernel.configs(task.part, task.chip), 8))
    measured = [Measurement(task, config, "ok", (1e-3 * (i + 1), 1e-3 * (i + 1))) for i, config in enumerate(some[:-1])]
    failed = Measurement(task, some[-1], "out of resources", reason="needs 300 KB")
    write(tmp_path / "rec.json", {"device_name": "NVIDIA H100"}, [*measured, failed])
    made = report(tmp_path / "rec.json")
    texts = repr([block for block in walk(made.blocks) if isinstance(block, Section)])
    assert "Measured by: NVIDIA H100" in texts
    assert "failed: needs 300 KB" in texts


def test_the_chart_has_every_config_that_ran_and_is_bounded() -> None:
    found = landscapes.read(PUBLISHED)
    (chart,) = [block for block in document(found).blocks if isinstance(block, Chart)]
    ran = sum(math.isfinite(time_s) for one in found if one.task for time_s in one.seconds.values())
    assert 0.9 * ran < len(chart.points) <= ran
    assert all(point.values["slower"] >= 1 for point in chart.points)
    assert {line.chip for line in chart.lines} == {point.chip for point in chart.points}


def test_every_number_is_marked() -> None:
    for block in walk(document(landscapes.read(PUBLISHED)).blocks):
        if isinstance(block, Table):
            assert all(column.mark for column in block.columns if column.numeric)


def _texts(figure: Any, *gids: str) -> list[Any]:
    every = [*figure.texts, *(text for axes in figure.axes for text in axes.texts)]
    return [text for text in every if not gids or text.get_gid() in gids]


def _apart(figure: Any) -> None:
    """No text lies on another, none leaves the page."""
    renderer = figure.canvas.get_renderer()
    figure.draw(renderer)
    shown = [text for text in _texts(figure) if text.get_text() and text.get_visible()]
    for axes in figure.axes:
        low, high = axes.get_xlim()
        shown += [
            label for label, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True) if low <= at <= high
        ]
        low, high = axes.get_ylim()
        shown += [
            label for label, at in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True) if low <= at <= high
        ]
        shown += [axes.xaxis.label, axes.yaxis.label]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in shown if text.get_text()]
    page = figure.bbox
    for name, box in boxes:
        assert box.x0 >= page.x0 and box.y0 >= page.y0 and box.x1 <= page.x1 and box.y1 <= page.y1, name  # noqa: PT018
    for (name, a), (other, b) in itertools.combinations(boxes, 2):
        width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert width <= 1 or height <= 1, (name, other)


def test_texts_that_lie_on_each_other_are_found() -> None:
    with style():
        figure = draw([Panel("one", "h100", (Dot("a", 1.0, 1.0),), None, None)], "Title")
        _apart(figure)
        figure.texts[0].set_fontsize(60)
        with pytest.raises(AssertionError, match="Title"):
            _apart(figure)
        figure.texts[0].set_visible(False)
        figure.axes[0].text(0.4, 0.5, "other", transform=figure.axes[0].transAxes)
        figure.axes[0].text(0.4, 0.5, "another", transform=figure.axes[0].transAxes)
        with pytest.raises(AssertionError, match="another"):
            _apart(figure)


def test_no_label_lies_on_another_in_the_pictures_of_published_landscapes() -> None:
    found = landscapes.read(PUBLISHED)
    for group in (found, *([one] for one in found if one.task)):
        for picture in (block for block in walk(document(group).blocks) if isinstance(block, Picture)):
            with style():
                _apart(picture.draw())


@pytest.mark.parametrize("count", [1, 2, 4, 9])
def test_no_label_lies_on_another_whatever_the_times(count: int) -> None:
    dots = (Dot("BLOCK_M=128;BLOCK_N=64;num_warps=8;num_stages=3;warp_specialize=True", 1e-4, 1.1e-4),
            Dot("BLOCK_M=64;BLOCK_N=64", 1.02e-4, 1e-4), Dot("BLOCK_M=16;BLOCK_N=16", None, 3e-4))  # fmt: skip
    name = (
        "causal-1k: mha window=[16, 16] 48x32x80, 1x4 heads of 64, fp32, forward, causal on h100 by triton-flash-long"
    )
    panels = [
        Panel(name, "h100: 3 configs, 1 failed, first choice +2 %", dots, dots[0], dots[1]),
        Panel("two", "h100", dots, dots[0], dots[2]), Panel("same", "h100", dots, dots[0], dots[0]),
        Panel("one", "h100", dots[:1], dots[0], dots[0]),
        Panel("far", "h100", (*dots, Dot("a", 1.0, 1e-6)), dots[0], dots[1]),
    ]  # fmt: skip
    for start in range(len(panels)):
        turned = (panels[start:] + panels[:start]) * 2
        with style():
            _apart(draw(turned[:count], "The model's first choice takes 2.0\u00a0% longer than the fastest " * 2))


def test_same_picture_same_bytes() -> None:
    (picture, *_) = [b for b in walk(document(landscapes.read(PUBLISHED)).blocks) if isinstance(b, Picture)]
    with style():
        assert encode(picture.draw(), "svg") == encode(picture.draw(), "svg")


def _run(*words: str) -> str:
    result = CliRunner().invoke(command, [*words])
    assert isinstance(result.exception, InputError), result.output
    return str(result.exception)


def test_mistakes_are_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    untimed = table(tmp_path / "untimed.csv", {"config": "BLOCK_M=64;BLOCK_N=64", "time_ms": "failed"})
    out = ("--out", str(tmp_path / "out"))
    assert "no such file" in _run(str(tmp_path / "missing.csv"), *out)
    assert "is empty" in _run(str(empty), *out)
    assert "it lacks landscape_id" in _run(str(other), *out)
    assert "none of its configurations has a time" in _run(str(untimed), *out)
    assert re.search("no landscape of 'b200'; there are of a100-40gb, h100", _run(str(PUBLISHED), "--hw", "b200", *out))
    monkeypatch.chdir(tmp_path)
    assert "no landscape is given" in _run(*out)
    assert not (tmp_path / "out").exists()
