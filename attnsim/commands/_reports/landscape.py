"""attnsim report landscape: predicted and measured times of tuning configs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...simulator.errors import InputError
from ._shared import check_output, chosen_chips, command_line, finish, output_options

if TYPE_CHECKING:
    from ...autotune.archives.landscapes import Landscape
    from ...simulator.api import LeftOut

PUBLISHED = Path("benchmarks", "measured", "landscapes", "published.csv")
"""In a clone of the repository: no package holds it."""


@click.command(
    epilog="""\b
Examples:
  attnsim report landscape --hw a100-40gb,h100 --out landscapes
  attnsim report landscape published.csv --out published --format html
  attnsim report landscape recording.json 3fa2c1 --out tuned --format md,png
""",
)
@click.argument("sources", nargs=-1, metavar="[FILE|STUDY]...")
@click.option("--hw", "hardware", metavar="NAME[,NAME]", help="Only landscapes of these chips (default: all).")
@click.option("--storage", metavar="URL|FILE", help="Where studies are (default: the file under ~/.cache/attnsim).")
@output_options
@click.pass_context
def command(
    context: click.Context, /, sources: tuple[str, ...], hardware: str | None, storage: str | None, out: str, forms: str
) -> None:
    """Tuning landscapes: every config's predicted and measured time, the winner, and the model's first choice.

    FILE is a table of published landscapes (.csv), a recording (`attnsim autotune --export`, `attnsim campaign`), a
    folder of recordings, a TorchInductor log or a T4 file that states its task; STUDY is a study of `attnsim autotune`
    (part of its name will do). Without either, in a clone of the repository: its published landscapes.
    """
    folder, formats = check_output(out, forms)
    chips = chosen_chips(hardware)
    sources = sources or shipped()
    from ...reports.kinds.landscape import document
    from ...reports.provenance import data_files

    found, left_out = chosen([one for source in sources for one in read(source, storage)], chips)
    data: dict[str, str] = {}
    for source in sources:
        files = files_of(Path(source))
        data |= {n: f"sha256 {d}" for n, d in data_files(files).items()} if files else {source: "a study"}
    finish(document(found, command_line(context), data, left_out), folder, formats, left_out)


def shipped() -> tuple[str, ...]:
    """The published landscapes of the repository. Raises InputError elsewhere."""
    if not PUBLISHED.is_file():
        raise InputError("no landscape is given: name a .csv table, a recording or a study (`attnsim autotune show` "
                         "lists them)")  # fmt: skip
    return (str(PUBLISHED),)


def read(source: str, storage: str | None) -> list[Landscape]:
    """The landscapes of a file, a folder or a study. Raises InputError."""
    from ...autotune import landscapes
    from .._autotune._studies import recording_of

    if Path(source).exists():
        return landscapes.read(source)
    if Path(source).suffix or "/" in source:
        raise InputError(f"cannot read {source!r}: no such file")
    return landscapes.recorded(recording_of(source, storage), source)


def files_of(path: Path) -> Sequence[Path]:
    """The files of a source, none for a study."""
    return sorted(path.rglob("*.json")) if path.is_dir() else [path] if path.exists() else []


def chosen(found: Iterable[Landscape], chips: Collection[str] | None) -> tuple[list[Landscape], list[LeftOut]]:
    """The landscapes of some chips, and the chips that have none. Raises InputError where no chip has any."""
    from ...simulator.api import LeftOut
    from ...simulator.hardware import profile_of_device

    every = list(found)
    if chips is None:
        return every, []
    chip_of = [one.task.chip.name if one.task else profile_of_device(one.chip) for one in every]
    kept = [one for one, chip in zip(every, chip_of, strict=True) if chip in chips]
    missing = [chip for chip in chips if chip not in chip_of]
    known = ", ".join(sorted({name for name in chip_of if name is not None})) or "no known chip"
    if not kept:
        raise InputError(f"there is no landscape of {', '.join(map(repr, missing))}; there are of {known}")
    return kept, [LeftOut("landscape", chip, f"there is none; there are of {known}") for chip in missing]
