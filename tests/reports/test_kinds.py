"""Every kind of report, found by existing: its examples run, mistakes are one line, same inputs give same bytes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from attnsim import cli
from attnsim.commands.report import command as reports

KINDS = reports.list_commands(click.Context(reports))


def _subcommand(kind: str) -> click.Command:
    found = reports.get_command(click.Context(reports), kind)
    assert found is not None
    return found


def examples(kind: str) -> list[str]:
    """The command lines of a kind's help."""
    return re.findall(r"^\s*(attnsim report .*)$", _subcommand(kind).epilog or "", re.MULTILINE)


def _run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["attnsim", *words])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return int(exit_info.value.code or 0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_examples_and_says_what_it_does(kind: str) -> None:
    assert len(examples(kind)) >= 2
    assert _subcommand(kind).help
    names = {param.name for param in _subcommand(kind).params}
    assert {"hardware", "out", "forms"} <= names


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_example_writes_what_it_lists_the_same_each_time(kind: str, tmp_path: Path) -> None:
    words = shlex.split(examples(kind)[0])
    out = words[words.index("--out") + 1]
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        listed = done.stdout.split()
        assert {Path(name) for name in listed} == {Path(out) / p.name for p in (folder / out).iterdir()}
        found.append({p.name: p.read_bytes() for p in (folder / out).iterdir()})
    assert found[0] == found[1]
    text = next(data for name, data in found[0].items() if name.endswith(".md")).decode()
    assert "## How to reproduce" in text
    assert f"attnsim report {kind}" in text
    assert "/" not in text.split("sha256")[1].split(";")[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--hw", "b20", "--out", "new"), "unknown hardware 'b20'; did you mean"),
        (("--hw", "b200", "--out", "file"), "cannot write to 'file': it is a file, not a folder"),
        (("--hw", "b200", "--out", "new", "--format", "htlm"), "unknown format 'htlm'; did you mean 'html'"),
        (("--hw", "b200"), "Missing option '--out'"),
        (("--hw", ",", "--out", "new"), "--hw"),
    ],
)
def test_mistakes_are_one_line(
    kind: str, words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("keep")
    needed = ["mha"] if any(isinstance(p, click.Argument) and p.required for p in _subcommand(kind).params) else []
    assert _run(monkeypatch, "report", kind, *needed, *words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
