"""Timings in CSV files beside what `predict` says of each row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import attnsim
from attnsim.autotune import timings
from attnsim.autotune.silicon import SPLITS
from attnsim.simulator.api import load_hardware
from attnsim.simulator.errors import InputError

MEASURED = Path(__file__).parents[2] / "benchmarks" / "measured"
OWN = "heads,kv_heads,head_dim,seq,kv_len,causal,window,time_us\n"
PUBLISHED = (
    "chip,variant,parameters,direction,causal,dtype,batch,heads,kv_heads,shape,kv_len,head_dim,v_dim,time_s,kernel\n"
)
ROW = "h100,mha,,forward,true,fp16,4,16,16,4096,4096,128,128,0.001,FlashAttention-3\n"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def chips(*names: str) -> dict[str, attnsim.simulator.hardware.Hardware]:
    return {name: load_hardware(name) for name in names}


def test_rows_of_ones_own_are_what_predict_says(tmp_path: Path) -> None:
    text = OWN + "32,8,128,4096,4096,true,,900\n32,8,128,1,8192,true,,40\n32,8,128,4096,4096,true,1024,500\n"
    found = timings.check(written(tmp_path / "own.csv", text), chips("h100"))["h100"]
    by = {one.table.operation: one for one in found}
    assert set(by) == {"context", "decode"}
    sizes = {"heads": 32, "kv_heads": 8, "head_dim": 128, "hardware": "h100", "cache": "warm", "causal": True}
    dense = attnsim.predict("mha", seq=4096, **sizes)
    windowed = attnsim.predict("sliding-window", window=1024, seq=4096, **sizes)
    decode = attnsim.predict("mha", seq=1, kv_len=8192, **sizes)
    assert by["context"].predicted_s.tolist() == [dense.time_s, windowed.time_s]
    assert by["decode"].predicted_s.tolist() == [decode.time_s]
    assert by["decode"].table.latency_s.tolist() == pytest.approx([40e-6])
    assert by["context"].tiles_s[0] == dense.rung_time("tiles")
    low, high = dense.interval_s
    assert (by["context"].low_s[0], by["context"].high_s[0]) == (low, high)
    assert {SPLITS[code] for one in found for code in one.table.split} == {"zero-shot"}


def test_a_chip_without_floors_predicts_none_of_its_rows(tmp_path: Path) -> None:
    assert attnsim.predict("mha", "tensor-g5", seq=4096).rung_time("tiles") is None
    path = written(tmp_path / "own.csv", OWN + "32,8,128,4096,4096,true,,900\n")
    (found,) = timings.check(path, chips("tensor-g5"))["tensor-g5"]
    assert np.isnan(found.tiles_s).all()
    assert np.isnan(found.predicted_s).all()


def test_rows_of_kernels_that_a_profile_was_fitted_for_are_no_test_of_it(tmp_path: Path) -> None:
    profile = written(tmp_path / "mine.toml", 'format = 1\ninherits = "h100"\n[calibration.fa3]\nsource = "mine"\n')
    path = written(tmp_path / "own.csv", OWN.replace("time_us", "implementation,time_us")
                   + "32,8,128,4096,4096,true,,fa3,900\n32,8,128,4096,4096,true,,fa2,1400\n")  # fmt: skip
    found = timings.check(path, {"mine": load_hardware(str(profile))})["mine"]
    splits = {one.implementation[0]: SPLITS[one.table.split[0]] for one in found}
    assert splits == {"fa3": "calibration", "fa2": "zero-shot"}


@pytest.mark.parametrize("path", sorted(MEASURED.glob("published_*.csv")), ids=lambda path: path.stem)
def test_no_published_time_beats_a_floor(path: Path) -> None:
    found = [one for tables in timings.check(path).values() for one in tables]
    assert sum(len(one.table) for one in found) == len(path.read_text().splitlines()) - 1
    for one in found:
        assert (one.tiles_s <= one.table.latency_s).all(), (one.table.chip, one.table.framework)
        assert (one.roofline_s <= one.tiles_s).all()
        assert np.isfinite(one.predicted_s).all()


def test_only_the_chips_that_are_wanted(tmp_path: Path) -> None:
    path = written(tmp_path / "two.csv", PUBLISHED + ROW + ROW.replace("h100", "b200"))
    assert list(timings.check(path, chips("b200"))) == ["b200"]
    assert list(timings.check(path)) == ["h100", "b200"]
    with pytest.raises(InputError, match="no row of 'a100'; it has b200, h100"):
        timings.check(path, chips("b200", "a100"))


def test_what_no_kernel_takes_has_no_prediction(tmp_path: Path) -> None:
    path = written(tmp_path / "odd.csv", OWN.replace("time_us", "implementation,time_us")
                   + "32,8,4096,4096,4096,true,,fa3,900\n")  # fmt: skip
    (one,) = timings.check(path, chips("h100"))["h100"]
    assert np.isnan(one.predicted_s).all()
    assert one.implementation.tolist() == [None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"), (PUBLISHED, "has no row"), (OWN + "32,8,128,1,1,true,,4\n", "names no chip: .* --hw"),
        (OWN, "has 0 rows"), ("a,b\n", "unknown column 'a'"), ("variant,chip\n", "lacks direction, causal, dtype"),
        (PUBLISHED + ROW.replace("0.001", "soon"), "line 2: .*'soon'"),
        (PUBLISHED + ROW.replace("0.001", "-1"), "line 2: time_s is '-1'"),
        (PUBLISHED + ROW.replace("4096,4096", "4kx,4096"), "line 2: .*'4k'"),
        (PUBLISHED + ROW.replace("h100", "h1000"), "unknown hardware 'h1000'"),
    ],
)  # fmt: skip
def test_mistakes_are_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        timings.check(written(tmp_path / "one.csv", text))


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(InputError, match="No such file"):
        timings.check(Path("none.csv"))
