"""Records of tuned configs: found at every problem of their bucket, with the versions they were found with, or not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from attnsim.autotune.measurement import Measurement
from attnsim.autotune.task import Task
from attnsim.kernels import call, records
from attnsim.simulator import buckets
from attnsim.simulator.config import ChunkConfig, Config
from attnsim.simulator.errors import InputError


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Records of this test alone."""
    path = tmp_path / "deep" / "records.json"
    monkeypatch.setenv("ATTNSIM_RECORDS", str(path))
    return path


def find(task: Task) -> Any:
    """What `attention` would find for a task."""
    return records.find(task.implementation, task.chip.name, task.made, task.problem)


def tuned(task: Task, config: Any, seconds: float = 1e-3) -> None:
    """Keep a config as measured for a task."""
    records.save_result(task, Measurement(task, config, "ok", (seconds,), conditions={"device": "a test"}))


def bucket_of(one: Task) -> buckets.Bucket:
    """The bucket of a task."""
    return buckets.bucket_of(one.made, one.problem, one.chip, one.kernel)


def flash(seq: int, **more: Any) -> Task:
    return Task.make("mha", "h100", "triton-flash", seq=seq, causal=True, **more)


SLOW = Config((64,), (32,), warps=4, stages=3)
"""Legal, and not what the model would take."""


def test_one_record_serves_its_bucket_and_no_other(file: Path) -> None:
    assert find(flash(5000)) is None
    tuned(flash(5000), SLOW)
    near = [n for n in range(4100, 8190, 371) if bucket_of(flash(n)).key == bucket_of(flash(5000)).key]
    assert len(near) > 5
    assert all(find(flash(n)) == SLOW for n in near)
    # What `attention` takes:
    assert all(call.choose(t.made, t.problem, t.chip) == (t.kernel, SLOW) for t in map(flash, near))
    assert call.choose(flash(40000).made, flash(40000).problem, flash(40000).chip)[1] != SLOW
    for other in (flash(40000), flash(5000, head_dim=64), flash(5000, dtype="fp16")):
        assert find(other) is None
    assert find(Task.make("sliding-window", "h100", "triton-flash", seq=5000, window=512, causal=True)) is None


def test_every_kernel_has_configs_of_its_own(file: Path) -> None:
    linear = Task.make("gated-deltanet", "h100", "triton-linear", seq=4096)
    config = linear.kernel.configs(linear.part, linear.chip)[-1]
    tuned(linear, config)
    tuned(flash(4096), SLOW)
    found = find(linear)
    assert type(found) is ChunkConfig
    assert found == config


def test_pieces_of_the_keys_follow_the_length(file: Path) -> None:
    def decode(keys: int) -> Task:
        return Task.make("gqa", "h100", "triton-decode", seq=1, kv_len=keys, heads=32, kv_heads=8)

    made = decode(10000)
    first = made.kernel.configs(made.part, made.chip)[0]
    tuned(made, first)
    assert find(made) == first
    same = [n for n in range(8192, 16384, 500) if bucket_of(decode(n)).key == bucket_of(made).key]
    assert len(same) > 3
    for n in same:
        found, there = find(decode(n)), decode(n)
        assert (found.query, found.key, found.warps) == (first.query, first.key, first.warps)
        assert there.kernel.refuses(there.part, there.chip, found) is None


def test_other_versions_are_kept_and_not_used(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned(flash(5000), SLOW)
    now = records.versions()
    assert set(now) == {"attnsim", "triton"}
    assert all(len(text.split(".")) == 2 for text in now.values())
    for other in ({"triton": "2.0"}, {"attnsim": "99.0"}):
        monkeypatch.setattr(records, "versions", lambda other=other: now | other)
        assert find(flash(5000)) is None
    tuned(flash(5000), Config((64,), (64,), warps=4, stages=2))
    monkeypatch.setattr(records, "versions", lambda: now)
    assert find(flash(5000)) == SLOW
    assert len(records.load()) == 2


def test_a_later_result_replaces_the_earlier(file: Path) -> None:
    tuned(flash(5000), SLOW)
    better = Config((128,), (64,), warps=8, stages=3)
    tuned(flash(5100), better)
    assert find(flash(5000)) == better
    assert len(records.load()) == 1


def test_a_config_that_the_kernel_no_longer_takes_is_not_used(file: Path) -> None:
    tuned(flash(5000), SLOW)
    data = json.loads(file.read_text())
    data["records"][0]["config"]["query"] = [48]
    file.write_text(json.dumps(data))
    assert find(flash(5000)) is None


def test_the_file_says_what_was_found_where(file: Path) -> None:
    tuned(flash(5000, batch=2, heads=16), SLOW, 2e-3)
    data = json.loads(file.read_text())
    assert data["format"] == records.FORMAT
    (record,) = data["records"]
    assert record["hardware"] == "h100"
    assert record["kernel"] == "triton-flash"
    assert record["versions"] == records.versions()
    assert record["config"]["query"] == [64]
    assert record["seconds"] == 2e-3
    assert record["problem"]["batch"] == 2
    assert record["bucket"]["variant"] == "mha"
    low, high = record["bucket"]["seq"]
    assert low <= 5000 <= high
    low, high = record["bucket"]["heads"]
    assert low <= 32 <= high
    assert record["conditions"] == {"device": "a test"}


def test_exported_records_come_back(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned(flash(5000), SLOW)
    tuned(flash(40000), SLOW)
    text, before = records.export(), records.load()
    monkeypatch.setenv("ATTNSIM_RECORDS", str(tmp_path / "elsewhere.json"))
    tuned(flash(5000), Config((64,), (64,), warps=4, stages=2))
    assert records.merge(text, "records.json") == 2
    assert records.load() == before
    assert find(flash(5000)) == SLOW


def test_files_that_are_none_are_said(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(json.dumps({'["triton-flash", "h100"]': {"query": [64], "key": [32]}}))
    with pytest.warns(UserWarning, match="not of format 2; they are not used"):
        assert find(flash(5000)) is None
    tuned(flash(5000), SLOW)
    assert find(flash(5000)) == SLOW
    for text, message in (("{", "cannot read"), ('{"format": 2, "records": [{}]}', "cannot be read: KeyError")):
        file.write_text(text)
        with pytest.raises(InputError, match=message):
            find(flash(5000))
    file.unlink()
    file.mkdir()
    with pytest.raises(InputError, match="cannot read"):
        find(flash(5000))


def test_only_times_are_kept() -> None:
    with pytest.raises(InputError, match="a config that is 'timeout' is no tuned one"):
        records.save_result(flash(5000), Measurement(flash(5000), SLOW, "timeout"))
    with pytest.raises(InputError, match="fa3 is no kernel that is tuned here"):
        records.save("fa3", "h100", flash(5000).made, flash(5000).problem, SLOW)
