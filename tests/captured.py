"""What the README and the pages of docs/ show is what commands print.

    <!-- output: COMMAND -->    a block of code with what COMMAND prints (README)
    <!-- table: COMMAND -->     Markdown that COMMAND prints
    ```console                  a transcript: `$ COMMAND`, then what it prints
    ```python                   run; where it holds `>>>`, a session with what it prints
    ```LANGUAGE title="PATH"    a file: written into a copy of the repository, where the page's commands then run

`python tests/captured.py [FILE ...]` runs all of it and writes what it gives; tests compare.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
COLUMNS = "140"
COPIED = (
    "attnsim", "simulator", "kernels", "autotune", "hardware_profiles", "reports", "tests", "benchmarks", "README.md",
    "pyproject.toml",
)  # fmt: skip
"""What a page that adds files needs a copy of."""
BLOCK = re.compile(r"(<!-- output: (.*?) -->\n```\n)(.*?)(```\n<!-- /output -->)", re.DOTALL)
TABLE = re.compile(r"(<!-- table: (.*?) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
STEP = re.compile(
    r"^<!-- table: (?P<table>.*?) -->\n(?P<rows>.*?)^<!-- /table -->"
    r"|^```(?P<language>[a-z]+)(?P<info>[^\n]*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
TITLE = re.compile(r'title="(.+?)"')
CUT = re.compile(r"(.*?)(?: \| (head|tail) -(\d+))?", re.DOTALL)
"""A command whose output is cut: here, since a pipe that closes early is an error to who writes into it."""
DURATION = re.compile(r"(, \d+ deselected)? in \d+\.\d+s\b.*")
"""What pytest says of the time, and of tests that were not chosen."""


def pages() -> list[Path]:
    """The pages of the docs that are written by hand."""
    return sorted(p for p in DOCS.rglob("*.md") if p.parent.parent != DOCS / "gallery")


def printed(command: str) -> str:
    """What `attnsim ...` prints, run in this process. Raises AssertionError where it fails."""
    from attnsim.cli import main

    before, columns = sys.argv, os.environ.get("COLUMNS")
    sys.argv, os.environ["COLUMNS"] = shlex.split(command), COLUMNS
    found, errors = io.StringIO(), io.StringIO()
    code: Any = None
    try:
        with contextlib.redirect_stdout(found), contextlib.redirect_stderr(errors):
            main()
    except SystemExit as done:
        code = done.code
    finally:
        sys.argv = before
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    assert code in (None, 0), f"{command}: {errors.getvalue()}"
    return found.getvalue()


class Place:
    """Where a page's commands run: an empty folder beside the benchmarks, or a copy of the repository to add to."""

    def __init__(self, folder: Path, copy: bool) -> None:
        self.folder, self.copy = folder, copy
        self.names: dict[str, Any] = {"__name__": "__page__"}
        for name in COPIED if copy else ("benchmarks",):
            if not copy:
                (folder / name).symlink_to(ROOT / name)
            elif (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, folder / name)

    def run(self, command: str) -> str:
        """What a command prints: ours in this process, unless files were added or a shell is needed."""
        command, which, count = CUT.fullmatch(command).groups()  # type: ignore[union-attr]
        own = command.startswith("attnsim ") and not self.copy and not set(command) & set("|<>;&$")
        text = (printed(command) if own else self._shell(command)).replace(f"{self.folder}/", "")
        lines = [f"{DURATION.sub('', line).rstrip()}\n" for line in text.splitlines()]
        if which is not None:
            lines = lines[: int(count)] if which == "head" else lines[-int(count) :]
        return "".join(lines)

    def _shell(self, command: str) -> str:
        # The copy goes first on Python's path, and the environment of this process on the shell's.
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        environment = {**os.environ, "PATH": path, "COLUMNS": COLUMNS, "PYTHONDONTWRITEBYTECODE": "1"}
        if self.copy:
            environment["PYTHONPATH"] = str(self.folder)
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command], cwd=self.folder, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def transcript(self, shown: str) -> str:
        """A block of commands, each with what it prints now."""
        commands = re.findall(r"^\$ (.*)$", shown, re.MULTILINE)
        return "".join(f"$ {command}\n{self.run(command)}" for command in commands)

    def python(self, code: str) -> str:
        """A block of Python, run; of a session with what it prints now."""
        if ">>> " not in code:
            exec(compile(code, "<page>", "exec"), self.names)
            return code
        lines = []
        for piece in doctest.DocTestParser().parse(code):
            if isinstance(piece, str):
                lines.append(piece)
                continue
            first, *more = piece.source.splitlines()
            lines += [f">>> {first}\n", *(f"... {line}\n" for line in more)]
            found = io.StringIO()
            with contextlib.redirect_stdout(found):
                exec(compile(piece.source, "<page>", "single"), self.names)
            lines.append(re.sub(r"^$", "<BLANKLINE>", found.getvalue().removesuffix("\n"), flags=re.MULTILINE))
            lines[-1] = lines[-1] + "\n" if found.getvalue() else ""
        return "".join(lines)

    def step(self, match: re.Match[str]) -> str:
        """A part of a page as it should be."""
        if match["table"] is not None:
            return f"<!-- table: {match['table']} -->\n{self.run(match['table'])}<!-- /table -->"
        code, title = match["code"], TITLE.search(match["info"])
        if title is not None:
            path = self.folder / title[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code)
        elif match["language"] == "console":
            code = self.transcript(code)
        elif match["language"] == "python":
            code = self.python(code)
        return f"```{match['language']}{match['info']}\n{code}```"


@contextlib.contextmanager
def place(copy: bool) -> Iterator[Place]:
    """A folder of its own to run commands in."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="attnsim-page-") as name:
        folder = Path(name).resolve()
        found = Place(folder, copy)
        os.chdir(folder)
        try:
            yield found
        finally:
            os.chdir(before)


def rendered(page: Path) -> str:
    """A page of the docs with everything that it shows run again."""
    text = page.read_text()
    copy = any(TITLE.search(match["info"] or "") for match in STEP.finditer(text))
    with place(copy) as here:
        return STEP.sub(here.step, text)


def shown(text: str) -> list[tuple[str, str]]:
    """Commands with what the README shows of them."""
    return [(match[2], match[3]) for form in (BLOCK, TABLE) for match in form.finditer(text)]


def regenerate(paths: list[Path]) -> None:
    """Write what everything gives now."""
    for path in paths:
        if path == README:
            text = README.read_text()
            for form in (BLOCK, TABLE):
                text = form.sub(lambda m: f"{m[1]}{printed(m[2])}{m[4]}", text)
        else:
            text = rendered(path)
        if text != path.read_text():
            path.write_text(text)
            print(f"rewritten: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    regenerate([Path(name).resolve() for name in sys.argv[1:]] or [README, *pages()])
