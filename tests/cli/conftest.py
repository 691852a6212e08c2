"""Runs the command line in this process: exit code, standard output, standard error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`run("predict", "mha")` runs `attnsim predict mha`."""
    from attnsim.cli import main

    def command(*arguments: str) -> Ran:
        monkeypatch.setattr("sys.argv", ["attnsim", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        captured = capsys.readouterr()
        return Ran(int(exit_.value.code or 0), captured.out, captured.err)

    return command


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a test's own, for its studies and records too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATTNSIM_RECORDS", str(tmp_path / "kept" / "records.json"))
    monkeypatch.setenv("ATTNSIM_STUDIES", str(tmp_path / "kept" / "studies.db"))
    return tmp_path
