"""A recording as a device: what was measured comes back, with what it cost, and nothing else does."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from attnsim.autotune.archives import t4
from attnsim.autotune.devices import names, open_device
from attnsim.autotune.devices.replay import Replay
from attnsim.autotune.measurement import Measurement, Recording, write
from attnsim.autotune.rank import rank
from attnsim.autotune.task import Task
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError

CONFIGS = [Config((m,), (n,), warps=4, stages=s) for m, n, s in itertools.product((64, 128), (32, 64), (2, 3))]


def task(chip: str = "h100") -> Task:
    return Task.make("mha", chip, "triton-flash", seq=4096, causal=True)


def recording() -> Recording:
    """A time for each config, failures, and a second round of the fastest two."""
    found = [
        Measurement(task(), config, "ok", (1e-3 + 1e-5 * place,) * 3, compile_s=1.5, measure_s=0.5)
        for place, config in enumerate(CONFIGS)
    ]
    found.append(Measurement(task(), Config((128,), (256,)), "out of resources", reason="so it was", compile_s=2.0))
    found += [Measurement(task(), config, "ok", (2e-3,)) for config in CONFIGS[:2]]
    return Recording({"device": "a test"}, tuple(found))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recording.json"
    write(path, recording().provenance, recording().measurements)
    return path


def test_what_was_recorded_comes_back(file: Path) -> None:
    assert "replay" in names()
    device = open_device(f"replay:{file}")
    assert device.name == f"replay:{file}"
    assert device.timed
    assert device.hardware == "h100"
    space = device.space(task())
    assert space.configs == (*CONFIGS, Config((128,), (256,)))
    assert space.default == CONFIGS[0]
    for place, config in enumerate(CONFIGS):
        one = device.measure(task(), config, 1.0)
        assert one.seconds == (1e-3 + 1e-5 * place,) * 3
        assert one.cost_s == 2.0
    failed = device.measure(task(), Config((128,), (256,)), 1.0)
    assert (failed.outcome, failed.reason, failed.cost_s) == ("out of resources", "so it was", 2.0)


def test_what_was_not_recorded_is_invalid(file: Path) -> None:
    found = open_device(f"replay:{file}").measure(task(), Config((32,), (32,)), 1.0)
    assert (found.outcome, found.cost_s) == ("invalid", 0.0)
    assert found.reason == "it was not recorded"


def test_finalists_are_the_last_round(file: Path) -> None:
    found = open_device(f"replay:{file}").finalists(task(), [*CONFIGS[:3], Config((32,), (32,))])
    assert [m.config for m in found] == CONFIGS[:3]
    assert [m.median_s for m in found] == [2e-3, 2e-3, pytest.approx(1.02e-3)]


def test_the_task_may_be_asked_for_in_other_words(file: Path) -> None:
    device = open_device(f"replay:{file}")
    same = Task.make("mha", "h100-sxm", "triton-flash", shape=(4096,), heads=32, causal=True, head_dim=128)
    assert len(device.space(same)) == len(CONFIGS) + 1
    with pytest.raises(InputError, match=r"has no measurement of mha 4096, .* on a100 by triton-flash; it has mha"):
        device.space(task("a100"))


def test_recorded_configs_that_the_kernel_refuses_come_last_in_the_order(file: Path) -> None:
    ranked = rank(task(), open_device(f"replay:{file}").space(task()).configs)
    assert ranked[-1].config == Config((128,), (256,))
    assert ranked[-1].predicted_s is None
    assert all(one.predicted_s for one in ranked[:-1])


def test_files_of_other_tools_that_state_their_task(tmp_path: Path) -> None:
    path = tmp_path / "t4.json"
    path.write_text(t4.dump(recording()))
    assert open_device(f"replay:{path}").space(task()).configs == (*CONFIGS, Config((128,), (256,)))


def test_a_recording_without_times_is_not_timed() -> None:
    compiled = Measurement(task(), CONFIGS[0], "compiled", registers=128)
    assert not Replay("replay:x", Recording({}, (compiled,))).timed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read '.*': no such file"), ("{", "is no recording"), ("hello", "is no recording, no Torch"),
        (json.dumps({"format": 1, "provenance": {}, "measurements": []}), "holds no measurements"),
        ("AUTOTUNE flex_attention(1x1x16x16, 1x1x16x16, 1x1x16x16)", "does not say which chip"),
    ],
    ids=["missing", "broken", "text", "empty", "log"],
)  # fmt: skip
def test_files_that_cannot_be_replayed_are_said(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "given"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        open_device(f"replay:{path}")
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="replay needs a file"):
        open_device("replay")
