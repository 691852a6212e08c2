"""attnsim report ladder: rungs are those of the predictions, reasons say what moved, labels stay apart."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import attnsim
from attnsim.reports.kinds.ladder import document
from attnsim.reports.ladder import Ladder, ladder, without_promise
from attnsim.reports.pictures import style
from attnsim.reports.pictures.ladder import REASON_LINES, draw
from attnsim.reports.words import seconds, times
from attnsim.reports.writers import write
from attnsim.simulator.variants import names

CHIPS = ("b200", "h100", "mi300x", "tpu-v5p", "snapdragon-8-gen3")
WORKLOADS: dict[str, dict[str, Any]] = {
    "prefill": {}, "decode": {"seq": 1, "kv_len": 32768, "batch": 16}, "backward": {"direction": "backward"},
    "long": {"seq": 2**20},
}  # fmt: skip


def _ladders(variants: Any, chip: str, **arguments: Any) -> list[Ladder]:
    found = [ladder(p) for p in attnsim.predict(list(variants), [chip], left_out=[], **arguments)]
    return [one for one in found if isinstance(one, Ladder)]


def _every(chip: str, **arguments: Any) -> list[Ladder]:
    return _ladders([name for name in names() if name != "block-mask"], chip, **arguments)


def test_rungs_are_those_of_the_prediction() -> None:
    p = attnsim.predict("moba", "b200", measured=1e-3)
    one = ladder(p)
    assert isinstance(one, Ladder)
    assert [step.rung for step in one.steps] == ["flops", "roofline", "tiles", "schedule", "measured"]
    d = p.to_dict()["ladder"]
    assert [(step.time_s, step.speedup) for step in one.steps] == [
        (d[step.rung]["time_s"], d[step.rung]["speedup"]) for step in one.steps
    ]
    assert one.kept == pytest.approx(d["measured"]["speedup"] / d["flops"]["speedup"])


def test_ladders_that_promise_nothing_say_where_they_end() -> None:
    decode = _ladders(["mla", "gqa"], "h100", **WORKLOADS["decode"])
    assert all(one.kept is None for one in decode)
    ends = [times(one.steps[-1].speedup) for one in decode]
    assert without_promise(decode) == f"FLOPs promise no speedup, mla reaches {ends[0]}, gqa {ends[1]}"
    (own,) = _ladders(["mha"], "b200")
    assert without_promise([own, own]) == f"mha takes {seconds(own.steps[-1].time_s)}"


def test_a_measured_time_below_a_floor_is_doubted() -> None:
    tiles = attnsim.predict("moba", "b200").rung_time("tiles")
    roofline = attnsim.predict("moba", "b200").rung_time("roofline")
    assert tiles is not None
    assert roofline is not None
    assert roofline < tiles
    said = {}
    for time in (roofline / 2, (roofline + tiles) / 2, tiles * 2):
        one = ladder(attnsim.predict("moba", "b200", measured=time))
        assert isinstance(one, Ladder)
        said[time] = one.steps[-1].why
    impossible, other, plain = said.values()
    assert impossible.endswith("below the floor of flops and roofline and tiles: that cannot be")
    assert other.endswith("below the floor of tiles: another tiling than assumed, or skipped work")
    assert "floor" not in plain


def test_reasons_name_what_moved() -> None:
    exps = ladder(attnsim.predict("mha", "b200", overrides={"exp_per_clock_per_sm": 4}))
    assert isinstance(exps, Ladder)
    assert "the exponentials at peak takes" in exps.steps[1].why
    traffic = _ladders(["linear-attention"], "b200")[0]
    assert traffic.steps[1].why.startswith("4.62x the time: HBM traffic")
    p = traffic.prediction
    largest = max(p.terms, key=lambda t: t.time_s)
    assert f"{largest.name} +" in traffic.steps[3].why
    padded = _ladders(["sliding-window"], "b200")[0].steps[2].why
    assert "the useful FLOPs" in padded
    assert "are partial" in padded
    assert "the time of mha grows" in traffic.steps[3].why


@pytest.mark.parametrize("chip", CHIPS)
def test_no_rung_says_that_nothing_moved_where_something_did(chip: str) -> None:
    for one in _every(chip):
        for before, step in itertools.pairwise(one.steps):
            assert step.why.startswith("no step") == (step.time_s <= before.time_s * 1.005)


def test_the_baseline_itself_is_told_in_times() -> None:
    one = _ladders(["mha"], "b200")[0]
    assert not one.relative
    assert one.kept is None
    assert one.finding.endswith("us predicted")


def test_missing_rungs_are_said() -> None:
    text = write(document(attnsim.predict(["mha"], ["snapdragon-8-gen3"])), ["md"])["ladder.md"].decode()
    assert "### Rungs that are missing\n\n- **mha**: no schedule:" in text


@pytest.mark.parametrize(
    ("chip", "workload"), [*(("b200", workload) for workload in WORKLOADS), ("tpu-v5p", "long"), (CHIPS[-1], "decode")]
)
def test_labels_do_not_overlap(chip: str, workload: str) -> None:
    ladders = _every(chip, **WORKLOADS[workload])
    assert ladders
    with style():
        for shown in (ladders[:1], *(ladders[i : i + 4] for i in range(0, len(ladders), 4))):
            figure = draw(shown)
            figure.canvas.draw()
            texts = [t for t in figure.texts if t.get_text()]
            for axes in figure.axes:
                texts += [t for t in axes.texts if t.get_text()]
                low, high = axes.get_xlim()
                texts += [t.label1 for t in axes.xaxis.get_major_ticks() if low <= t.get_loc() <= high]
                texts += [axes.xaxis.label, *axes.get_yticklabels()]
            boxes = [(t.get_text(), t.get_window_extent()) for t in texts]
            over = [(a[0], b[0]) for a, b in itertools.combinations(boxes, 2) if a[1].overlaps(b[1])]
            assert not over
            page = figure.bbox
            assert not [s for s, b in boxes if b.x0 < 0 or b.x1 > page.x1 or b.y0 < 0 or b.y1 > page.y1]
            assert all(t.get_text().count("\n") < REASON_LINES for t in figure.texts if t.get_gid() == "reason")


def test_many_ladders_make_several_pictures() -> None:
    made = document(attnsim.predict(["mha", "gqa", "mqa", "moba", "padre"], ["b200"]), "x")
    files = write(made, ["md"])
    assert set(files) == {"ladder.md", "ladder-b200-1.svg", "ladder-b200-2.svg"}
    assert files == write(document(attnsim.predict(["mha", "gqa", "mqa", "moba", "padre"], ["b200"]), "x"), ["md"])


def test_claims_stand_beside_predictions() -> None:
    text = write(document([attnsim.predict("moba", "b200")]), ["md"])["ladder.md"].decode()
    assert "claim (claimed)" in text
    assert "A claim holds for its own configuration" in text
