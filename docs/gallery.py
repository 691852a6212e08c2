"""The gallery: reports of every kind, made by the commands that it shows.

`python docs/gallery.py` makes all of them again: Markdown and pictures, which are kept in the repository, and the
interactive pages, which are not. `--only NAME,NAME` makes some, `--no-html` leaves the pages out.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "gallery"
ROOT = Path(__file__).parent.parent
FORMS = "md,svg"
"""What is kept in the repository."""
IMAGE = re.compile(r"!\[(.*?)\]\((\S+?\.svg)\)")


@dataclass(frozen=True)
class Entry:
    """A report of the gallery. name: its folder; question: what a reader would ask; command: without --out."""

    name: str
    question: str
    command: str


VIDEO = "--shape 30x48x80 --heads 24 -p window=18x24x24"
"""The tokens of a video model, 5 s at 720p."""
ENTRIES = (
    Entry(
        "roofline-prefill", "Where do mechanisms stand under the roofs of two chips, over 32k tokens?",
        "attnsim report roofline mha gqa mla sliding-window moba gated-deltanet --hw b200,h100 --seq 32k --causal",
    ),
    Entry(
        "roofline-decode", "Where do they stand when 32 sequences decode over a cache of 32k?",
        "attnsim report roofline mha gqa mla sliding-window gated-deltanet --hw h200,mi300x --batch 32 --seq 1 "
        "--kv-len 32k --causal",
    ),
    Entry(
        "anatomy", "What is this mechanism made of: formulas, dataflow, tiles?",
        f"attnsim report anatomy gna --hw b200 {VIDEO} --q-tile 4x8x8 --kv-tile 2x8x8",
    ),
    Entry(
        "ladder", "What becomes of the speedup that a paper promises, step by step?",
        f"attnsim report ladder gna --hw b200 {VIDEO} --q-tile 4x8x8 --kv-tile 2x8x8 --baseline-time 135ms "
        "--measured 42ms",
    ),
    Entry(
        "compare", "From which length on does a mechanism pay?",
        "attnsim report compare mha sliding-window moba gated-deltanet mla --hw h100,b200 --seq 1k..1M --causal",
    ),
    Entry(
        "atlas", "Which mechanism is fastest on which chip, and what limits it?",
        "attnsim report atlas --hw a100,h100,h200,b200,l40s,rtx-5090,mi300x,mi355x,tpu-v5p",
    ),
    Entry(
        "sensitivity", "What should a chip designer double, what should a model designer change?",
        "attnsim report sensitivity moba --hw b200,h100 --seq 32k --causal",
    ),
    Entry(
        "landscape", "Does the model put the fast tiles first, on landscapes that others measured?",
        "attnsim report landscape benchmarks/measured/landscapes/published.csv",
    ),
    Entry(
        "validate-published", "How far off are predictions from the times that papers publish?",
        "attnsim report validate --data benchmarks/measured/published_dense.csv --hw h100",
    ),
    Entry(
        "validate-silicon", "How far off are they from tables of a serving framework, on a chip never fitted?",
        "attnsim report validate --hw h200 --operation context,decode --framework vllm",
    ),
)  # fmt: skip


def write(entry: Entry, forms: str, folder: Path) -> None:
    """Run an entry's command, at the top of the repository."""
    from attnsim.cli import main

    before, where = sys.argv, Path.cwd()
    os.chdir(ROOT)
    sys.argv = [*shlex.split(entry.command), "--out", str(folder), "--format", forms]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            main()
    except SystemExit as done:
        if done.code not in (None, 0):
            raise SystemExit(f"{entry.name}: {shlex.join(sys.argv)} failed") from None
    finally:
        sys.argv = before
        os.chdir(where)


def make(entry: Entry, folder: Path, interactive: bool = False) -> None:
    """Write an entry's report anew into its folder; the interactive page under a name that no page of a site has."""
    with tempfile.TemporaryDirectory(prefix="attnsim-gallery-") as name:
        made = Path(name)
        write(entry, FORMS, made / "kept")
        if interactive:
            write(entry, "html", made / "page")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for path in (made / "kept").iterdir():
            shutil.copyfile(path, folder / path.name)
        for path in made.glob("page/*.html"):
            shutil.copyfile(path, folder / "interactive.html")


def index() -> str:
    """The page that lists them: the question, the command, the first picture."""
    lines = [
        "# Gallery", "",
        "Reports of every kind, as the command below each question writes them. `python docs/gallery.py` makes all of "
        "them again; a test makes some and compares them to the byte.", "",
    ]  # fmt: skip
    for entry in ENTRIES:
        page = next(iter(sorted((FOLDER / entry.name).glob("*.md"))))
        text = page.read_text()
        title = text.partition("\n")[0].removeprefix("# ")
        lines += [f"## {entry.question}", "", f"[{title}]({entry.name}/{page.name})", ""]
        image = IMAGE.search(text)
        if image is not None:
            lines += [f"[![{image[1]}]({entry.name}/{image[2]})]({entry.name}/{page.name})", ""]
        lines += ["```sh", f"{entry.command} --format {FORMS} --out DIR", "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def entries(names: str | None) -> list[Entry]:
    """Those asked for. Raises SystemExit for an unknown name."""
    wanted = [entry.name for entry in ENTRIES] if names is None else names.split(",")
    unknown = set(wanted) - {entry.name for entry in ENTRIES}
    if unknown:
        raise SystemExit(f"no such entry: {', '.join(sorted(unknown))}")
    return [entry for entry in ENTRIES if entry.name in wanted]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="NAME,NAME")
    parser.add_argument("--no-html", action="store_true")
    given = parser.parse_args()
    for one in entries(given.only):
        print(one.command)
        make(one, FOLDER / one.name, interactive=not given.no_html)
    (FOLDER / "index.md").write_text(index())
