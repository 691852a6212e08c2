"""The host's profile: it inherits, cites, gives back what was measured, and its floors lie above it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from attnsim.autotune import host, profiles
from attnsim.autotune.host import Rate
from attnsim.commands.hw import command
from attnsim.simulator.hardware import Hardware

MEASURED = {
    "all": Rate(180e9, "products"), "fp32": Rate(100e9, "one core"), "bf16": Rate(400e9, "one core, bf16"),
    "vector": Rate(20e9, "passes"), "exp": Rate(3e9, "exponentials"), "cache": Rate(150e9, "copies in cache"),
    "memory": Rate(40e9, "copies"), "launch": Rate(1e5, "few elements"),
}  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Microbenchmarks of nothing."""
    for name, value in (("SIDE", 16), ("ELEMENTS", 2**10), ("IN_CACHE", 2**8), ("REPEATS", 2)):
        monkeypatch.setattr(host, name, value)


def load(tmp_path: Path, measured: dict[str, Rate], units: int) -> Hardware:
    """What a profile with these rates says."""
    lines = [f'{n} = {{ value = {v!r}, kind = "{kind}", source = "{how}" }}'
             for n, (v, kind, how) in host.numbers(measured, units).items()]  # fmt: skip
    path = tmp_path / "made.toml"
    path.write_text('format = 1\ninherits = "cpu"\n[numbers]\n' + "\n".join(lines))
    return Hardware.load(str(path))


def test_rates_come_back_as_measured(tmp_path: Path) -> None:
    chip = load(tmp_path, MEASURED, 2)
    clock = chip.clock_sustained_hz
    assert clock is not None
    assert chip.matrix_flop_per_s("fp32", clock) == pytest.approx(180e9)
    # Per core, the other rates stand to fp32 products as they do on one core.
    slower = 180 / 200
    assert chip.matrix_flop_per_s("bf16", clock) == pytest.approx(2 * 400e9 * slower)
    assert chip.exp_per_s(clock) == pytest.approx(2 * 3e9 * slower)
    assert chip.vector_flop_per_s(clock) == pytest.approx(2 * 2 * 20e9 * slower)
    assert chip.hbm_bandwidth_bytes_per_s is not None
    assert chip.hbm_efficiency is not None
    assert chip.hbm_bandwidth_bytes_per_s * chip.hbm_efficiency == pytest.approx(40e9)
    assert chip.l2_achieved_bytes_per_s == 300e9
    assert chip.launch_latency_s == pytest.approx(1e-5)


@pytest.mark.parametrize("factor", [0.1, 1.0, 30.0])
def test_floors_lie_above_what_was_measured(tmp_path: Path, factor: float) -> None:
    faster = {name: Rate(rate.value * factor, rate.how) for name, rate in MEASURED.items()}
    chip = load(tmp_path, faster, 2)
    assert (chip.matrix_peak_flop_per_s("fp32") or 0) >= host.MARGIN * faster["all"].value
    assert (chip.matrix_peak_flop_per_s("bf16") or 0) >= host.MARGIN * 2 * faster["bf16"].value * 0.999
    assert (chip.hbm_bandwidth_bytes_per_s or 0) >= host.MARGIN * faster["memory"].value
    assert (chip.l2_bandwidth_bytes_per_s or 0) >= host.MARGIN * (chip.l2_achieved_bytes_per_s or 0) * 0.999
    assert (chip.exp_per_s(chip.clock_max_hz) or 0) >= host.MARGIN * 2 * faster["exp"].value * 0.999


def test_without_torch_numpy_stands_in(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "host.toml"
    path.write_text(host.profile())
    chip = Hardware.load(str(path))
    assert chip.sm_count == host.cores()
    assert "numpy.matmul" in chip.note("clock_sustained_hz")[1]
    assert chip.note("matrix_bf16_flop_per_clock_per_sm")[0] == "estimate"  # the stand-in's


def test_the_profile_cites_every_measurement(tmp_path: Path, quick: None) -> None:
    path = tmp_path / "host.toml"
    path.write_text(host.profile("cpu"))
    chip = Hardware.load(str(path))
    assert (chip.name, chip.kind, chip.generation) == ("cpu", "cpu", "cpu")
    assert "attnsim hw calibrate cpu on 20" in chip.sources["HOST"]
    assert "numpy" in chip.sources["HOST"]
    for field in ("matrix_fp32_flop_per_clock_per_sm", "matrix_bf16_flop_per_clock_per_sm", "exp_per_clock_per_sm",
                  "vector_flop_per_clock_per_sm", "l2_achieved_bytes_per_s", "launch_latency_s"):  # fmt: skip
        kind, source = chip.note(field)
        assert kind == "microbenchmark", field
        assert source.startswith("[HOST] "), field
    assert chip.note("hbm_bandwidth_bytes_per_s")[1].startswith("[HOST] ")


def test_microbenchmarks_do_what_their_amounts_say(quick: None) -> None:
    calls: list[int] = []
    host.repeated(lambda: calls.append(1), 50)()
    assert len(calls) == 50
    works = host.elementwise() | host.torch_products()
    assert works["vector"].amount == works["exp"].amount == 50 * host.IN_CACHE
    assert works["all"].amount == works["fp32"].amount == 2 * host.SIDE**3
    assert not works["all"].one_core
    assert works["fp32"].one_core
    assert set(host.best_seconds(works)) == set(works)


def test_arrays_start_with_a_line_of_the_cache() -> None:
    for count in (1, 255, 4096):
        made = host.aligned(count)
        assert (made.size, made.ctypes.data % 64, made.dtype) == (count, 0, np.float32)


def test_texts_are_fit_for_toml() -> None:
    assert profiles.plain('a "b"\\c\n') == "a bc"


def test_a_kept_profile_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATTNSIM_PROFILE_CPU", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert profiles.kept_profile("cpu") == tmp_path / ".cache" / "attnsim" / "cpu.toml"
    assert profiles.best_profile("cpu") == "cpu"
    monkeypatch.setenv("ATTNSIM_PROFILE_CUDA", str(tmp_path / "gpu.toml"))
    assert profiles.kept_profile("cuda") == tmp_path / "gpu.toml"


def test_calibrate_keeps_prints_and_writes(tmp_path: Path, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, written = tmp_path / "deep" / "kept.toml", tmp_path / "written.toml"
    monkeypatch.setenv("ATTNSIM_PROFILE_CPU", str(kept))

    def calibrate(*options: str) -> Any:
        return CliRunner().invoke(command, ["calibrate", "cpu", *options], catch_exceptions=False)

    saved = calibrate("--save")
    assert saved.exit_code == 0
    assert saved.stdout == ""
    assert str(kept) in saved.stderr
    assert profiles.best_profile("cpu") == str(kept)
    both = calibrate("--save", "--output", str(written))
    assert both.exit_code == 0
    assert written.read_text() == kept.read_text()
    assert Hardware.load(str(written)).kind == "cpu"
    assert "[numbers]" in calibrate().stdout
