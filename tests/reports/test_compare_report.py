"""attnsim report compare: what is said equals what is predicted, labels stay apart, gaps are named."""

from __future__ import annotations

import itertools
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from labels import boxes, check_apart

import attnsim
from attnsim import cli
from attnsim.reports.document import Chart, Section, Table, pictures, walk
from attnsim.reports.kinds import compare
from attnsim.reports.pictures import encode, style
from attnsim.reports.pictures.lengths import Sheet, draw
from attnsim.simulator.api import FIRST_VARIANTS, load_hardware
from attnsim.simulator.crossover import Curve, curve, questions
from attnsim.simulator.errors import InputError

TWENTY = ("mha", "mqa", "gqa", "mla", "sqa", "sliding-window", "sink-window", "dilated", "moba", "chunked-softmax",
          "gated-attention", "linear-attention", "gated-deltanet", "kda", "mamba2", "lightning", "log-linear",
          "simplicial-2", "power-attention", "dsa")  # fmt: skip
LENGTHS = (1024, 4096, 16384, 65536)
DECODE = {"seq": 1, "batch": 16}


def _curves(
    variants: Any = FIRST_VARIANTS, chips: Any = ("b200",), axis: str = "seq", lengths: Any = LENGTHS, **given: Any
) -> list[Curve]:
    return [curve(one, lengths) for one in questions(variants, map(load_hardware, chips), axis, given)]


def _sheet(curves: list[Curve]) -> Sheet:
    return compare._sheet(compare.comparisons(curves)[0], "workload")


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["attnsim", "report", "compare", *words])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return int(exit_info.value.code or 0)


@pytest.mark.parametrize("variants", [("moba",), FIRST_VARIANTS, TWENTY], ids=["one", "eight", "twenty"])
@pytest.mark.parametrize("chip", ["b200", "apple-m4-ane", "rtx-5090"])
@pytest.mark.parametrize("work", ["prefill", "decode"])
def test_labels_do_not_overlap(variants: tuple[str, ...], chip: str, work: str) -> None:
    axis, given = ("seq", {"causal": True}) if work == "prefill" else ("kv_len", DECODE)
    sheet = _sheet(_curves(variants, [chip], axis, **given))
    with style():
        figure = draw(sheet)
        check_apart(figure)
        said = " ".join(text for text, _ in boxes(figure))
    assert all(path.label in said for path in sheet.paths)
    assert all(f"{path.crossing[0]:,}" in said for path in sheet.paths if path.crossing)


def test_one_length_is_drawn_too() -> None:
    with style():
        figure = draw(_sheet(_curves(lengths=(4096,))))
        check_apart(figure)
    assert all(line.get_marker() == "o" for line in figure.axes[0].lines if len(line.get_xdata()) == 1)  # type: ignore[arg-type]


def test_rings_stand_where_the_variant_passes_the_baseline() -> None:
    sheet = _sheet(_curves(["moba", "gated-deltanet"], causal=True))
    rings = {path.label: path.crossing for path in sheet.paths if path.crossing}
    assert set(rings) == {"moba", "gated-deltanet"}
    for name, (length, seconds) in rings.items():
        p = attnsim.predict(name, "b200", seq=length, causal=True)
        assert seconds == p.time_s
        assert p.speedup > 1
        assert attnsim.predict(name, "b200", seq=length - 1, causal=True).speedup <= 1
    with style():
        drawn = [line for line in draw(sheet).axes[0].lines if line.get_marker() == "o"]
    assert {(line.get_xdata()[0], line.get_ydata()[0]) for line in drawn} == set(rings.values())  # type: ignore[index]


def test_the_title_says_what_is_found() -> None:
    chip = compare.comparisons(_curves(["moba"], causal=True))[0]
    length = chip.pays["moba"]["schedule"].length
    assert compare.finding(chip) == f"On {chip.hardware.title} moba is faster than mha from {length:,} tokens on"
    chip = compare.comparisons(_curves(TWENTY, causal=True))[0]
    faster = sum(attnsim.predict(v, "b200", seq=LENGTHS[-1], causal=True).speedup > 1 for v in TWENTY[1:])
    assert f"{faster} of 19 variants are faster than mha at 64k tokens" in compare.finding(chip)
    assert "nowhere" in compare.finding(compare.comparisons(_curves(["gated-attention"]))[0])


def test_the_ranking_is_sorted_and_complete() -> None:
    chips = ("b200", "h100")
    document = compare.document(_curves(FIRST_VARIANTS, chips), "x")
    section = next(b for b in document.blocks if isinstance(b, Section) and b.title.startswith("Ranking"))
    table = section.blocks[0]
    assert isinstance(table, Table)
    heads = [column.head for column in table.columns]
    rows = [dict(zip(heads, row, strict=True)) for row in table.rows]
    assert len(rows) == len(chips) * len(LENGTHS) * len(FIRST_VARIANTS)
    for chip, length in itertools.product(chips, LENGTHS):
        some = [r for r in rows if r["chip"] == chip and r["length (tokens)"] == length]
        assert [r["rank"] for r in some] == list(range(1, len(some) + 1))
        assert [r["time"] for r in some] == sorted(r["time"] for r in some)
    chart = next(b for b in document.blocks if isinstance(b, Chart))
    assert len(chart.points) == len(rows)
    assert {q.key for q in chart.quantities} >= {"time", "speedup", "operands", "cache"}
    assert [p.stem for p in pictures(document)] == ["compare-b200", "compare-h100"]


def test_a_variant_that_refuses_some_lengths_has_a_gap_that_is_named() -> None:
    curves = _curves(["gna", "swin"], lengths=(1024, 4096), window=2000)
    left = {(one.variant, one.why) for one in compare.left_out(curves)}
    assert left == {
        ("gna", "window 2000 is larger than the shape 1024 (at 1k tokens)"),
        ("swin", "window 2000 is larger than the shape 1024 (at 1k tokens)"),
    }
    assert [path.seconds[0] for path in _sheet(curves).paths if not path.baseline] == [None, None]
    text = [block.title for block in walk(compare.document(curves).blocks) if isinstance(block, Section)]
    assert "Left out" in text


def test_all_that_refuse_are_an_error() -> None:
    with pytest.raises(InputError, match="padre has no causal form; swin has no causal form"):
        compare.document(_curves(["padre", "swin"], causal=True))


def test_a_chip_without_kernels_is_ranked_by_floors() -> None:
    chip = compare.comparisons(_curves(["linear-attention"], ["apple-m4-ane"]))[0]
    assert chip.rung == "tiles"
    sheet = compare._sheet(chip, "workload")
    assert "by floor" in sheet.title
    assert "bounded" in sheet.time_label
    with style():
        assert "predicted" not in draw(sheet).axes[0].get_ylabel()


def test_same_inputs_same_bytes() -> None:
    made = []
    for _ in range(2):
        with style():
            made.append(encode(draw(_sheet(_curves(["moba", "mla"]))), "svg"))
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--seq", "1k..4k", "--kv-len", "1k..4k"), "seq and kv-len are both ranges"),
        (("--shape", "8x8"), "compare ranges over one axis of tokens"),
        (("--seq", "4k..1k"), "seq range '4k..1k' is empty"),
        (("--seq", "0"), "seq is 0; allowed: 1 and more"),
        (("radial", "--seq", "1k..4k"), "radial takes a token layout of 2 or 3 axes, not 1"),
        (("moba", "-p", "blok=3"), "unknown argument 'blok'"),
        (("--hw", "b20"), "unknown hardware 'b20'"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert _run(monkeypatch, *words, "--out", str(tmp_path / "new")) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert not list(tmp_path.iterdir())


def test_the_command_ranges_over_a_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = "mla gna --hw h100 --seq 1 --kv-len 1k..4k --batch 16 --format md --out"
    assert _run(monkeypatch, *shlex.split(words), str(tmp_path)) == 0
    text = (tmp_path / "compare.md").read_text()
    assert "1 query, 1k to 4k keys" in text
    assert "attnsim report compare mla gna --hw h100 --batch 16 --seq 1 --kv-len 1k..4k --out DIR" in text
    expected = attnsim.predict("mla", "h100", seq=1, kv_len=4096, batch=16)
    assert f"{expected.speedup:.2f}x" in text
    assert "gna is self-attention over one token layout" in text


def test_presets_give_everything_but_the_length(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = "gqa --hw h100 --preset llama-3-8b-decode-8k --format md --out"
    assert _run(monkeypatch, *shlex.split(words), str(tmp_path)) == 0
    text = (tmp_path / "compare.md").read_text()
    assert "32 heads (8 kv), 1 query, 1k to 1M keys" in text
