"""Where studies are kept: what locations mean, locks that go with their process, journals with a torn line."""

from __future__ import annotations

import doctest
import json
import select
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from fake_device import FakeDevice, task
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from attnsim.autotune import sampler, storage
from attnsim.autotune.study import tune
from attnsim.simulator.errors import InputError


def test_locations_are_told_by_what_they_look_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.locate("a.log") == f"journal:{tmp_path}/a.log"
    assert storage.locate("journal:a") == f"journal:{tmp_path}/a"
    assert storage.locate("a.db") == f"sqlite:///{tmp_path}/a.db"
    assert storage.locate("postgresql://me@host/studies") == "postgresql://me@host/studies"
    with pytest.raises(InputError, match="allowed: a path, journal:PATH, or a database's URL"):
        storage.locate("journal:")


def test_examples_run() -> None:
    assert all(doctest.testmod(module).failed == 0 for module in (storage, sampler))


def test_the_default_is_a_database_for_one_worker_and_a_journal_for_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTNSIM_STUDIES", str(tmp_path / "mine.db"))
    assert storage.locations(None, 1) == (f"sqlite:///{tmp_path}/mine.db", f"journal:{tmp_path}/mine.log")
    assert storage.locations(None, 2) == (f"journal:{tmp_path}/mine.log", f"sqlite:///{tmp_path}/mine.db")
    monkeypatch.delenv("ATTNSIM_STUDIES")
    assert storage.locations(None, 1)[0] == f"sqlite:///{Path.home()}/.cache/attnsim/studies.db"


def test_storages_that_cannot_be_opened_are_told_in_a_line_without_passwords(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, however long it may be " * 100)
    with pytest.raises(InputError, match=r"cannot open the storage .*text\.db"):
        storage.open_storage(storage.locate(str(tmp_path / "text.db")))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot open the storage"):
        storage.open_storage(storage.locate(str(tmp_path / "file" / "a.log")))
    with pytest.raises(InputError) as caught:
        storage.open_storage("nosuch://me:secret@host/studies")
    assert "secret" not in str(caught.value)


def test_a_torn_line_of_a_journal_is_cut_off_before_the_next_is_written(tmp_path: Path) -> None:
    path = tmp_path / "studies.log"
    tune(task(), FakeDevice(), storage=str(path), trials=2)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:20])
    result = tune(task(), FakeDevice(), storage=str(path), trials=3, resume=True)
    assert len(result.trials) == 3
    assert path.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())
    assert len(JournalStorage(JournalFileBackend(str(path))).get_all_trials(0)) == 3


LOCK = """
import sys, time
from attnsim.autotune.storage import JournalLock
lock = JournalLock(sys.argv[1])
print("asks", flush=True)
lock.acquire()
print("has it", flush=True)
time.sleep(60)
"""


@contextmanager
def python(code: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A process that runs some code, and what it prints; it is killed in the end."""
    done = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code, *arguments], stdout=subprocess.PIPE, text=True,
                            stderr=subprocess.DEVNULL)  # fmt: skip
    assert done.stdout is not None
    try:
        yield done, done.stdout
    finally:
        done.kill()
        done.wait()
        done.stdout.close()


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "studies.log"
    path.touch()
    with python(LOCK, str(path)) as (holder, first):
        assert [first.readline(), first.readline()] == ["asks\n", "has it\n"]
        with python(LOCK, str(path)) as (_, second):
            assert second.readline() == "asks\n"
            assert select.select([second], [], [], 0.3)[0] == []
            holder.kill()
            assert second.readline() == "has it\n"


DASHBOARD = """
import sys
from optuna_dashboard._cli import main
sys.argv = ["optuna-dashboard", sys.argv[1], "--port", sys.argv[2], "--server", "wsgiref"]
main()
"""


@pytest.mark.parametrize("name", ["studies.db", "studies.log"])
def test_the_dashboard_opens_a_study(name: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna_dashboard")
    path, port = tmp_path / name, free_port()
    result = tune(task(), FakeDevice(), storage=str(path), trials=4)
    where = str(path) if name.endswith(".log") else f"sqlite:///{path}"
    with python(DASHBOARD, where, str(port)) as (server, _):
        (study,) = asked(server, port, "/api/studies")["study_summaries"]
        found = asked(server, port, f"/api/studies/{study['study_id']}?after=0")
    assert study["study_name"] == result.study
    assert [trial["state"] for trial in found["trials"]] == ["Complete"] * 4
    best = min(found["trials"], key=lambda trial: float(trial["values"][0]))
    winner = result.trials[0]
    assert winner.measurement is not None
    assert best["values"] == [winner.measurement.median_s]
    shown = {p["name"]: p["param_external_value"] for p in best["params"]}
    assert (shown["query"], shown["stages"]) == (str(winner.config.query[0]), str(winner.config.stages))


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def asked(server: subprocess.Popen[str], port: int, path: str) -> Any:
    """What a server answers, once it does."""
    while server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
                return json.load(answer)
        except urllib.error.URLError:
            time.sleep(0.1)
    raise AssertionError("the server ended")
