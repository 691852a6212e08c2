"""Work on several processes: results in order, errors, and processes that die."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import engine_scenarios
import pytest
from fake_device import CONFIGS, lines, processes

from attnsim.autotune import engine
from attnsim.autotune.isolated import Isolated
from attnsim.simulator.errors import InputError


@pytest.mark.parametrize("name", engine.ENGINES)
def test_a_killed_worker_costs_only_its_trial(name: str, tmp_path: Path) -> None:
    if name == "ray":
        pytest.importorskip("ray")
    log = tmp_path / "device"
    done = subprocess.run(
        [sys.executable, engine_scenarios.__file__, name, str(tmp_path / "studies.log"), str(log)],
        capture_output=True, text=True, timeout=120, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    configs = Counter(map(str, CONFIGS[:14]))
    assert Counter(found["configs"]) == Counter(lines(log, "done")) == configs
    assert (found["outcomes"], found["stopped"]) == (["ok"], "all 14 configs were tried")
    # One measurement was cut short, and made again by another process; a third one came in for the one that died.
    again = Counter(lines(log, "start")) - configs
    assert list(again.values()) == [1]
    begun = [line.split(" ", 2) for line in log.read_text().splitlines() if line.startswith("start")]
    assert {pid for _, pid, config in begun if config in again} > {str(found["killed"][0])}
    assert len(set(processes(log))) >= 2


def test_results_come_in_the_order_of_the_items() -> None:
    assert engine.run(abs, [-3, 1, -2], workers=2) == [3, 1, 2]
    assert engine.run(abs, []) == []


def test_what_an_item_raises_is_raised_here() -> None:
    with pytest.raises(ValueError, match="invalid literal for int"):
        engine.run(int, ["1", "one"], workers=2)


def by_a_child(number: int) -> int:
    with Isolated() as child:
        return child.run(abs, number, limit_s=60.0)


CHILDREN = """
import json, sys
from test_engine import by_a_child
from attnsim.autotune import engine
if __name__ == "__main__":
    print(json.dumps(engine.run(by_a_child, [-1, -2], 2, sys.argv[1])))
"""


@pytest.mark.parametrize("name", engine.ENGINES)
def test_workers_may_start_processes_of_their_own(name: str, tmp_path: Path) -> None:
    # As devices do: they measure in a process that a hang may take down.
    if name == "ray":
        pytest.importorskip("ray")
    (tmp_path / "children.py").write_text(CHILDREN)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "children.py"), name], capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [1, 2]


def die(code: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_item_that_always_dies_is_given_up() -> None:
    with pytest.raises(InputError, match="a worker process died 3 times"):
        engine.run(die, [0])


def test_workers_get_a_gpu_each(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = engine.run(os.getenv, ["CUDA_VISIBLE_DEVICES"] * 2, workers=2, gpus=True)
    assert sorted(map(str, seen)) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert engine.visible_gpus(2) == ["5", "7"]
    with pytest.raises(InputError, match="3 workers need a GPU each; there are 2"):
        engine.visible_gpus(3)


def test_a_cluster_that_is_not_there() -> None:
    pytest.importorskip("ray")
    with pytest.raises(InputError, match="unknown engine 'rey'; did you mean 'ray'"):
        engine.run(abs, [1], engine="rey")
    with pytest.raises(InputError, match="needs engine ray"):
        engine.run(abs, [1], address="localhost:6379")
    with pytest.raises(InputError, match="cannot join the Ray cluster at 'localhost:1': "):
        engine.run(abs, [1], engine="ray", address="localhost:1")
