"""`attnsim autotune show, export, import, list`: files and lists, without a device."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attnsim.autotune import measurement
from attnsim.autotune.archives import t4
from attnsim.autotune.measurement import Measurement, Recording
from attnsim.autotune.task import Task
from attnsim.kernels import records
from attnsim.simulator.config import Config

Run = Callable[..., Any]

LOG = """hello
AUTOTUNE flex_attention(2x16x4096x64, 2x4x8192x64, 2x4x8192x64, 2x16x4096)
dtypes: torch.bfloat16, torch.bfloat16, torch.bfloat16
  triton_flex_attention_3 1.2345 ms 100.0% BLOCK_M=128, BLOCK_N=64, SPARSE_KV_BLOCK_SIZE=128, num_stages=3, num_warps=8
  triton_flex_attention_1 inf ms 0.0% BLOCK_M=64, BLOCK_N=64, SPARSE_KV_BLOCK_SIZE=128, num_stages=3, num_warps=4
SingleProcess AUTOTUNE benchmarking takes 0.6 seconds and 9.0 seconds precompiling for 2 choices
AUTOTUNE bmm(2x16x16, 2x16x16)
  bmm 0.0061 ms 100.0%
SingleProcess AUTOTUNE benchmarking takes 0.6 seconds and 9.0 seconds precompiling for 1 choices
"""


pytestmark = pytest.mark.usefixtures("here")


def task() -> Task:
    return Task.make("mha", "h100", "triton-flash", seq=4096, causal=True)


def recording() -> Recording:
    """Three configs, one of which failed and one of which was measured twice."""
    fast, slow = Config((128,), (64,), warps=8, stages=3), Config((64,), (32,), warps=4, stages=3)
    found = (
        Measurement(task(), slow, "ok", (3e-3, 3e-3, 3e-3), registers=100, spill_bytes=8),
        Measurement(task(), fast, "ok", (1e-3, 1.1e-3, 1e-3), registers=168, spill_bytes=0, flags=("unsteady",)),
        Measurement(task(), Config((64,), (64,), stages=1), "wrong answer", reason="off by 2"),
        Measurement(task(), fast, "ok", (2e-3,)),
    )
    return Recording({"device": "a test"}, found)


@pytest.fixture
def file(here: Path) -> Path:
    path = here / "recording.json"
    measurement.write(path, recording().provenance, recording().measurements)
    return path


def test_a_list_of_candidates(run: Run) -> None:
    table = run("autotune", "list", "mha", "--hw", "b200", "--seq", "16k", "--causal", "--top", "3")
    assert table.code == 0
    assert table.out.startswith("mha 16384, 1x32 heads of 128, bf16, forward, causal on b200 by triton-flash\n")
    made = run("autotune", "list", "mha", "--hw", "b200", "--seq", "16k", "--causal", "--top", "3", "--format", "json")
    data = json.loads(made.out)
    assert data["problem"]["seq"] == 16384
    assert (data["variant"], data["hardware"], data["kernel"]) == ("mha", "b200", "triton-flash")
    assert [one["rank"] for one in data["candidates"]] == [1, 2, 3]
    first = data["candidates"][0]
    assert set(first) == {"rank", "config", "triton", "predicted_s", "floor_s"}
    assert first["triton"]["kwargs"] == {"BLOCK_M": first["config"]["query"][0], "BLOCK_N": first["config"]["key"][0]}
    assert first["triton"]["num_warps"] == first["config"]["warps"]
    tile = "/".join(str(first["triton"]["kwargs"][name]) for name in ("BLOCK_M", "BLOCK_N"))
    assert f"1      {tile} warps={first['config']['warps']}" in table.out


def test_candidates_in_a_file_of_any_kernel(run: Run, here: Path) -> None:
    done = run(
        "autotune", "list", "gna", "--hw", "h100", "--shape", "8x16x32", "-p", "window=6x8x8", "--output", "c.json"
    )
    assert (done.code, done.out) == (0, "")
    data = json.loads((here / "c.json").read_text())
    assert data["parameters"] == {"window": [6, 8, 8]}
    assert len(data["candidates"][0]["config"]["query"]) == 3
    assert "by flex-cpu" in run("autotune", "list", "mha", "--hw", "cpu").out
    assert "by triton-other" in run("autotune", "list", "mha", "--hw", "h100", "--kernel", "triton-other").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "slidng-window"), "unknown variant 'slidng-window'; did you mean 'sliding-window'"),
        (("list", "mha", "--hw", "tpu-v5p"), "no kernel here runs mha on tpu-v5p"),
        (("list", "mha", "--kernel", "fa3"), "fa3 is not a kernel that attnsim runs"),
        (("list", "mha", "--format", "csv"), "unknown format 'csv'"),
        (("list", "mha", "--top", "0"), "top is 0; allowed"),
        (("show", "nothing"), "'nothing' is neither a file nor a study; studies: none"),
        (("show", "--storage", "none.db"), "there is no storage 'sqlite:///"),
        (("export", "--format", "t4"), "T4 holds measurements: name a study or a recording"),
        (("export", "--format", "xml"), "unknown format 'xml'"),
        (("import", "none.log"), "cannot read 'none.log'"), (("import", "log"), "--output REC is missing"),
        (("import", "log", "--output", "r.json"), "does not say which chip it was measured on: give --hw NAME"),
        (("import", "log", "--output", "r.json", "--hw", "h10"), "did you mean 'h100'"),
        (("import", "text", "--output", "r.json"), "is no recording, no TorchInductor AUTOTUNE log and no T4 file"),
        (("show", "log"), "does not say which chip"),
    ],
    ids=lambda x: " ".join(x)[:30] if isinstance(x, tuple) else "",
)  # fmt: skip
def test_mistakes_are_one_line(run: Run, here: Path, arguments: tuple[str, ...], message: str) -> None:
    (here / "log").write_text(LOG)
    (here / "text").write_text("hello")
    done = run("autotune", *arguments)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert message in done.err
    assert not (here / "r.json").exists()


def test_an_inductor_log_becomes_a_recording(run: Run, here: Path) -> None:
    (here / "flex.log").write_text(LOG)
    done = run("autotune", "import", "flex.log", "--hw", "h100", "--output", "r.json")
    assert done.code == 0
    assert "TorchInductor AUTOTUNE log: 1 problem, 2 configs, written to r.json" in done.out
    assert "best 128/64 warps=8 stages=3 in 1.23 ms" in done.out
    assert "note: left out, no attention: 1 of bmm" in done.err
    assert "note: times with a block mask are of a stand-in" in done.err
    (one,) = measurement.read(here / "r.json").tasks
    assert (one.problem.heads, one.problem.kv_heads, one.problem.kv_len) == (16, 4, 8192)
    shown = run("autotune", "show", "r.json").out
    assert "1.23 ms" in shown
    assert "failed to compile" in shown


def test_a_t4_file_becomes_a_recording(run: Run, here: Path) -> None:
    (here / "t4.json").write_text(json.dumps({"schema_version": "1.0.0", "results": [{
        "configuration": {"BLOCK_M": 64, "BLOCK_N": 32, "num_warps": 4, "num_stages": 2}, "correctness": 1,
        "invalidity": "correct", "times": {"runtimes": [2.0, 2.5]},
    }]}))  # fmt: skip
    done = run("autotune", "import", "t4.json", "--hw", "a100", "--seq", "2k", "--heads", "8", "--variant",
               "sliding-window", "-p", "window=512", "--kernel", "triton-flash", "--output", "r.json")  # fmt: skip
    assert done.code == 0
    (one,) = measurement.read(here / "r.json").measurements
    assert str(one.task).startswith("sliding-window window=512 2048, 1x8 heads")
    assert one.task.implementation == "triton-flash"
    assert one.seconds == (2e-3, 2.5e-3)


def test_a_recording_is_shown(run: Run, file: Path) -> None:
    done = run("autotune", "show", str(file))
    assert done.code == 0
    table = done.out.splitlines()
    # The last measurement of a config counts: that of the finalists.
    assert "best 128/64 warps=8 stages=3 in 2 ms" in table[0]
    rows = [line.split() for line in table if line.strip()[:1] in "123-"]
    assert [row[0] for row in rows if row] == ["1", "2", "-"]
    assert "wrong answer: off by 2" in done.out
    (one,) = json.loads(run("autotune", "show", str(file), "--format", "json").out)
    assert one["task"] == task().to_dict()
    assert [row["measured_s"] for row in one["measurements"]] == [2e-3, 3e-3, None]
    assert [row["rank"] for row in one["measurements"]] == [1, 2, None]
    assert one["measurements"][1]["spill_bytes"] == 8
    assert one["measurements"][0]["predicted_s"] > 0


def test_export_and_import_are_inverse(run: Run, file: Path, here: Path) -> None:
    assert run("autotune", "export", str(file), "--format", "t4", "--output", "t4.json").code == 0
    assert (here / "t4.json").read_text() == t4.dump(recording())
    assert run("autotune", "import", "t4.json", "--output", "again.json").code == 0
    assert run("autotune", "export", "again.json", "--output", "last.json").code == 0
    assert (here / "last.json").read_text() == (here / "again.json").read_text() == file.read_text()
    assert run("autotune", "export", "again.json").out == file.read_text()


def test_tuned_configs_are_shown_exported_and_imported(run: Run, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = run("autotune", "show")
    assert empty.code == 0
    assert "no studies" in empty.out
    assert "no tuned configs" in empty.out
    records.save_result(task(), recording().measurements[0])
    shown = run("autotune", "show").out
    assert "64/32 warps=4 stages=3" in shown
    assert "triton-flash" in shown
    assert run("autotune", "export", "--output", "records.json").code == 0
    before = json.loads(run("autotune", "show", "--format", "json").out)["records"]
    monkeypatch.setenv("ATTNSIM_RECORDS", str(here / "elsewhere.json"))
    assert json.loads(run("autotune", "show", "--format", "json").out) == {"studies": [], "records": []}
    done = run("autotune", "import", "records.json")
    assert done.out == f"1 tuned config added to {here / 'elsewhere.json'}\n"
    assert json.loads(run("autotune", "show", "--format", "json").out)["records"] == before
    assert run("autotune", "import", "records.json", "--output", "r.json").code == 2


def test_studies_are_shown_and_exported(run: Run, file: Path, here: Path) -> None:
    from attnsim.autotune.devices import open_device
    from attnsim.autotune.study import tune

    result = tune(task(), open_device(f"replay:{file}"))
    shown = run("autotune", "show").out
    name = result.study.split()[-1]
    assert name in shown
    assert "mha 4096" in shown
    listed = json.loads(run("autotune", "show", "--format", "json").out)["studies"]
    assert [(one["id"], one["measured"], one["best_s"]) for one in listed] == [(name, 3, 1e-3)]
    assert run("autotune", "show", name).out.splitlines()[0] == run("autotune", "show", str(file)).out.splitlines()[0]
    assert run("autotune", "export", name, "--output", "study.json").code == 0
    found = measurement.read(here / "study.json")
    assert found.provenance["study"] == result.study
    assert {m.config for m in found.measurements} == {m.config for m in recording().measurements}
    tune(task(), open_device(f"replay:{file}"))
    several = run("autotune", "show", "mha")
    assert several.code == 2
    assert "2 studies have 'mha' in their names; give one of: " in several.err


@pytest.mark.parametrize("command", ["show", "export", "import", "list"])
def test_help_has_examples(run: Run, command: str) -> None:
    done = run("autotune", command, "--help")
    assert done.code == 0
    assert f"attnsim autotune {command}" in done.out
