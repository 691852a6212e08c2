"""Scenarios of killed and competing tuners, run as a script: `kill_scenarios.py NAME STORAGE LOG SEED`, result as JSON.

The script imports everything and starts no thread; its forks are the tuners, so that one costs milliseconds and a kill
meets the interesting moments.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_device import FakeDevice, lines, task
from optuna.storages import RDBStorage

from attnsim.autotune import claims, sampler, storage, studies, study, worker  # noqa: F401 (for the forks)
from attnsim.simulator.config import Config

CONFIGS = tuple(
    Config((q,), (k,), warps=w, stages=s)
    for q, k, w, s in itertools.product((64, 128), (16, 32, 64), (4, 8), (1, 2, 3))
)
KILLS = 20


def fork(work: Callable[[], Any], answer: Path | None = None) -> int:
    """A process that does the work, and writes what it returns as JSON."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        result = work()
        if answer is not None:
            answer.write_text(json.dumps(result))
        status = 0
    finally:
        if status:
            traceback.print_exc()
        os._exit(status)


def asked(work: Callable[[], Any], answer: Path) -> Any:
    """What the work returns, done in another process."""
    _, status = os.waitpid(fork(work, answer), 0)
    assert status == 0
    return json.loads(answer.read_text())


def device(log: Path, wait_s: float) -> FakeDevice:
    return FakeDevice(str(log), wait_s, CONFIGS)


def started(location: str, log: Path) -> None:
    """Make the study."""
    made = studies.create(storage.locate(location), task(), "fake")
    studies.describe(made, task(), "fake", device(log, 0).space(task()), True)


def tune(location: str, log: Path, wait_s: float) -> None:
    study.tune(task(), device(log, wait_s), storage=location, resume=True)


def kept(location: str) -> dict[str, list[str]]:
    """Configs that have a measurement, and those of unfinished trials."""
    where = storage.locate(location)
    journal = where.startswith("journal:")
    opened = storage.open_storage(where) if journal else RDBStorage(where, skip_compatibility_check=True)
    (made,) = opened.get_all_studies()
    trials = opened.get_all_trials(made._study_id)
    space = device(Path(), 0).space(task())
    measured = [t for t in trials if "measurement" in t.user_attrs]
    if not journal:
        assert sqlite3.connect(location).execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return {
        "measured": [str(sampler.config_at(space, t.params)) for t in measured],
        "complete": [str(sampler.config_at(space, t.params)) for t in trials if t.state.name == "COMPLETE"],
        "unfinished": [str(t.number) for t in trials if not t.state.is_finished()],
    }


def killed(location: str, log: Path, seed: int) -> dict[str, Any]:
    """Kill a tuner at KILLS random moments, resume it each time, let the last one finish.

    A moment is some lines of the device's log after the start, and up to 30 ms more.
    """
    chance = random.Random(seed)
    fork_and_wait(lambda: started(location, log))
    seen = []
    for _ in range(KILLS):
        pid = fork(lambda: tune(location, log, 0.01))
        target = len(log.read_text().splitlines()) + chance.randint(0, 4)
        while len(log.read_text().splitlines()) < target:
            assert os.waitpid(pid, os.WNOHANG) == (0, 0), "the tuner ended before it was killed"
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        now = asked(lambda: kept(location), log.with_suffix(".answer"))
        seen.append({"killed": os.WIFSIGNALED(status), "lines": len(lines(log, "start")), **now})
    fork_and_wait(lambda: tune(location, log, 0.0))
    return {"seen": seen, "end": asked(lambda: kept(location), log.with_suffix(".answer"))}


def fork_and_wait(work: Callable[[], Any], count: int = 1) -> None:
    """Several at once."""
    pids = [fork(work) for _ in range(count)]
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)


def together(location: str, log: Path, seed: int) -> dict[str, Any]:
    """Three tuners of one study at once."""
    fork_and_wait(lambda: started(location, log))
    fork_and_wait(lambda: tune(location, log, 0.001), 3)
    return {"end": asked(lambda: kept(location), log.with_suffix(".answer"))}


def contest(location: str, log: Path, seed: int) -> dict[str, Any]:
    """Four processes claim the same configs in the same order, as fast as they can; who gets one writes it down."""
    fork_and_wait(lambda: started(location, log))

    def claim_all() -> None:
        made = studies.latest([storage.locate(location)], task(), "fake")
        mine = claims.Claims(made.storage, made.name, device(log, 0).space(task()), 60.0)
        for config in CONFIGS[:8]:
            if mine.claim(config) is not None:
                device(log, 0).write("start", config)
        device(log, 0).write("through", CONFIGS[0])
        while len(lines(log, "through")) < 4:  # a claim ends with its process
            time.sleep(0.01)

    fork_and_wait(claim_all, 4)
    return {}


if __name__ == "__main__":
    name, where, log_file, number = sys.argv[1:]
    Path(log_file).touch()
    storage.open_storage(storage.locate(f"{log_file}.warm.db"))  # what a database loads when it is first used
    print(json.dumps({"killed": killed, "together": together, "contest": contest}[name](
        where, Path(log_file), int(number))))  # fmt: skip
