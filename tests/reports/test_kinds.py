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

ROOT = Path(__file__).parents[2]
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
    found = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        words[words.index("--out") + 1] = str(folder)
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert {Path(name) for name in done.stdout.split()} == set(folder.iterdir())
        found.append({p.name: p.read_bytes() for p in folder.iterdir()})
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


PREDICTED = ("anatomy", "atlas", "compare", "ladder", "roofline", "sensitivity")
"""Kinds whose chips need not have been measured."""


@pytest.mark.parametrize("kind", PREDICTED)
def test_a_chip_may_have_any_name_but_not_that_of_another(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("one.toml", "two.toml"):
        Path(file).write_text('format = 1\ninherits = "h100"\nname = "My Chip/1"\n')
    words = ("report", kind, "moba", "--out", "out", "--format", "svg")
    assert _run(monkeypatch, *words, "--hw", "one.toml,two.toml") == 2
    assert capsys.readouterr().err == "error: two chips are called 'My Chip/1': give the profiles different names\n"
    assert not Path("out").exists()
    assert _run(monkeypatch, *words, "--hw", "one.toml") == 0
    assert {Path(name) for name in capsys.readouterr().out.split()} == set(Path("out").glob("*.svg"))
