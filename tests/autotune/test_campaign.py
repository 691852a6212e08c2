"""Campaigns on devices whose times are known, within budgets that pass in no time."""

from __future__ import annotations

import json
import multiprocessing
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from campaign_device import AMONG, CONFIG_S, SIZES, Fake, as_predicted, reversed_

from attnsim.autotune import campaign, campaign_steps, devices, measurement
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.problems import Named, problems
from attnsim.autotune.rank import predict_config, rank
from attnsim.autotune.space import Space
from attnsim.simulator.errors import InputError
from attnsim.simulator.hardware import Hardware
from attnsim.simulator.tiling import Tile

stats = pytest.importorskip("scipy.stats")


@pytest.fixture(autouse=True)
def _no_microbenchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measured chip is an H100 with half of its memory bandwidth."""

    def write(device: Any, path: Path) -> None:
        path.write_text(
            'format = 1\ninherits = "h100"\n[numbers]\n'
            'hbm_bandwidth_bytes_per_s = { value = 1.6e12, kind = "microbenchmark", source = "a test" }\n'
        )

    monkeypatch.setattr(campaign_steps, "write_profile", write)


def go(device: Fake, out: Path, budget_s: float = 1e9, among: Sequence[Named] = AMONG) -> dict[str, Any]:
    return campaign.run(campaign.plan(device, out, among), budget_s, clock=lambda: device.now_s)


def kept(out: Path) -> list[Measurement]:
    return [m for path in sorted((out / "landscapes").glob("*.json")) for m in measurement.read(path).measurements]


def test_a_campaign_measures_everything_once_and_writes_it_down(tmp_path: Path) -> None:
    device = Fake()
    found = go(device, tmp_path)
    spaces = {one.name: Space.of(one.task("h100")) for one in AMONG}
    assert found["stopped"] == "done"
    assert found["measured"] == found["configs"] == sum(map(len, spaces.values())) == len(device.calls)
    assert len(set(device.calls)) == len(device.calls)
    for one in AMONG:
        path = tmp_path / "landscapes" / f"{one.name}.json"
        recording = measurement.read(path)
        assert {m.config for m in recording.measurements} == set(spaces[one.name].configs)
        about = recording.provenance
        assert (about["problem"], about["complete"], about["hardware"]) == (one.name, True, "h100")
        for name in ("device", "device_name", "profile_hash", "attnsim", "torch", "triton", "date", "command"):
            assert about[name], name
        served = devices.open_device(f"replay:{path}")
        assert set(served.space(one.task("h100")).configs) == set(spaces[one.name].configs)
    assert json.loads((tmp_path / "summary.json").read_text()) == json.loads(json.dumps(found))
    assert Hardware.load(str(tmp_path / "profile.toml")).hbm_bandwidth_bytes_per_s == 1.6e12


def test_the_most_valuable_first(tmp_path: Path) -> None:
    """Every kernel's answer, then the model's favourites and some others, then the rest."""
    device = Fake()
    told: list[str] = []
    made = campaign.plan(device, tmp_path, AMONG)
    campaign.run(made, 1e9, lambda what, done, total: told.append(what), clock=lambda: device.now_s)
    spaces = [Space.of(one.task("h100")) for one in AMONG]
    assert [config for _, config in device.calls[:3]] == [space.default for space in spaces]
    assert told[:4] == [*(f"correctness: {one.name}" for one in AMONG), "measuring the chip"]
    task = AMONG[0].task("h100")
    order = [one.config for one in rank(task, spaces[0].configs)]
    sampled = [config for key, config in device.calls[3 : 3 + told.count("sample: dense")] if key == task.key]
    sample = {spaces[0].default, *sampled}
    assert set(order[: campaign.FIRST_TRIED]) <= sample
    assert any(config in sample for config in order[len(order) // 2 :]), "a landscape is not its peak alone"
    assert len(sample) <= campaign.FIRST_TRIED + campaign.SPREAD + 1


def test_the_budget_is_kept_and_the_next_call_goes_on(tmp_path: Path) -> None:
    tried: list[tuple[str, Tile]] = []
    total = sum(len(Space.of(one.task("h100"))) for one in AMONG)
    while len(tried) < total:
        device = Fake()
        found = go(device, tmp_path, budget_s=9.5 * CONFIG_S)
        assert device.now_s <= 9.5 * CONFIG_S
        assert device.calls, "every call gets somewhere"
        tried += device.calls
        assert found["measured"] == len(tried) == len(kept(tmp_path))
        assert found["stopped"] == ("done" if len(tried) == total else "budget")
    assert len(set(tried)) == total
    assert go(idle := Fake(), tmp_path)["measured"] == total
    assert idle.calls == []
    calls = json.loads((tmp_path / "campaign.json").read_text())["calls"]
    assert measurement.read(tmp_path / "landscapes" / "dense.json").provenance["begun"] == calls[0]["date"]


def test_a_slow_config_exceeds_the_budget_alone(tmp_path: Path) -> None:
    device = Fake(slow_at=3)
    go(device, tmp_path, budget_s=50)
    assert len(device.calls) == 3


def test_the_chip_is_not_measured_without_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(campaign.PROFILE_S, "fake", 1000.0)
    found = go(Fake(), tmp_path, budget_s=100)
    assert (found["profile"], found["profile_error"]) == (None, "no time was left")
    assert list(found["means"]) == [campaign.SHIPPED]
    assert go(Fake(), tmp_path, budget_s=2000)["profile"] == "profile.toml"


def test_what_fails_in_measuring_the_chip_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: Any, path: Path) -> None:
        raise RuntimeError("no such\ncounter")

    monkeypatch.setattr(campaign_steps, "write_profile", fail)
    found = go(Fake(), tmp_path)
    assert (found["stopped"], found["profile_error"]) == ("done", "no such counter")


def killed(out: str, at: int) -> None:
    """In a process of its own."""
    go(Fake(kill_at=at), Path(out), among=AMONG[:2])


def test_killed_again_and_again_nothing_is_lost_or_repeated(tmp_path: Path) -> None:
    before = 0
    for at in (1, 4, 9):
        process = multiprocessing.get_context("spawn").Process(target=killed, args=(str(tmp_path), at))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        found = kept(tmp_path)
        assert len(found) == before + at - 1
        before = len(found)
    device = Fake()
    assert go(device, tmp_path, among=AMONG[:2])["stopped"] == "done"
    pairs = [(m.task.key, m.config) for m in kept(tmp_path)]
    assert len(pairs) == len(set(pairs)) == before + len(device.calls)


def test_failures_are_kept_and_do_not_stop_it(tmp_path: Path) -> None:
    device = Fake(fails={1: "wrong answer", 2: "timeout"}, raises={5: ValueError("a bug\nof the device")})
    found = go(device, tmp_path)
    assert found["stopped"] == "done"
    rows = {row["problem"]: row for row in found["problems"]}
    assert rows["dense"]["default"] == {"outcome": "wrong answer", "reason": "it was to fail", "measured_s": None}
    assert rows["causal"]["default"]["outcome"] == "timeout"
    assert rows["decode"]["default"]["outcome"] == "ok"
    reasons = [m.reason for m in kept(tmp_path) if m.outcome == "invalid"]
    assert reasons == ["the device failed: ValueError: a bug of the device"]
    assert sum(row["outcomes"].get("ok", 0) for row in rows.values()) == found["configs"] - 3
    assert go(again := Fake(), tmp_path)["measured"] == found["configs"]
    assert again.calls == [], "what failed is not tried again"


def test_an_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    device = Fake(raises={4: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        go(device, tmp_path)
    assert len(kept(tmp_path)) == 3


def test_predictions_are_judged(tmp_path: Path) -> None:
    found = go(Fake(as_predicted), tmp_path / "right")
    for row in found["problems"]:
        judged = row["predictions"][campaign.SHIPPED]
        assert judged["first1"] == judged["first4"] == 1
        assert judged["kendall"] > 0.9, "but for ties"
        assert judged["error"] == pytest.approx(-0.5)
        assert judged["predicted_s"] == pytest.approx(row["best"]["measured_s"] / 2)
    assert found["means"][campaign.SHIPPED]["first1"] == 1
    assert found["means"][campaign.SHIPPED]["median_error"] == pytest.approx(0.5)
    decode = next(row for row in found["problems"] if row["problem"] == "decode")["predictions"]
    assert decode[campaign.MEASURED]["predicted_s"] > decode[campaign.SHIPPED]["predicted_s"], "half of the bandwidth"

    found = go(Fake(reversed_), tmp_path / "wrong")
    for row in found["problems"]:
        judged = row["predictions"][campaign.SHIPPED]
        measured = [m for m in kept(tmp_path / "wrong") if str(m.task) == row["task"]]
        predicted = [predict_config(m.task, m.config).predicted_s for m in measured]
        times = [m.median_s or 0 for m in measured]
        assert judged["first1"] == pytest.approx(
            min(times) / times[predicted.index(min(predicted, key=lambda p: p or 0))]
        )
        assert judged["first1"] < 1
        assert judged["kendall"] < -0.9
        assert stats.kendalltau(predicted, times).statistic == pytest.approx(-1)


def test_another_device_or_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go(Fake(), tmp_path, budget_s=CONFIG_S)
    with pytest.raises(InputError, match="was measured with device fake, this is other; take another folder"):
        go(Fake(name="other"), tmp_path)
    monkeypatch.setattr(campaign_steps, "__version__", "9")
    with pytest.raises(InputError, match="was measured with attnsim"):
        go(Fake(), tmp_path)


def test_files_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "campaign.json").write_text("[]")
    with pytest.raises(InputError, match="is no campaign; take another folder"):
        go(Fake(), tmp_path)
    go(Fake(), tmp_path / "a", budget_s=CONFIG_S)
    other = (Named("dense", "dense", "mha", SIZES | {"seq": 1024}),)
    with pytest.raises(InputError, match="holds another problem"):
        go(Fake(), tmp_path / "a", among=other)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        go(Fake(), tmp_path / "file" / "below")


def test_problems_without_a_kernel_are_told(tmp_path: Path) -> None:
    wide = Named("wide", "dense", "mha", SIZES | {"head_dim": 1024})
    found = go(Fake(), tmp_path, among=(*AMONG[:1], wide))
    assert list(found["untunable"]) == ["wide"]
    assert "no kernel here runs mha" in found["untunable"]["wide"]
    with pytest.raises(InputError, match="no problem can be measured"):
        go(Fake(), tmp_path, among=(wide,))


@pytest.mark.parametrize("chip", ["h100", "b200", "mi300x"])
def test_the_fixed_list_is_planned(chip: str, tmp_path: Path) -> None:
    made = campaign.plan(Fake(hardware=chip), tmp_path)
    assert [one.problem for one in made.landscapes] == list(problems())
    for one in made.landscapes:
        assert 1 == one.ends[0] <= one.ends[1] <= one.ends[2] == len(one.configs)
        assert len(set(one.configs)) == len(one.configs)


def test_estimates_follow_what_was_measured(tmp_path: Path) -> None:
    made = campaign.plan(device := Fake(), tmp_path, AMONG)
    total = sum(len(one.configs) for one in made.landscapes)
    assert [(what, configs) for what, configs, _ in campaign.estimates(made)][:2] == [
        ("correctness", 3), ("measuring the chip", 0),
    ]  # fmt: skip
    go(device, tmp_path, budget_s=5 * CONFIG_S)
    rows = campaign.estimates(made)
    assert rows[0] == ("correctness", 0, 0.0)
    assert sum(configs for _, configs, _ in rows) == total - 5
    assert sum(seconds for _, _, seconds in rows) == pytest.approx((total - 5) * CONFIG_S)
