"""Validation on a device: what is compared, in which order, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from click.testing import CliRunner

from attnsim.autotune import validate_device as validation
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.rank import predict_config
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.autotune.validate_device import Case, validate_device
from attnsim.commands import _validate_device as rendering
from attnsim.commands.validate import command
from attnsim.simulator.errors import InputError
from attnsim.simulator.tiling import Tile

SIZES = {"heads": 2, "head_dim": 64, "dtype": "fp32"}
WINDOW = Case("sliding-window", SIZES | {"seq": 1024}, {"window": 129})
PLANE = Case("gna", SIZES | {"shape": (32, 32)}, {"window": (8, 8)})


@dataclass
class Model:
    """A device that takes as long as the model says, masks `slower` times as long, and each call a bit longer."""

    name: str = "cpu"
    hardware: str = "cpu"
    timed: bool = True
    slower: float = 1.0
    drift_s: float = 0.0
    fails: str = ""
    asked: list[str] = field(default_factory=list)

    def space(self, task: Task) -> Space:
        return Space.of(task)

    def measure(self, task: Task, config: Tile, time_limit_s: float) -> Measurement:
        self.asked.append(task.variant)
        if task.variant == self.fails:
            return Measurement(task, config, "wrong answer", reason="off by one")
        predicted = predict_config(task, config).predicted_s or 0.0
        seconds = predicted * (1.0 if task.variant == "mha" else self.slower) + self.drift_s * len(self.asked)
        return Measurement(task, config, "ok", (seconds, seconds * 1.5, seconds * 2))

    def finalists(self, task: Task, configs: Sequence[Tile]) -> list[Measurement]:
        raise AssertionError("not used")


def test_a_device_as_fast_as_the_model_has_no_error() -> None:
    for one in validate_device(Model(), [WINDOW, PLANE]):
        assert one.error_percent == pytest.approx(0, abs=1e-9)
        assert one.within is True
        assert one.predicted_s == pytest.approx(one.measured_s)
        assert one.dense_predicted_s == pytest.approx(one.dense_measured_s)
        assert (one.predicted_speedup or 0) > 1.2


@pytest.mark.parametrize(("name", "slower", "within"), [("cpu", 1.24, True), ("cpu", 1.4, False)])
def test_errors_are_those_of_the_speedup(name: str, slower: float, within: bool) -> None:
    (one,) = validate_device(Model(name, slower=slower), [WINDOW])
    assert one.error_percent == pytest.approx((slower - 1) * 100)
    assert one.within is within


def test_gpus_are_held_to_a_narrower_limit() -> None:
    case = Case("sliding-window", {"heads": 8, "seq": 8192, "causal": True}, {"window": 512})
    (one,) = validate_device(Model("cuda", "h100", slower=1.2), [case])
    assert one.error_percent == pytest.approx(20)
    assert one.within is False
    assert (one.implementation or "").startswith("triton")
    assert one.config is not None
    assert one.config["warps"] in (4, 8, 16)


def test_dense_attention_is_in_the_rotation_and_comes_last() -> None:
    device, said = Model(drift_s=1e-3), list[str]()
    first, _ = validate_device(device, [WINDOW, PLANE], rounds=2, progress=said.append)
    # Both cases replace the same dense attention, which is timed once a round.
    assert device.asked == ["mha", "sliding-window", "gna"] * 2 + ["mha"]
    assert len(said) == 7
    assert first.drift_percent is not None
    assert first.drift_percent > 0


def test_the_layout_of_tokens_does_not_change_what_is_replaced() -> None:
    assert PLANE.dense() == Case("mha", SIZES | {"seq": 1024})
    assert Case("sliding-window", SIZES | {"seq": 64, "causal": True}).dense().sizes == SIZES | {"seq": 64}


def test_what_cannot_be_measured_is_listed_with_the_reason() -> None:
    impossible = Case("gna", SIZES | {"shape": (8, 8)}, {"window": (9, 9)})
    failed, refused, fine = validate_device(Model(fails="gna"), [PLANE, impossible, WINDOW])
    assert failed.reason == "wrong answer: off by one"
    assert (failed.measured_speedup, failed.within) == (None, None)
    assert "window" in refused.reason
    assert fine.within is True


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_fixed_list_has_windows_and_neighbourhoods_of_every_kind(device: str) -> None:
    listed = validation.cases(device)
    assert len(listed) >= 8
    assert {len(case.sizes.get("shape", ())) for case in listed} == {0, 2, 3}
    hardware, kernel = ("cpu", "flex-cpu") if device == "cpu" else ("h100", None)
    speedups = []
    for case in listed:
        task, dense = case.task(hardware, kernel), case.dense().task(hardware, kernel)
        assert task.problem.queries == dense.problem.queries
        speedups.append(float(dense.part.pairs / task.part.pairs))
    assert min(speedups) < 6
    assert max(speedups) > 7


def test_devices_without_times_are_refused() -> None:
    with pytest.raises(InputError, match="gives no times"):
        validate_device(Model(timed=False), [WINDOW])


def validate(*options: str) -> Any:
    return CliRunner().invoke(command, options)


def test_the_command_prints_a_table_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "open_device", lambda name: Model(slower=1.3))
    monkeypatch.setattr(validation, "cases", lambda device: (WINDOW, PLANE))
    shown = validate("--device", "cpu").stdout
    assert "attnsim hw calibrate cpu --save" in shown.splitlines()[0]
    assert "Within 25 %: 0 of 2" in shown
    assert "sliding-window window=129" in shown
    assert "+30.0 %" in shown
    records = json.loads(validate("--device", "cpu", "--format", "json").stdout)
    assert [one["variant"] for one in records] == ["sliding-window", "gna"]
    assert records[1]["parameters"] == {"window": [8, 8]}
    assert records[1]["problem"]["shape"] == [32, 32]
    for name in ("predicted_s", "measured_s", "predicted_speedup", "measured_speedup", "error_percent"):
        assert records[0][name] > 0
    assert records[0]["within"] is False


def test_the_first_line_names_the_calibrated_profile() -> None:
    said = rendering.first_line(Model(hardware="/home/me/cpu.toml"))
    assert "/home/me/cpu.toml" in said
    assert "calibrate cpu" not in said


def test_the_command_refuses_what_does_not_go_together() -> None:
    for options in (("--device", "cpu", "--chip", "h100"), ("--device", "gpu"), ("--device", "cpu:1")):
        done = validate(*options)
        assert isinstance(done.exception, InputError), options


def test_a_case_is_measured_here() -> None:
    case = Case("gna", {"heads": 1, "head_dim": 32, "dtype": "fp32", "shape": (16, 16)}, {"window": (4, 4)})
    (one,) = validate_device("cpu", [case], rounds=1)
    assert one.reason == ""
    assert (one.measured_s or 0) > 0
    assert (one.measured_speedup or 0) > 0
