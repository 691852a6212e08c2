"""attnsim report roofline: what is drawn equals what is predicted, labels stay apart, files are whole."""

from __future__ import annotations

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import attnsim
from attnsim import cli
from attnsim.commands._reports._shared import write_folder
from attnsim.reports.kinds.roofline import document
from attnsim.reports.pictures import style
from attnsim.reports.pictures.roofline import draw
from attnsim.reports.roofline import Roofline, point, rooflines
from attnsim.reports.writers import write
from attnsim.simulator.api import FIRST_VARIANTS
from attnsim.simulator.errors import InputError

MANY = ("mha", "mqa", "gqa", "mla", "sqa", "sliding-window", "sink-window", "dilated", "moba", "chunked-softmax",
        "gated-attention", "linear-attention", "gated-deltanet", "lightning", "padre")  # fmt: skip
CHIPS = ("b200", "h100", "mi300x", "tpu-v5p")
WORKLOADS: dict[str, dict[str, Any]] = {
    "prefill": {}, "decode": {"seq": 1, "kv_len": 32768, "batch": 16}, "backward": {"direction": "backward"},
}  # fmt: skip


def _texts(figure: Any) -> list[tuple[str, Any]]:
    """Every text that a reader sees, with its box; the slanted ones, which placement avoids by strips, left out."""
    figure.canvas.draw()
    axes = figure.axes[0]
    texts = [*figure.texts, *axes.texts, axes.xaxis.label, axes.yaxis.label]
    for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        texts += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text() and t.get_rotation() % 90 == 0]


def _sheet(variants: Any = FIRST_VARIANTS, chip: Any = "b200", **arguments: Any) -> Roofline:
    return rooflines(attnsim.predict(list(variants), [chip], **arguments))[0]


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["attnsim", *words])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return int(exit_info.value.code or 0)


def test_points_stand_where_predictions_say() -> None:
    for p in attnsim.predict(hardware=["b200"]):
        made, d = point(p), p.to_dict()
        assert not isinstance(made, str)
        assert made.intensity == pytest.approx(d["arithmetic_intensity"])
        assert made.flop_per_s == pytest.approx(d["flops"]["matrix"] / d["ladder"]["schedule"]["time_s"])
        assert made.l2_intensity == pytest.approx(d["flops"]["matrix"] / d["tiled"]["bytes"]["l2"])
        for rung in ("roofline", "tiles"):
            assert made.rungs[rung] == pytest.approx(d["flops"]["matrix"] / d["ladder"][rung]["time_s"])


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("chip", CHIPS)
def test_no_point_above_the_roof(chip: str, workload: str) -> None:
    sheet = _sheet(chip=chip, **WORKLOADS[workload])
    peak = max(c.flop_per_s for c in sheet.ceilings)
    slope = {s.level: s.bytes_per_s for s in sheet.slopes}["HBM"]
    for p in sheet.points:
        assert p.flop_per_s <= p.rungs["tiles"] * (1 + 1e-12) <= p.rungs["roofline"] * (1 + 1e-9)
        assert p.rungs["roofline"] <= min(peak, p.intensity * slope) * (1 + 1e-9)


def test_marks_are_drawn_at_the_points() -> None:
    sheet = _sheet()
    with style():
        axes = draw(sheet).axes[0]
    drawn = {(float(line.get_xdata()[0]), float(line.get_ydata()[0]))  # type: ignore[index, arg-type]
             for line in axes.lines if line.get_marker() == "o"}  # fmt: skip
    assert drawn == {(p.intensity, p.flop_per_s) for p in sheet.points}
    assert {t.get_text() for t in axes.texts} >= {p.label for p in sheet.points}


def test_b200_ceilings() -> None:
    sheet = _sheet()
    by_kind = {c.kind: c.flop_per_s for c in sheet.ceilings}
    assert by_kind["matrix"] == pytest.approx(148 * 8192 * 1.965e9)
    assert by_kind["exp"] == pytest.approx(148 * 16 * 1.965e9 * 4 * 128)
    assert [s.level for s in sheet.slopes] == ["HBM", "L2", "shared memory"]
    assert any("fp8" in c.name for c in sheet.ceilings if c.kind == "other")


def test_exps_that_share_the_vector_unit_have_one_ceiling() -> None:
    kinds = [c.name for c in _sheet(chip="mi300x").ceilings if c.kind in ("exp", "vector")]
    assert kinds == ["vector and exp, dense softmax"]


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("variants", [FIRST_VARIANTS, MANY], ids=["first", "many"])
def test_labels_do_not_overlap(variants: tuple[str, ...], chip: str, workload: str) -> None:
    sheet = _sheet(variants, chip, **WORKLOADS[workload])
    with style():
        figure = draw(sheet)
        boxes = _texts(figure)
    assert {p.label for p in sheet.points} <= {text for text, _ in boxes}
    over = [(a[0], b[0]) for a, b in itertools.combinations(boxes, 2) if a[1].overlaps(b[1])]
    assert not over
    page = figure.bbox
    outside = [text for text, b in boxes if b.x0 < page.x0 or b.x1 > page.x1 or b.y0 < page.y0 or b.y1 > page.y1]
    assert not outside


def _text(predictions: Any, command: str | None = None) -> str:
    return write(document(predictions, command), ["md"])["roofline.md"].decode()


@pytest.mark.parametrize("form", ["svg", "png", "md"])
def test_same_inputs_same_bytes(form: str) -> None:
    first = write(document(attnsim.predict(["mha", "moba"], ["h100"]), "x"), [form])
    assert first == write(document(attnsim.predict(["mha", "moba"], ["h100"]), "x"), [form])
    assert set(first) == ({"roofline-h100.svg", "roofline.md"} if form == "md" else {f"roofline-h100.{form}"})


def test_pictures_leave_the_users_settings_alone() -> None:
    import matplotlib

    key: Any = "font.size"
    with matplotlib.rc_context({key: 17}):
        write(document(attnsim.predict(["mha"], ["h100"])), ["svg"])
        assert matplotlib.rcParams[key] == 17


def test_reports_use_no_global_figures() -> None:
    code = """
import sys, attnsim
import attnsim.reports.kinds.roofline, attnsim.reports.pictures.roofline, attnsim.commands.report
from attnsim.reports.writers import write
assert "matplotlib" not in sys.modules
write(attnsim.reports.kinds.roofline.document(attnsim.predict(["mha"], ["h100"])), ["md"])
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_document_has_the_numbers_and_how_to_get_them() -> None:
    predictions = attnsim.predict(["mha", "sliding-window"], ["b200", "h100"])
    text = _text(predictions, "attnsim x")
    expected = ["(roofline-b200.svg)", "(roofline-h100.svg)", "(counted)", "(bounded)", "(predicted)", "attnsim x"]
    expected += [f"**attnsim**: {attnsim.__version__}", "| 4,096 |", "1.00x"]
    expected += [
        f"{p.chosen.implementation.name} on {p.hardware.generation}: {p.confidence}, sha256" for p in predictions
    ]
    assert [words for words in expected if words not in text] == []
    assert "(measured) |" not in text


def test_measured_times_are_shown() -> None:
    assert "time (measured) |" in _text(attnsim.predict(["mha"], ["b200"], measured=1e-3))
    with style():
        markers = {line.get_marker() for line in draw(_sheet(["mha"], measured=1e-3)).axes[0].lines}
    assert "D" in markers


def test_changed_numbers_are_named() -> None:
    text = _text(attnsim.predict(["mha"], ["b200"], overrides={"exp_per_clock_per_sm": 32}))
    assert "changed for this report: exp_per_clock_per_sm = 32" in text


def test_variants_without_schedule_are_left_out_and_named() -> None:
    predictions = attnsim.predict(["mha", "moba"], ["tpu-v5p"])
    sheet = rooflines(predictions)[0]
    assert [p.label for p in sheet.points] == ["mha"]
    assert sheet.left_out[0][0] == "moba"
    assert "### Left out of the picture\n\n- **moba**: no schedule:" in _text(predictions)


def test_a_chip_without_bandwidth_has_no_picture() -> None:
    chip = replace(
        attnsim.Hardware.load("b200"), hbm_bandwidth_bytes_per_s=None, l2_bandwidth_bytes_per_s=None,
        smem_bytes_per_clock_per_sm=None,
    )  # fmt: skip
    files = write(document(attnsim.predict(["mha"], [chip])), ["md"])
    assert set(files) == {"roofline.md"}
    assert "No picture" in files["roofline.md"].decode()


def test_all_left_out_still_draws_the_roof() -> None:
    sheet = _sheet(["moba"], "tpu-v5p")
    assert not sheet.points
    with style():
        assert "no variant can be drawn" in draw(sheet).texts[0].get_text()


def test_two_chips_of_one_name() -> None:
    chips = [attnsim.Hardware.load("b200"), replace(attnsim.Hardware.load("b200"), sm_count=100)]
    with pytest.raises(InputError, match="two chips are called 'b200'"):
        rooflines(attnsim.predict(["mha"], chips))


def test_command_writes_files_and_lists_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a" / "b"
    words = (
        "report",
        "roofline",
        "gqa",
        "mha",
        "--hw",
        "b200,h100",
        "--causal",
        "-p",
        "kv_groups=4",
        "--out",
        str(out),
    )
    assert _run(monkeypatch, *words) == 0
    names = [f"roofline-{chip}.svg" for chip in ("b200", "h100")]
    names += ["roofline.md", *(f"roofline-{chip}.png" for chip in ("b200", "h100"))]
    assert capsys.readouterr().out.split() == [str(out / name) for name in names]
    assert {p.name for p in out.iterdir()} == set(names)
    text = (out / "roofline.md").read_text()
    assert "attnsim report roofline gqa mha --hw b200,h100 --causal -p kv_groups=4 --out DIR" in text
    assert str(tmp_path) not in text
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    other = tmp_path / "c"
    assert _run(monkeypatch, *words[:-1], str(other)) == 0
    assert {p.name: p.read_bytes() for p in other.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "file"), "cannot write to 'file': it is a file, not a folder"),
        (("--out", "file/below"), "cannot write to 'file/below'"),
        (("--out", "new", "--format", "gif"), "unknown format 'gif'"),
        (("--out", "new", "--format", ","), "no format is given"),
        (("--out", "new", "--hw", "b20"), "unknown hardware 'b20'"),
        (("nonsense", "--out", "new"), "unknown variant 'nonsense'"),
        (("--out", "new", "--seq", "0"), "seq"),
        ((), "Missing option '--out'"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("keep")
    assert _run(monkeypatch, "report", "roofline", *words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "keep"


def test_a_mistyped_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, "report", "rofline", "--out", "x") == 2
    assert capsys.readouterr().err == "error: unknown report 'rofline'; did you mean 'roofline'?\n"


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "b").mkdir(parents=True)
    with pytest.raises(InputError, match="'b' in it is a folder"):
        write_folder(out, {"a": b"1", "b": b"2"})
    assert [p.name for p in out.iterdir()] == ["b"]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "new" / "out", {"a": b"1"})
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_name(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(monkeypatch, "report", "roofline", "mha", "--out", "") == 2
    assert capsys.readouterr().err == "error: --out names no folder\n"
