"""attnsim autotune: the table and its lines, JSON, budgets, resuming, exports, and what it says of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")

from attnsim.autotune import measurement
from attnsim.autotune.devices import replay
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.rank import rank
from attnsim.autotune.task import Task
from attnsim.kernels import records
from attnsim.simulator.config import Config

Run = Callable[..., Any]
TIMES = {
    Config((128,), (64,), warps=8, stages=3): 1.5e-3, Config((64,), (64,), warps=4, stages=3): 1e-3,
    Config((64,), (32,), warps=4, stages=3): 2e-3, Config((128,), (32,), warps=8, stages=3): None,
    Config((64,), (128,), warps=8, stages=3): 3e-3,
}  # fmt: skip
"""Seconds by config, the kernel's own choice first; one gave a wrong answer."""


pytestmark = pytest.mark.usefixtures("here")


def task(**sizes: Any) -> Task:
    return Task.make("mha", "h100", "triton-flash", **({"seq": 4096} | sizes))


def write(path: Path, *tasks: Task) -> str:
    """A recording, and the device that replays it."""
    known = {"compile_s": 2.0, "measure_s": 1.0, "registers": 168, "spill_bytes": 0}
    found = [
        Measurement(one, config, "ok", (s, s * 1.02, s * 0.99), **known) if s
        else Measurement(one, config, "wrong answer", reason="off by 2", compile_s=2.0)
        for one in tasks for config, s in TIMES.items()
    ]  # fmt: skip
    measurement.write(path, {"device": "a test"}, found)
    return f"replay:{path}"


@pytest.fixture
def device(here: Path) -> str:
    return write(here / "recording.json", task())


def place(config: Config) -> int:
    """Of a config in the model's order."""
    return [one.config for one in rank(task(), TIMES)].index(config) + 1


def test_the_table_and_what_it_means(run: Run, device: str) -> None:
    done = run("autotune", "mha", "--device", device)
    assert (done.code, done.err) == (0, "")
    rows = [line.split() for line in done.out.splitlines() if " warps=" in line and "stages=" in line][:5]
    assert rows[0][:5] == ["1", "64/64", "warps=4", "stages=3", str(place(list(TIMES)[1]))]
    assert rows[0][7:] == ["1", "ms", "3.0%", "168", "0", "B", "ok"]
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "-"]
    assert rows[4][1] == "128/32"
    assert "wrong answer: off by 2" in done.out
    for words in (
        "best 64/64 warps=4 stages=3: 1 ms", "1.50 times as fast as the kernel's own choice 128/64 warps=8 stages=3",
        "of what its tile's floor allows", "on h100", "stopped: all 5 configs were tried",
        "as a file: attnsim autotune export",
    ):  # fmt: skip
        assert words in done.out
    assert records.load() == {}  # nothing was timed on a device of this machine


def test_json_has_everything(run: Run, device: str) -> None:
    done = run("autotune", "mha", "--device", device, "--format", "json")
    assert (done.code, done.err) == (0, "")
    d = json.loads(done.out)
    assert set(d) == {
        "task", "device", "timed", "study", "storage", "stopped", "notes", "recorded", "best", "default",
        "speedup_over_default", "share_of_floor", "trials",
    }  # fmt: skip
    assert d["best"]["config"] | {"query": [64], "key": [64], "warps": 4, "stages": 3} == d["best"]["config"]
    assert (d["best"]["measured_s"], d["best"]["rank"], d["default"]["rank"]) == (1e-3, 1, 2)
    assert d["speedup_over_default"] == pytest.approx(1.5)
    assert d["share_of_floor"] == pytest.approx(d["best"]["floor_s"] / 1e-3)
    assert [t["outcome"] for t in d["trials"]] == ["ok"] * 4 + ["wrong answer"]
    assert Task.from_dict(d["task"]).key == task().key


def test_trials_then_resume_then_export_then_replay(run: Run, device: str, here: Path) -> None:
    first = run("autotune", "mha", "--device", device, "--trials", "2")
    assert "stopped: the budget of 2 trials is spent" in first.out
    assert "the same command with --resume and a larger --trials" in first.out
    done = run("autotune", "mha", "--device", device, "--resume", "--export", "all.json")
    assert "stopped: all 5 configs were tried" in done.out
    assert "written to all.json" in done.out
    assert first.out.split("study ")[1].split()[0] == done.out.split("study ")[1].split()[0]
    found = measurement.read(here / "all.json")
    assert {m.config: m.median_s for m in found.measurements} == TIMES
    assert found.provenance["device"] == device
    assert found.provenance["command"].startswith("attnsim autotune mha --device ")
    assert {"attnsim", "date", "commit", "python"} <= set(found.provenance)
    again = json.loads(run("autotune", "mha", "--device", "replay:all.json", "--format", "json").out)
    assert again["best"]["measured_s"] == 1e-3


def test_a_budget_of_seconds_is_of_recorded_time(run: Run, device: str) -> None:
    done = run("autotune", "mha", "--device", device, "--budget", "5s", "--format", "json")
    assert json.loads(done.out)["stopped"] == "the budget of 5 s is spent"
    assert len(json.loads(done.out)["trials"]) == 2


def test_several_workers_share_a_journal(device: str, here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "attnsim", "autotune", "mha", "--device", device, "--workers", "2", "--format", "json"],
        capture_output=True, text=True, env=dict(os.environ), check=True,
    )  # fmt: skip
    d = json.loads(done.stdout)
    assert d["storage"] == f"journal:{here}/kept/studies.log"
    assert len(d["trials"]) == 5
    assert d["best"]["measured_s"] == 1e-3


def test_a_dry_run_measures_nothing(run: Run, device: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay.Replay, "measure", None)
    done = run("autotune", "mha", "--device", device, "--dry-run")
    assert (done.code, done.err) == (0, "")
    assert "5 configs may be tried; nothing was measured" in done.out
    ranked = rank(task(), TIMES)
    d = json.loads(run("autotune", "mha", "--device", device, "--dry-run", "--format", "json").out)
    assert [one["predicted_s"] for one in d["configs"]] == [one.predicted_s for one in ranked]
    assert [one["floor_s"] for one in d["configs"]] == [one.floor_s for one in ranked]
    assert sum(one["default"] for one in d["configs"]) == 1
    assert not (here / "kept").exists()


def test_a_dry_run_says_what_is_refused(run: Run) -> None:
    pytest.importorskip("triton")
    asked = ("autotune", "mha", "--device", "offline:h100", "--seq", "4k", "--dry-run")
    d = json.loads(run(*asked, "--format", "json").out)
    assert d["refused"] > 0
    assert d["refusal"] in run(*asked).out
    assert any(words in d["refusal"] for words in ("shared memory", "registers"))


@pytest.mark.parametrize(("arguments", "selected"), [
    (("--seq", "8k"), {"seq": 8192}), (("--causal",), {"seq": 4096, "causal": True}),
    (("--no-causal", "--seq", "4k"), {"seq": 4096}),
])  # fmt: skip
def test_sizes_select_a_recorded_problem(arguments: tuple[str, ...], selected: dict[str, Any], run: Run,
                                         here: Path) -> None:  # fmt: skip
    device = write(here / "several.json", task(), task(seq=8192), task(causal=True))
    d = json.loads(run("autotune", "mha", "--device", device, *arguments, "--format", "json").out)
    assert Task.from_dict(d["task"]).key == task(**selected).key


def test_recorded_problems_that_are_not_told_apart(run: Run, here: Path) -> None:
    device = write(here / "several.json", task(), task(seq=8192), task(causal=True))
    for arguments, said in (
        ((), "has 3 problems of mha; say which by its sizes: mha 4096"),
        (("--heads", "16"), "has no such problem of mha; it has mha 4096"),
        (("--hw", "b200"), "has no such problem of mha; it has mha 4096"),
    ):
        done = run("autotune", "mha", "--device", device, *arguments)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert len(done.err.splitlines()) == 1


def test_alone_it_prints_help(run: Run) -> None:
    alone, asked, of_variant = run("autotune"), run("autotune", "--help"), run("autotune", "mha", "--help")
    assert alone.code == asked.code == of_variant.code == 0
    assert alone.out == asked.out == of_variant.out
    for words in ("VARIANT", "--device", "--dry-run", "export", "import", "list", "show", "attnsim autotune sliding-"):
        assert words in alone.out


@pytest.mark.parametrize(("arguments", "said"), [
    (("slidin-window",), "unknown variant 'slidin-window'; did you mean 'sliding-window'"),
    (("exprot",), "unknown variant or command 'exprot'; did you mean 'export'?"),
    (("mha", "--device", "cpuu"), "unknown device 'cpuu'; did you mean 'cpu'?"),
    (("mha", "--device", "replay:none.json"), "cannot read 'none.json'"),
    (("mha", "--device", "replay"), "replay needs a file"),
    (("--device", "cpu"), "Missing argument 'VARIANT'"),
    (("mha", "--trials", "0"), "trials is 0; allowed: a whole number above 0"),
    (("mha", "--compile", "0"), "compile is 0; allowed"),
    (("mha", "--workers", "two"), "workers is 'two'; allowed: a whole number"),
    (("mha", "--budget", "9"), "budget is '9'; allowed: a time above 0 with its unit"),
    (("mha", "--format", "jsn"), "unknown format 'jsn'; did you mean 'json'?"),
    (("mha", "--trial", "3"), "No such option '--trial'"),
])  # fmt: skip
def test_mistakes_are_told_in_one_line(arguments: tuple[str, ...], said: str, run: Run) -> None:
    done = run("autotune", *arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert len(done.err.splitlines()) == 1


def test_mistakes_that_a_device_must_be_there_for(run: Run, device: str, here: Path) -> None:
    for arguments, said in (
        (("--resume",), "no study of mha 4096"),
        (("--engine", "locky"), "unknown engine 'locky'; did you mean 'loky'?"),
        (("--address", "here:1"), "it needs engine ray"),
        (("--storage", "nosuch://x"), "cannot open the storage 'nosuch://x'"),
        (("--export", str(here / "recording.json" / "x")), "cannot write"),
    ):
        done = run("autotune", "mha", "--device", device, *arguments)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(("arguments", "seq", "heads"), [((), 2048, 8), (("--seq", "4k"), 4096, 32)])
def test_on_the_cpu_small_sizes_are_tuned_where_none_are_given(arguments: tuple[str, ...], seq: int, heads: int,
                                                               run: Run) -> None:  # fmt: skip
    pytest.importorskip("torch")
    done = run("autotune", "sliding-window", "--device", "cpu", "--dry-run", "--format", "json", *arguments)
    problem = Task.from_dict(json.loads(done.out)["task"]).problem
    assert (problem.queries, problem.heads) == (seq, heads)


def test_a_chip_that_the_device_is_not(run: Run) -> None:
    pytest.importorskip("triton")
    done = run("autotune", "mha", "--device", "offline:h100", "--hw", "b200", "--dry-run")
    assert done.code == 2
    assert "--hw b200 (sm_100) is not what --device offline:h100 is: h100 (sm_90)" in done.err


def test_an_interruption_says_how_to_go_on(run: Run, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Config] = []
    measure = replay.Replay.measure

    def interrupted(self: replay.Replay, task: Task, config: Config, time_limit_s: float) -> Measurement:
        calls.append(config)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(self, task, config, time_limit_s)

    monkeypatch.setattr(replay.Replay, "measure", interrupted)
    done = run("autotune", "mha", "--device", device)
    assert done.code == 130
    assert done.err.splitlines()[0] == (
        "interrupted; what was measured is kept: the same command with --resume goes on"
    )  # fmt: skip
    monkeypatch.setattr(replay.Replay, "measure", measure)
    assert "stopped: all 5 configs were tried" in run("autotune", "mha", "--device", device, "--resume").out
