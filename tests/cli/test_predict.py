"""attnsim predict: the contract of its JSON, its other formats, and what it says of bad input."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnsim

Run = Callable[..., Any]
GNA = ("predict", "gna", "--hw", "b200", "--heads", "24", "--head-dim", "128", "--shape", "30x48x80", "-p",
       "window=18x24x24", "-p", "stride=16x8x8", "--q-tile", "4x8x8", "--kv-tile", "2x8x8")  # fmt: skip
KEYS = {
    "variant", "parameters", "hardware", "conditions", "direction", "implementation", "baseline", "tile",
    "packed_heads", "pairs", "tiles", "flops", "bytes", "tiled", "projections", "cache_bytes", "arithmetic_intensity",
    "ladder", "speedup_bound", "limited_by", "reason", "suggestion", "confidence", "warnings",
}  # fmt: skip


def test_json_is_the_contract_and_agrees_with_python(run: Run) -> None:
    done = run(*GNA, "--format", "json")
    assert (done.code, done.err) == (0, "")
    printed = json.loads(done.out)
    assert printed["attnsim"] == attnsim.__version__
    assert printed["problem"]["shape"] == [30, 48, 80]
    (d,) = printed["predictions"]
    assert set(d) >= KEYS
    assert d["pairs"] == 30 * 48 * 80 * 18 * 24 * 24
    assert d["tile"] == {"query": [4, 8, 8], "key": [2, 8, 8]}
    assert d["tiles"]["visited"] == d["tiles"]["full"] + d["tiles"]["partial"]
    assert d["flops"]["matrix"] == 4 * 24 * d["pairs"] * 128
    assert d["bytes"]["hbm"] == 4 * 115200 * 24 * 128 * 2
    p = attnsim.predict(
        "gna", hardware="b200", heads=24, head_dim=128, shape=(30, 48, 80), window=(18, 24, 24), stride=(16, 8, 8),
        q_tile=(4, 8, 8), kv_tile=(2, 8, 8),
    )  # fmt: skip
    assert json.loads(json.dumps(p.to_dict())) == d
    assert d["ladder"]["measured"] is None
    times = [d["ladder"][rung]["time_s"] for rung in ("flops", "roofline", "tiles", "schedule")]
    assert times == sorted(times)
    terms = sum(t["time_s"] for t in d["ladder"]["schedule"]["terms"])
    assert d["ladder"]["schedule"]["time_s"] == pytest.approx(d["ladder"]["tiles"]["time_s"] + terms)


def test_a_window_delivers_less_than_its_flop_ratio_and_a_stride_nearly_all(run: Run) -> None:
    def speedup(stride: str) -> dict[str, Any]:
        arguments = [a if not a.startswith("stride") else f"stride={stride}" for a in GNA]
        ladder: dict[str, Any] = json.loads(run(*arguments, "--format", "json").out)["predictions"][0]["ladder"]
        return ladder

    sliding, blocked = speedup("1x1x1"), speedup("16x8x8")
    promise = sliding["flops"]["speedup"]
    assert promise == pytest.approx(30 * 48 * 80 / (18 * 24 * 24))
    assert sliding["tiles"]["speedup"] < promise / 2
    assert sliding["schedule"]["speedup"] < promise / 2
    assert blocked["tiles"]["speedup"] > 0.9 * promise


def test_the_first_command_says_something(run: Run) -> None:
    done = run("predict", "--hw", "b200")
    assert done.code == 0
    for word in ("mha", "gated-deltanet", "schedule", "would help", "Fits in memory"):
        assert word in done.out


def test_formats_carry_the_same_numbers(run: Run, tmp_path: Path) -> None:
    arguments = ("predict", "mha", "sliding-window", "--hw", "h100,b200", "--seq", "16k", "-p", "window=1024")
    d = json.loads(run(*arguments, "--format", "json").out)["predictions"]
    rows = list(csv.DictReader(io.StringIO(run(*arguments, "--format", "csv").out)))
    assert [r["variant"] for r in rows] == [x["variant"] for x in d] == ["mha", "sliding-window"] * 2
    assert [float(r["ladder.schedule.time_s"]) for r in rows] == [x["ladder"]["schedule"]["time_s"] for x in d]
    assert run(*arguments, "--format", "md").out.count("| sliding-window |") == 2
    target = tmp_path / "out.json"
    assert run(*arguments, "--format", "json", "--output", str(target)).out == ""
    assert json.loads(target.read_text())["predictions"] == d


def test_a_measured_time_is_judged(run: Run) -> None:
    slow = run("predict", "mha", "--hw", "b200", "--measured", "2ms")
    assert "% of roofline" in slow.out
    assert "cannot be" not in slow.out
    impossible = run("predict", "mha", "--hw", "b200", "--measured", "10us")
    assert "beats the roofline floor: that cannot be" in impossible.out
    d = json.loads(run("predict", "mha", "--hw", "b200", "--measured", "2ms", "--format", "json").out)
    measured = d["predictions"][0]["ladder"]["measured"]
    assert measured["time_s"] == 2e-3
    assert 0 < measured["reached"]["roofline"] < 1


def test_a_changed_chip_number_changes_the_prediction(run: Run) -> None:
    def time_s(*more: str) -> float:
        d = json.loads(run("predict", "mha", "--hw", "b200", "--head-dim", "64", "--format", "json", *more).out)
        found: float = d["predictions"][0]["ladder"]["schedule"]["time_s"]
        return found

    assert time_s("--set", "exp_per_clock_per_sm=32") < time_s()


def test_a_block_mask_file_is_counted(run: Run, tmp_path: Path) -> None:
    blocks = np.tril(np.ones((8, 8), dtype=bool))
    np.save(tmp_path / "blocks.npy", blocks)
    done = run("predict", "block-mask", "--seq", "1024", "-p", f"mask={tmp_path / 'blocks.npy'}", "--tile", "128x128",
               "--format", "json")  # fmt: skip
    (d,) = json.loads(done.out)["predictions"]
    assert d["pairs"] == 36 * 128 * 128
    assert d["tiles"] == {"visited": 36, "full": 36, "partial": 0, "skipped": 28}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hw", "b20"), "did you mean 'b200'"),
        (("mhaa",), "did you mean 'mha'"),
        (("mha", "--seq", "0"), "seq is 0"),
        (("mha", "--seq", "-4"), "seq is -4"),
        (("mha", "--seq", "nan"), "seq"),
        (("mha", "--seq", "2199023255552"), "2**40"),
        (("mha", "--heads", "7", "--kv-heads", "2"), "does not divide"),
        (("gna", "--shape", "4x4", "-p", "window=5x5"), "larger than the shape"),
        (("gna", "-p", "windw=3"), "did you mean 'window'"),
        (("mha", "-p", "window"), "NAME=VALUE"),
        (("mha", "--tile", "128"), "queries x keys"),
        (("mha", "--set", "exp_per_clock=3"), "did you mean 'exp_per_clock_per_sm'"),
        (("mha", "--set", "sm_count=-1"), "positive"),
        (("mha", "--hw", "missing.toml"), "missing.toml"),
        (("mha", "--output", "/nonexistent/file"), "cannot write"),
        (("mha", "--format", "yaml"), "known: csv, json, md, table"),
        (("mha", "--measured", "3"), "with its unit"),
        (("mha", "gqa", "--measured", "3ms"), "one variant"),
        (("mha", "--frobnicate"), "No such option"),
        (("block-mask", "-p", "mask=missing.npy"), "cannot read"),
        (("mha", "--config", "missing.json"), "missing.json"),
        (("mha", "--preset", "llama-3-8b-prefil-8k"), "did you mean 'llama-3-8b-prefill-8k'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(run: Run, arguments: tuple[str, ...], said: str) -> None:
    done = run("predict", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert done.err.startswith("error: ")
    assert said in done.err


def test_broken_files_are_refused(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "chip.toml"
    broken.write_text("format = 1\nname = ")
    config = tmp_path / "config.json"
    config.write_text("{")
    blocks = tmp_path / "blocks.npy"
    blocks.write_bytes(b"no array")
    for arguments in (("mha", "--hw", str(broken)), ("mha", "--config", str(config)),
                      ("block-mask", "-p", f"mask={blocks}")):  # fmt: skip
        done = run("predict", *arguments)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err


def test_an_unwritable_output_leaves_the_old_file(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "kept"
    target.mkdir()
    done = run("predict", "mha", "--output", str(target))
    assert done.code == 2
    assert list(tmp_path.iterdir()) == [target]


def test_unknown_commands_suggest(run: Run) -> None:
    done = run("predic")
    assert (done.code, done.out) == (2, "")
    assert "did you mean 'predict'" in done.err
