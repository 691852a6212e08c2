"""A chip of the user's own, fitted to a few rows: the exercise with an L40S, bad tables, the command."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import attnsim
from attnsim.autotune import silicon, user_calibration
from attnsim.autotune.calibrate import errors, sample
from attnsim.autotune.silicon import Table
from attnsim.cli import main
from attnsim.simulator.errors import InputError
from attnsim.simulator.hardware import Hardware
from attnsim.simulator.implementations import get

installed = pytest.mark.skipif(
    importlib.util.find_spec("aiconfigurator_core") is None or importlib.util.find_spec("pyarrow") is None,
    reason="the tables are not installed: pip install 'attnsim[silicon]'",
)
ROWS = 30
NAMES = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "v_dim", "window")


def written(path: Path, table: Table, rows: np.ndarray[Any, Any]) -> Path:
    """Some rows of a table as a user's CSV file."""
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow((*NAMES, "time_us"))
        for row in rows:
            lines.writerow([*(int(getattr(table, name)[row]) for name in NAMES), table.latency_s[row] * 1e6])
    return path


@installed
def test_thirty_rows_of_a_chip_never_seen(tmp_path: Path) -> None:
    """The kernel is not named: FlashAttention-2, as vLLM runs it, is found."""
    table = next(
        t for t in silicon.tables(["l40s"], ["vllm"], ["context"]) if (t.dtype, t.kv_dtype) == ("bf16", "bf16")
    )
    usable = np.flatnonzero(~table.excluded)
    seen = np.random.default_rng(0).choice(usable, ROWS, replace=False)
    chip = Hardware.load("l40s")
    path = written(tmp_path / "mine.csv", table, seen)
    fits = user_calibration.fit(user_calibration.tables(user_calibration.read_timings(path), chip), chip)
    unseen = ~table.excluded
    unseen[seen] = False
    ratios = []
    for fit, rows in zip(fits, (unseen & (table.seq > 1), unseen & (table.seq == 1)), strict=True):
        rest = sample(table, fit.implementation, chip, rows, kernels=(fit.implementation,))
        assert rest is not None
        ratios.append(rest.latency_s / rest.seconds(fit.constants, fit.overhead))
    mean, _, p90 = errors(np.concatenate(ratios))
    assert mean <= 13
    assert p90 <= 28
    own_mean, _, _ = errors(fits[0].ratios)
    assert mean / 2.5 < own_mean < mean * 2.5, "what it says of itself is near what it is"


def timings(folder: Path, text: str) -> Path:
    path = folder / "mine.csv"
    path.write_text(text)
    return path


GOOD = "heads,head_dim,seq,time_ms\n" + "\n".join(f"32,128,{512 * n},{0.01 + 0.002 * n * n}" for n in range(1, 13))


@pytest.mark.parametrize(("text", "message"), [
    ("heads,head_dim,seq\n32,128,4096", "one column of times"), ("heads,seq,time_s\n32,1,1", "no column 'head_dim'"),
    ("heads,head_dim,seq,time_s,kvlen\n", "did you mean 'kv_len'"), (GOOD.splitlines()[0], "0 rows"),
    (GOOD.replace("1024", "1024.5"), "line 3: seq is '1024.5'"),
    (GOOD.replace("0.012", "fast"), "line 2: time_ms is 'fast'"),
    (GOOD.replace("0.012", "-1"), "line 2: time_ms is '-1'"),
    ("heads,head_dim,seq,time_s,causal\n8,64,1,1,maybe", "causal"),
    ("heads,head_dim,seq,time_s,dtype\n8,64,1,1,bf15", "did you mean 'bf16'"),
    ("heads,head_dim,seq,time_s,implementation\n8,64,1,1,fa5", "implementation"),
    ("heads,kv_heads,head_dim,seq,time_s\n8,3,64,1,1", "multiple of kv_heads"),
])  # fmt: skip
def test_a_bad_table_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        user_calibration.read_timings(timings(tmp_path, text))
    assert "\n" not in str(error.value)


def test_defaults_are_those_of_predict(tmp_path: Path) -> None:
    rows = user_calibration.read_timings(timings(tmp_path, GOOD))
    first = rows[0]
    assert (first["batch"], first["kv_heads"], first["kv_len"], first["v_dim"]) == (1, 32, 512, 128)
    assert (first["dtype"], first["kv_dtype"], first["causal"]) == ("bf16", "bf16", True)
    assert first["time_s"] == pytest.approx(12e-6)
    (table,) = user_calibration.tables(rows, Hardware.load("l40s"))
    assert (table.operation, len(table)) == ("context", 12)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["attnsim", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


def test_the_command_writes_a_profile_that_predict_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "mychip.toml"
    own.write_text('format = 1\ninherits = "l40s"\nname = "mychip"\n# mine\n')
    truth = attnsim.predict
    lines = ["heads,head_dim,seq,batch,time_s,implementation"]
    for number in range(40):
        seq, batch = 128 * (1 + number % 20), 1 + number % 7
        seconds = 2 * truth("mha", own, seq=seq, batch=batch, causal=True, implementation="fa2", cache="warm").time_s
        lines.append(f"32,128,{seq},{batch},{seconds},fa2")
    path, output = timings(tmp_path, "\n".join(lines)), tmp_path / "fitted.toml"
    assert run(monkeypatch, "calibrate", "--data", str(path), "--hw", str(own), "--output", str(output)) == 0
    out = capsys.readouterr().out
    assert "fa2: 40 rows" in out
    assert "has not seen" in out
    assert "# mine" in output.read_text(), "the user's own file is kept as it is"
    after = attnsim.predict("mha", output, seq=1920, causal=True, cache="warm")
    before = attnsim.predict("mha", own, seq=1920, causal=True, cache="warm", implementation="fa2")
    assert after.chosen.implementation is get("fa2"), "what was measured is what is predicted"
    assert after.confidence == "fitted"
    assert after.time_s == pytest.approx(2 * before.time_s, rel=0.25)
    assert after.interval_s is not None
    assert after.interval_s[0] < after.time_s < after.interval_s[1]


@pytest.mark.parametrize(("arguments", "message"), [
    (("--data", "mine.csv"), "--hw is missing"), (("--data", "silicone"), "silicon"),
    (("--hw", "l40s"), "belong to a CSV file"), (("--data", "no.csv", "--hw", "l40s"), "cannot read"),
    (("--data", "mine.csv", "--hw", "l40"), "l40s"), (("--chip", "h200"), "calibration rows"),
    (("--implementation", "fa9"), "implementation"),
])  # fmt: skip
def test_mistakes_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert run(monkeypatch, "calibrate", *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
