"""What the site needs beyond mkdocs.yml: the packages where mkdocstrings looks for them, formulas, interactive reports.

Formulas are written as blocks of LaTeX called `math`, as code hosts show them, and become MathML, which browsers draw
by themselves.
"""

from __future__ import annotations

import re
import tempfile
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert
from mkdocs.plugins import event_priority

HERE = Path(__file__).parent
ROOT = HERE.parent
COLUMNS = 140
LINKS = tempfile.TemporaryDirectory(prefix="attnsim-docs-")
TRANSCRIPT = re.compile(r"^```console\n.*?^```$", re.DOTALL | re.MULTILINE)
SESSION = re.compile(r"(?:^>>> .*\n?(?:^(?!>>> )\S.*\n?|^\.\.\. .*\n?)*)+", re.MULTILINE)


def listed(text: str, names: set[str]) -> str:
    """A docstring whose sentences `name: what it is` are a list, where the names are those of its object."""
    word = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    entry = re.compile(rf"(?:^|(?<=[.;)`]) |\n)((?:{word})(?:, (?:{word}))*):\s")
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text):
        lead, *items = entry.split(paragraph)
        if items and not paragraph.startswith(("```", ">>>")):
            # What follows the last of them.
            items[-1], *rest = re.split(r"\s(?=Raises\s|Times\s+in\s)", items[-1], maxsplit=1)
            lines = [f"- `{name}`: {what.strip()}" for name, what in zip(items[::2], items[1::2], strict=True)]
            paragraph = "\n\n".join(filter(None, (lead.strip(), "\n".join(lines), *rest)))
        paragraphs.append(paragraph)
    return "\n\n".join(paragraphs)


class Docstrings(griffe.Extension):
    """Docstrings as Markdown: examples become blocks of code (`>>>` would be a quotation), arguments lists."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is None:
            return
        names = {name for name in obj.members if not name.startswith("_")}
        if isinstance(obj, griffe.Function):
            names = {parameter.name.lstrip("*") for parameter in obj.parameters}
        text = SESSION.sub(lambda m: f"```pycon\n{m[0].rstrip()}\n```\n", obj.docstring.value)
        obj.docstring.value = listed(text, names) if names else text


def formula(source: str, language: str, css_class: str, options: Any, md: Any, **kwargs: Any) -> str:
    """A block of LaTeX as MathML."""
    lines = [convert(line, display="block") for line in source.split(r"\\") if line.strip()]
    return f'<div class="formula">{"".join(lines)}</div>'


def packages(folder: Path) -> None:
    """The package as it is installed, of links to the folders that pyproject.toml maps."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"]
    for name, where in settings.items():
        target = folder.joinpath(*name.split("."))
        target.mkdir(parents=True, exist_ok=True)
        for path in (ROOT / where).iterdir():
            if not (target / path.name).exists():
                (target / path.name).symlink_to(path)


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: Any) -> Any:
    folder = Path(LINKS.name)
    packages(folder)
    python = config.plugins["mkdocstrings"].config.handlers["python"]
    python["paths"] = [str(folder)]
    python["options"]["extensions"] = [{f"{HERE / 'hooks.py'}:Docstrings": {}}]
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {}).setdefault("custom_fences", [])
    fences.append({"name": "math", "class": "formula", "format": formula})
    return config


def wrapped(block: re.Match[str]) -> str:
    """A transcript with its sentences as a terminal of 140 columns shows them; tables stay as they are."""
    lines = []
    for line in block[0].splitlines():
        indent = " " * (len(line) - len(line.lstrip()))
        prose = len(line) > COLUMNS and not re.search(r"\S {2,}\S|^\$ |─", line)
        lines += textwrap.wrap(line, COLUMNS, subsequent_indent=indent) if prose else [line]
    return "\n".join(lines)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Long sentences of transcripts are wrapped; a report of the gallery links to its interactive form, where that was
    made."""
    path = Path(page.file.abs_src_path)
    interactive = path.with_name("interactive.html")
    if path.parent.parent == HERE / "gallery" and interactive.exists():
        heading, _, rest = markdown.partition("\n")
        link = f"[Open it as one interactive page]({interactive.name})"
        return f"{heading}\n\n{link}{{ .md-button }}\n{rest}"
    return TRANSCRIPT.sub(wrapped, markdown)
