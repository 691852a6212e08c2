"""The pages of docs/ show what commands print, their walk-throughs work, and the site needs no network."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from captured import DOCS, ROOT, STEP, TITLE, pages, printed, rendered

WALKS = ("variant", "chip", "implementation", "kernel")
QUIET = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
FAST = (
    "roofline-prefill", "roofline-decode", "anatomy", "ladder", "compare", "sensitivity", "landscape",
    "validate-published",
)  # fmt: skip
"""Entries of the gallery that are made again here."""
SLOW = ("atlas", "validate-silicon")


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    """docs/gallery.py."""
    spec = importlib.util.spec_from_file_location("gallery", DOCS / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gallery"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_page_shows_what_is_printed(page: Path) -> None:
    assert rendered(page) == page.read_text(), f"regenerate with: python tests/captured.py {page.relative_to(ROOT)}"


def test_pages_run_what_they_show() -> None:
    steps = {page.stem: [m["language"] for m in STEP.finditer(page.read_text())] for page in pages()}
    assert steps["tour"].count("console") >= 9
    assert steps["ladder"].count("python") >= 12
    for name in WALKS:
        text = (DOCS / "add" / f"{name}.md").read_text()
        assert any(TITLE.search(match["info"] or "") for match in STEP.finditer(text)), "it writes a file"
        assert "pytest" in text or "ruff" in text


def test_worked_examples_agree_with_the_model() -> None:
    """A pair of like values in a session of the ladder is a formula and what the model says."""
    pairs = []
    for line in (DOCS / "ladder.md").read_text().splitlines():
        if re.fullmatch(r"\((?:[\d.]+|'[\d.]+ ?\w+'), (?:[\d.]+|'[\d.]+ ?\w+')\)", line):
            pairs.append(ast.literal_eval(line))
        assert line != "False"
    assert len(pairs) >= 16
    for ours, models in pairs:
        assert ours == models


def test_letters_are_those_of_the_code() -> None:
    from attnsim.reports.document import MARKS
    from attnsim.simulator.formulas import LETTERS
    from attnsim.simulator.prediction import RUNGS

    text = (DOCS / "words.md").read_text()
    rows = dict(re.findall(r"^\| (\w+) \| `(\w+)`", text, re.MULTILINE))
    assert {letter: name for name, letter in LETTERS.items()}.items() <= rows.items()
    for mark, meaning in MARKS.items():
        assert f"| {mark} | {meaning} |" in text
    assert all(f"`{rung}`" in text for rung in RUNGS)


def test_every_field_of_the_json_is_explained() -> None:
    shown = json.loads(printed("attnsim predict mha --hw h100 --measured 2ms --format json"))["predictions"][0]
    text = (DOCS / "json.md").read_text()
    table = text[text.index("## Fields") : text.index("## Other")]
    explained = {
        name for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in cell.strip("`").split("`, `")
    }

    def fields(value: Any, path: str = "") -> Iterator[str]:
        if path in explained or not isinstance(value, dict):
            yield path
            return
        for name, inner in value.items():
            yield from fields(inner, f"{path}.{name}".lstrip("."))

    assert set(fields(shown)) == explained


@pytest.mark.parametrize("name", FAST)
def test_the_gallery_is_made_again_to_the_byte(name: str, gallery: ModuleType, tmp_path: Path) -> None:
    kept = DOCS / "gallery" / name
    files = {path.name: path.read_bytes() for path in kept.iterdir() if path.suffix in (".md", ".svg")}
    page = next(text.decode() for file, text in files.items() if file.endswith(".md"))
    made_with = re.findall(r"(numpy|matplotlib) ([\d.]+\d)", page)
    assert len(made_with) == 2
    if any(version(library) != number for library, number in made_with):
        pytest.skip(f"the gallery was made with {' '.join(map(' '.join, made_with))}: constraints.txt pins them")
    gallery.make(gallery.entries(name)[0], tmp_path / name)
    assert {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} == files


def test_the_gallery_is_whole(gallery: ModuleType) -> None:
    from attnsim.commands.report import command

    folder = DOCS / "gallery"
    names = {entry.name for entry in gallery.ENTRIES}
    assert {path.name for path in folder.iterdir() if path.is_dir()} == names == {*FAST, *SLOW}
    assert (folder / "index.md").read_text() == gallery.index()
    kinds = {entry.command.split()[2] for entry in gallery.ENTRIES}
    assert kinds == set(command.list_commands(None))  # type: ignore[arg-type]
    sections = (DOCS / "reports.md").read_text().split("\n## ")[1:]
    shown = {
        section.partition("\n")[0].lower() for section in sections if re.search(r"!\[.*?\]\(gallery/\S+\)", section)
    }
    assert shown == kinds, "reports.md shows a picture of each kind"
    kept = [path for path in folder.rglob("*") if path.suffix in (".md", ".svg")]
    assert sum(path.stat().st_size for path in kept) < 6e6
    for path in kept:
        assert not re.search(rb"/home/|/root/|/tmp/|\.\./shared", path.read_bytes()), path


class Fetched(HTMLParser):
    """What a page fetches: scripts, styles, pictures, frames."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        links = tag == "link" and given.get("rel") in ("stylesheet", "preload", "preconnect", "icon", "modulepreload")
        if tag in ("script", "img", "iframe", "source", "video", "object", "embed"):
            self.found += [value for name in ("src", "srcset", "data") if (value := given.get(name))]
        elif links and given.get("href"):
            self.found.append(str(given["href"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=QUIET, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_site_fetches_nothing(site: Path) -> None:
    built = list(site.rglob("*.html"))
    assert len(built) > len(pages())
    for path in built:
        page = Fetched()
        page.feed(path.read_text())
        assert page.found
        assert [url for url in page.found if re.match(r"(https?:)?//", url)] == [], path
    for path in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?https?:", path.read_text()), path


def test_formulas_are_drawn_without_scripts(site: Path) -> None:
    text = (site / "ladder.html").read_text()
    assert text.count("<math") >= 20
    assert "katex" not in text.lower()
    assert "mathjax" not in text.lower()


def test_the_reference_has_docstrings(site: Path) -> None:
    text = (site / "api.html").read_text()
    for name in ("predict", "sweep", "Prediction", "Hardware", "InputError", "variants.Variant", "kernels.attention",
                 "autotune.prune"):  # fmt: skip
        assert f'id="attnsim.{name}"' in text, name
    assert "clock_sustained_hz" in text
