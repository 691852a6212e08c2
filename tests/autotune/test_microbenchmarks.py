"""Profiles of measured GPUs: of faked measurements, and of a run on a GPU that is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")

import torch
from fake_gpu import FakeGpu, FakeTimer

from attnsim.autotune import microbenchmarks
from attnsim.autotune.gpu import Call
from attnsim.autotune.microbenchmarks import Found
from attnsim.autotune.timing import Timer
from attnsim.kernels import microbench
from attnsim.simulator import api
from attnsim.simulator.errors import InputError
from attnsim.simulator.hardware import Hardware

CHIP = Hardware.load("h100")
DEVICE = {"device": 'NVIDIA "H100"', "torch": "2.13.0", "triton": "3.9.0", "cuda": "13.0", "driver": "580.1",
          "date": "2026-01-02T03:04:05Z"}  # fmt: skip
FOUND = Found(
    device=DEVICE, units=132, matrix_flop_per_s={"bf16": 780e12, "fp16": 770e12, "tf32": 390e12, "fp8": 1450e12},
    exp_per_s=3.6e12, copy_bytes_per_s=2.9e12, read_bytes_per_s=3.1e12, l2_bytes_per_s=7.5e12, launch_s=2.1e-6,
    clock_hz={"matrix": 1.56e9, "exp": 1.9e9},
)  # fmt: skip
FLOORS = ("clock_max_hz", "vector_flop_per_clock_per_sm", "exp_per_clock_per_sm", "hbm_bandwidth_bytes_per_s",
          "l2_bandwidth_bytes_per_s", "matrix_bf16_flop_per_clock_per_sm", "matrix_fp8_flop_per_clock_per_sm",
          "matrix_tf32_flop_per_clock_per_sm", "sm_count")  # fmt: skip


def loaded(found: Found, folder: Path) -> Hardware:
    path = folder / "mine.toml"
    path.write_text(microbenchmarks.toml(found, CHIP))
    return Hardware.load(str(path))


def test_the_profile_loads_inherits_and_cites(tmp_path: Path) -> None:
    made = loaded(FOUND, tmp_path)
    assert (made.name, made.target, made.smem_bytes_per_block) == ("h100", "sm_90", CHIP.smem_bytes_per_block)
    assert made.title == f"{CHIP.title}, measured"
    expected = {
        "clock_sustained_hz": 1.56e9, "hbm_efficiency": 3.1e12 / 3.35e12, "l2_achieved_bytes_per_s": 7.5e12,
        "launch_latency_s": 2.1e-6,
    }  # fmt: skip
    for name, value in expected.items():
        assert getattr(made, name) == pytest.approx(value, rel=1e-5)
        kind, source = made.note(name)
        assert kind == "microbenchmark"
        assert source.startswith("[MEASURED] ")
    assert made.note("smem_bytes_per_sm") == CHIP.note("smem_bytes_per_sm")
    cited = made.sources["MEASURED"]
    for words in ("2026-01-02", "NVIDIA 'H100'", "driver 580.1", "torch 2.13.0", "triton 3.9.0", "bf16 780.0"):
        assert words in cited


def test_no_achieved_rate_lowers_a_floor(tmp_path: Path) -> None:
    made = loaded(FOUND, tmp_path)
    for name in FLOORS:
        assert getattr(made, name) == getattr(CHIP, name), name
    for variant, sizes in (("mha", {"seq": 4096}), ("gqa", {"seq": 1, "kv_len": 65536, "kv_heads": 2})):
        before, after = (api.predict(variant, hardware=one, heads=8, **sizes) for one in (CHIP, made))
        for rung in ("roofline", "tiles"):
            assert after.rung_time(rung) == before.rung_time(rung)
        assert after.time_s != before.time_s


@pytest.mark.parametrize(
    ("changed", "name", "value"),
    [
        ({"read_bytes_per_s": 3.4e12}, "hbm_bandwidth_bytes_per_s", 3.4e12),
        ({"l2_bytes_per_s": 18e12}, "l2_bandwidth_bytes_per_s", 18e12),
        ({"clock_hz": {"matrix": 2.1e9, "exp": None}}, "clock_max_hz", 2.1e9),
        ({"exp_per_s": 132 * 1.9e9 * 17}, "exp_per_clock_per_sm", 17),
        ({"matrix_flop_per_s": {"bf16": 132 * 1.56e9 * 4100}}, "matrix_bf16_flop_per_clock_per_sm", 4100),
        ({"units": 114}, "sm_count", 114),
    ],
)  # fmt: skip
def test_what_was_seen_to_be_more_raises_the_floor(
    changed: dict[str, Any], name: str, value: float, tmp_path: Path
) -> None:
    made = loaded(replace(FOUND, **changed), tmp_path)
    assert getattr(made, name) == pytest.approx(value, rel=1e-5)
    assert made.hbm_efficiency is not None
    assert made.hbm_efficiency <= 1


def test_what_is_not_known_is_not_written(tmp_path: Path) -> None:
    text = microbenchmarks.toml(Found(DEVICE, 132), CHIP)
    assert "value" not in text
    made = loaded(Found(DEVICE, 132), tmp_path)
    assert all(getattr(made, name) == getattr(CHIP, name) for name in FLOORS)
    # Without the driver's clock, the one that the achieved rate stands for; rates by the clock are unknown then.
    unclocked = loaded(replace(FOUND, clock_hz={"matrix": None, "exp": None}, exp_per_s=9e12), tmp_path)
    assert unclocked.clock_sustained_hz == pytest.approx(780e12 / (132 * 4096), rel=1e-5)
    assert unclocked.exp_per_clock_per_sm == CHIP.exp_per_clock_per_sm


def test_the_exp_kernel_exponentiates() -> None:
    launch, amount = microbench.exp_launch(3, 17, "cpu")
    launch.run()
    x = 1 / (1 + np.arange(3 * microbench.BLOCK, dtype=np.float64))
    for _ in range(17):
        x = 2**-x
    np.testing.assert_allclose(launch.arguments["o"].numpy(), x, rtol=1e-5)
    assert amount == 3 * 17 * microbench.BLOCK


def test_the_read_kernel_reads_all_blocks_in_turn() -> None:
    """Every program reads 4 of 6 blocks, 2 apart from those of the other."""
    block = microbench.BLOCK
    x = torch.arange(6, dtype=torch.float32).repeat_interleave(block)
    launch, amount = microbench.read_launch(x, programs=2, each=4)
    launch.run()
    sums = launch.arguments["o"].view(2, block)
    assert sums[0].unique().tolist() == [0 + 2 + 4 + 0]
    assert sums[1].unique().tolist() == [1 + 3 + 5 + 1]
    assert amount == 4 * 4 * 2 * block


class Measured(FakeGpu):
    """Calls are made, and take as long as their order says."""

    calls = 0

    def timer(self, call: Call, sets: int) -> tuple[Timer, str]:
        call(0)
        type(self).calls += 1
        return FakeTimer(1e-3 * type(self).calls, breaks=False), "fake"

    def units(self) -> int:
        return 2

    def nothing(self, n: int) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def conditions(self) -> dict[str, Any]:
        return DEVICE | {"clock_sm_hz": 1.7e9}


def test_a_run_from_end_to_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in (("SIDE", 32), ("COPIED_BYTES", 2**16), ("EXP_ROUNDS", 2), ("READ_BLOCKS", 2), ("LOAD_S", 0.01)):
        monkeypatch.setattr(microbenchmarks, name, value)
    found = microbenchmarks.measure(Measured)
    assert {"bf16", "fp16", "tf32"} <= found.matrix_flop_per_s.keys() <= {"bf16", "fp16", "tf32", "fp8"}
    assert found.matrix_flop_per_s["bf16"] == pytest.approx(2 * 32**3 / 1e-3)
    assert found.matrix_flop_per_s["tf32"] == pytest.approx(2 * 32**3 / 3e-3)
    assert found.exp_per_s == pytest.approx(2 * 16 * 1024 * 2 / 1e-3 / (1 + len(found.matrix_flop_per_s)))
    assert found.clock_hz == {"matrix": 1.7e9, "exp": 1.7e9}
    assert found.copy_bytes_per_s is not None
    assert found.read_bytes_per_s is not None
    assert found.copy_bytes_per_s > found.read_bytes_per_s > 0
    assert found.launch_s
    assert loaded(found, tmp_path).sm_count == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("device", "words"), [("cuda", "no GPU here"), ("cuda:x", "no GPU"), ("tpu", "'tpu' is no GPU")]
)
def test_without_a_gpu(device: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        microbenchmarks.profile(device)
