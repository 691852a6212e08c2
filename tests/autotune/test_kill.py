"""Tuners that are killed, and tuners that compete: nothing is lost, nothing is measured twice, nothing is corrupt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import kill_scenarios
import pytest
from fake_device import lines

STORAGES = ("studies.db", "studies.log")


def scenario(name: str, folder: Path, storage: str) -> tuple[dict[str, Any], Path]:
    """What a scenario found, and the device's log."""
    log = folder / "device"
    done = subprocess.run(
        [sys.executable, kill_scenarios.__file__, name, str(folder / storage), str(log), "7"],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), log


@pytest.mark.parametrize("storage", STORAGES)
def test_twenty_kills_lose_nothing_and_repeat_nothing(storage: str, tmp_path: Path) -> None:
    found, log = scenario("killed", tmp_path, storage)
    configs = sorted(map(str, kill_scenarios.CONFIGS))
    assert [one["killed"] for one in found["seen"]] == [True] * 20
    assert sorted(found["end"]["measured"]) == sorted(found["end"]["complete"]) == configs
    assert found["end"]["unfinished"] == []
    begun = lines(log, "start")
    before: set[str] = set()
    for one in found["seen"]:
        recorded = set(one["measured"])
        assert before <= recorded, "a kill lost what was recorded"
        assert not recorded & set(begun[one["lines"] :]), "what was recorded was measured again"
        before = recorded
    # A measurement that was cut short is made again, at most one a kill.
    assert len(configs) < len(begun) <= len(configs) + 20
    assert 0 < len(before) < len(configs)


@pytest.mark.parametrize("storage", STORAGES)
def test_workers_at_once_measure_every_config_once(storage: str, tmp_path: Path) -> None:
    found, log = scenario("together", tmp_path, storage)
    assert Counter(lines(log, "start")) == Counter(map(str, kill_scenarios.CONFIGS))
    assert sorted(found["end"]["complete"]) == sorted(map(str, kill_scenarios.CONFIGS))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_config_that_all_claim_at_once_is_given_to_one(storage: str, tmp_path: Path) -> None:
    _, log = scenario("contest", tmp_path, storage)
    assert Counter(lines(log, "start")) == Counter(map(str, kill_scenarios.CONFIGS[:8]))
