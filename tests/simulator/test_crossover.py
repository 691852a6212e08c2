"""Crossovers: the lengths found are those that trying every length finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import attnsim
from attnsim.simulator import atlas, crossover, variants
from attnsim.simulator.api import load_hardware
from attnsim.simulator.crossover import Question, boundary, crossings, curve, efficiency, leads, questions
from attnsim.simulator.errors import InputError

CASES: list[tuple[str, str, str, dict[str, Any], tuple[int, int]]] = [
    ("gated-deltanet", "b200", "seq", {"causal": True}, (4400, 4800)),
    ("mamba2", "h100", "seq", {"causal": True}, (1500, 2000)),
    ("linear-attention", "a100", "seq", {}, (900, 1400)),
    ("moba", "b200", "seq", {"causal": True}, (3070, 3084)),
    ("power-attention", "mi300x", "seq", {"causal": True}, (1660, 1674)),
    ("mla", "h100", "kv_len", {"seq": 1, "batch": 16}, (40, 140)),
    ("sliding-window", "h100", "kv_len", {"seq": 1, "batch": 16}, (2000, 2300)),
]


def _question(name: str, chip: str, axis: str, arguments: dict[str, Any]) -> Question:
    return Question(variants.make(name), load_hardware(chip), axis, arguments)


@pytest.mark.parametrize("rung", crossover.RUNGS)
@pytest.mark.parametrize(("name", "chip", "axis", "arguments", "ends"), CASES)
def test_an_efficiency_length_is_what_a_scan_finds(
    name: str, chip: str, axis: str, arguments: dict[str, Any], ends: tuple[int, int], rung: str
) -> None:
    question = _question(name, chip, axis, arguments)
    found = efficiency(curve(question, ends), rung)
    every = np.arange(ends[0], ends[1] + 1)
    won = question.column(f"ladder.{rung}.speedup", every.astype(float)) > 1
    lost = np.flatnonzero(~won)
    assert (found.low, found.high) == ends
    if not won[-1]:
        assert found.length is None
    else:
        assert found.length == (every[lost[-1] + 1] if len(lost) else ends[0])
        assert found.everywhere == (not len(lost))


def test_the_cases_cross() -> None:
    """Otherwise the test above would show little."""
    found = [efficiency(curve(_question(*case[:4]), case[4]), "schedule") for case in CASES]
    assert sum(one.length is not None and not one.everywhere for one in found) >= 4


def test_the_speedup_passes_one_at_the_length_by_predict() -> None:
    question = _question("gated-deltanet", "h100", "seq", {"causal": True})
    length = efficiency(curve(question, [2**k for k in range(10, 17)]), "schedule").length
    assert length is not None
    before, after = (attnsim.predict("gated-deltanet", "h100", seq=n, causal=True) for n in (length - 1, length))
    assert before.speedup <= 1 < after.speedup


def test_a_window_longer_than_the_sequence_is_a_gap() -> None:
    question = Question(variants.make("gna", {"window": 3000}), load_hardware("b200"))
    found = curve(question, [1024, 2048, 4096, 8192])
    assert [s.length for s in found.samples] == [4096, 8192]
    assert [gap.lengths for gap in found.gaps] == [(1024,), (2048,)]
    assert "larger than the shape" in found.gaps[0].why
    assert efficiency(found, "schedule").low == 4096


def test_samples_are_what_predict_says() -> None:
    for one in questions(["moba", "linear-attention"], [load_hardware("h100")], "seq", {"batch": 2, "top": 4}):
        for sample in curve(one, [2048, 5000]).samples:
            p = one.prediction(sample.length)
            assert p.problem.batch == 2
            assert sample.schedule_s == pytest.approx(p.time_s, rel=1e-12)
            assert sample.tiles_s == pytest.approx(p.rung_time("tiles"), rel=1e-12)
            assert sample.speedup == pytest.approx(p.speedup, rel=1e-12)
            assert sample.limited_by == p.limited_by
            assert sample.operand_bytes == p.evaluation.useful.hbm_bytes
            assert sample.cache_bytes == p.evaluation.graph.cache_bytes
            assert (sample.low_s, sample.high_s) == pytest.approx(p.interval_s)


def test_questions_bring_the_baseline_and_split_parameters() -> None:
    found = questions(["sliding-window", "gqa"], [load_hardware("b200")], "seq", {"window": 512, "tile": (64, 64)})
    assert [one.variant.id for one in found] == ["sliding-window", "gqa", "mha"]
    assert found[0].variant.parameters()["window"] == 512
    assert "tile" not in found[-1].arguments
    assert [one.is_baseline for one in found] == [False, False, True]
    with pytest.raises(InputError, match="windw"):
        questions(["sliding-window"], [load_hardware("b200")], "seq", {"windw": 3})


def test_crossings_of_two_curves_are_those_of_a_scan() -> None:
    one, other = (
        curve(_question(name, "b200", "seq", {"causal": True}), [1024, 2048, 4096]) for name in ("mamba2", "moba")
    )
    every = np.arange(1024, 4097, dtype=float)
    a, b = (c.question.column("ladder.schedule.time_s", every) for c in (one, other))
    changes = every[1:][np.diff(np.sign(a - b)) != 0]
    found = crossings(one, other, "schedule")
    assert found
    assert {c.length for c in found} <= set(changes)
    assert {c.faster for c in found} <= {"mamba2", "moba"}


def test_who_leads_is_who_is_fastest() -> None:
    names = ["mha", "sliding-window", "gated-deltanet", "mamba2", "log-linear"]
    curves = [curve(one, [1024, 4096, 16384]) for one in questions(names, [load_hardware("h100")], "seq", {})]
    found = leads(curves, "schedule")
    assert len(found) > 1
    assert [n for n, _ in found] == sorted({n for n, _ in found})
    for length, leader in found:
        tried = np.asarray([float(length)])
        times = {c.question.variant.id: c.question.column("ladder.schedule.time_s", tried)[0] for c in curves}
        assert times[leader.question.variant.id] == min(times.values())


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_a_boundary_is_where_the_last_loss_ends(at_once: int) -> None:
    assert boundary(lambda n: n >= 777, 512, 1024, at_once) == 777
    assert boundary(lambda n: n > 512, 512, 513, at_once) == 513
    jumps = boundary(lambda n: (n >= 700) & (n != 800), 512, 1024, 1000)
    assert jumps == 801


def test_a_workload_sums_its_passes_and_refuses_what_it_is_not_for() -> None:
    training = next(one for one in atlas.WORKLOADS if len(one.directions) == 2)
    decode = next(one for one in atlas.WORKLOADS if one.axis == "kv_len")
    found = atlas.atlas(["mha", "moba", "padre"], [load_hardware("h100")], [training, decode])
    cell = next(c for c in found.of(training) if c.variant.id == "moba")
    forward, backward = (
        attnsim.predict("moba", "h100", direction=d, **training.arguments) for d in ("forward", "backward")
    )
    assert cell.time_s("schedule") == pytest.approx(forward.time_s + backward.time_s)
    assert cell.speedup("schedule") == pytest.approx(
        (forward.baseline_time + backward.baseline_time) / (forward.time_s + backward.time_s)
    )
    assert {(r.variant, r.workload.key) for r in found.refusals} == {("padre", training.key), ("padre", decode.key)}
    with pytest.raises(InputError, match="no causal form"):
        atlas.atlas(["padre"], [load_hardware("h100")], [training])
