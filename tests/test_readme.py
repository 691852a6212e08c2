"""The README shows what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
BLOCK = re.compile(r"<!-- output: (.*?) -->\n```\n(.*?)```\n<!-- /output -->", re.DOTALL)
TABLE = re.compile(r"<!-- table: (.*?) -->\n(.*?)<!-- /table -->", re.DOTALL)


@pytest.mark.parametrize(("command", "shown"), BLOCK.findall(README.read_text()) + TABLE.findall(README.read_text()))
def test_shown_output_is_what_is_printed(
    command: str, shown: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from attnsim.cli import main

    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    assert capsys.readouterr().out == shown, f"regenerate with: python tests/test_readme.py ({command})"


def regenerate() -> None:
    """Run every shown command and write what it prints into the README."""
    import os
    import subprocess

    def run(command: str) -> str:
        return subprocess.run(
            shlex.split(command), check=True, capture_output=True, text=True, env={**os.environ, "COLUMNS": "140"}
        ).stdout

    text = BLOCK.sub(lambda m: f"<!-- output: {m[1]} -->\n```\n{run(m[1])}```\n<!-- /output -->", README.read_text())
    README.write_text(TABLE.sub(lambda m: f"<!-- table: {m[1]} -->\n{run(m[1])}<!-- /table -->", text))


if __name__ == "__main__":
    regenerate()
