"""The model's order beside Optuna's random and TPE samplers, on measured landscapes of tiles.

Every sampler may measure so many configs of a landscape; shown is the best time of the landscape over the best that was
found, 1 being the best there is, averaged over seeds. What Optuna's samplers propose that is illegal or was measured
before costs them nothing. Over tuning time, where a landscape has recorded how long compiling and measuring took: the
same after a quarter, half and all of the time that the model's trials took.

FILES are recordings, tables of published landscapes or folders of recordings; by default all below benchmarks/measured.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from attnsim.autotune import archives, compare, landscapes
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.rank import rank
from attnsim.autotune.space import Space
from attnsim.simulator.errors import InputError
from attnsim.simulator.tiling import Tile

MEASURED = Path(__file__).parent / "measured"


@dataclass(frozen=True)
class Case:
    """A landscape with the model's order, or the reason why there is none."""

    name: str
    chip: str
    space: Space | None = None
    landscape: dict[Tile, Measurement] | None = None
    order: tuple[Tile, ...] = ()
    reason: str = ""


def cases(path: Path) -> Iterator[Case]:
    """The landscapes of a file."""
    if path.suffix == ".csv":
        yield from published(path)
        return
    recording = archives.read(path)
    for task in recording.tasks:
        found = {m.config: m for m in reversed(recording.of(task))}  # the first measurement of each, with its costs
        space = Space.among(found)
        order = tuple(one.config for one in rank(task, space.configs))
        reason = "" if any(m.seconds for m in found.values()) else "none of its configs has a time"
        yield Case(f"{path.stem}: {task}", task.chip.name, space, found, order, reason)


def published(path: Path) -> Iterator[Case]:
    """Those of a table, which state no tuning time. Of configs that the model takes for one, the first in its order."""
    for one in landscapes.read(path):
        if one.task is None:
            yield Case(one.id, one.chip, reason=one.reason)
            continue
        found: dict[Tile, Measurement] = {}
        for text in landscapes.model_order(one):
            time_s, config = one.seconds[text], one.configs[text]
            ran = math.isfinite(time_s)
            found.setdefault(
                config, Measurement(one.task, config, "ok" if ran else "invalid", (time_s,) if ran else ())
            )
        yield Case(one.id, one.chip, Space.among(found), found, tuple(found))


def compared(case: Case, trials: int, seeds: int) -> dict[str, Any]:
    """A landscape's rows as JSON has them."""
    base = {"landscape": case.name, "chip": case.chip, "configs": len(case.space) if case.space else 0}
    if case.reason or case.space is None or case.landscape is None:
        return {**base, "reason": case.reason}
    if len(case.space) <= trials:
        return {**base, "reason": f"it has no more than {trials} configs"}
    try:
        rows = compare.compare(case.space, case.landscape, case.order, trials, seeds)
    except InputError as error:
        return {**base, "reason": str(error)}
    return {**base, "reason": None, "samplers": [asdict(row) for row in rows]}


def means(found: Sequence[dict[str, Any]], trials: int) -> list[dict[str, Any]]:
    """Over the landscapes that were compared, one entry a sampler. ahead, behind: landscapes at whose last trial the
    model is better or worse than the sampler's average by more than 0.1 %."""
    done = [one["samplers"] for one in found if one["reason"] is None]
    entries = []
    for index, row in enumerate(done[0] if done else ()):
        mine = [one[index] for one in done]
        timed = [one["by_time"] for one in mine if one["by_time"] is not None]
        gaps = [one[0]["by_trials"][trials] / max(one[index]["by_trials"][trials], 1e-9) for one in done]
        entries.append({
            "sampler": row["sampler"], "landscapes": len(mine),
            "by_trials": {k: statistics.fmean(one["by_trials"][k] for one in mine) for k in range(1, trials + 1)},
            "timed_landscapes": len(timed),
            "by_time": {f: statistics.fmean(one[f] for one in timed) for f in compare.FRACTIONS} if timed else None,
            "ahead": sum(gap > 1.001 for gap in gaps), "behind": sum(gap < 0.999 for gap in gaps),
        })  # fmt: skip
    return entries


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> Table:
    grid = Table(title=title, title_justify="left")
    for index, head in enumerate(heads):
        grid.add_column(head, justify="right" if index else "left")
    for row in rows:
        grid.add_row(*row)
    return grid


def show(found: Sequence[dict[str, Any]], averages: Sequence[dict[str, Any]], trials: int, seeds: int) -> None:
    """The table of landscapes, then the averages."""
    console = Console(width=170)
    done = [one for one in found if one["reason"] is None]
    names = [entry["sampler"] for entry in averages]
    last = [f"{name} @{k}" for k in (1, trials) for name in names]
    rows = [
        [one["landscape"], one["chip"], str(one["configs"]),
         *(f"{row['by_trials'][k]:.3f}" for k in (1, trials) for row in one["samplers"])]
        for one in done
    ]  # fmt: skip
    console.print(table(("landscape", "chip", "configs", *last), rows, f"best / best found, {seeds} seeds"))
    counts = [k for k in (1, 2, 4, 8, 16, 32) if k < trials] + [trials]
    times = [f"{fraction:.0%} of time" for fraction in compare.FRACTIONS]
    rows = [
        [entry["sampler"], *(f"{entry['by_trials'][k]:.4f}" for k in counts),
         *(("-",) * len(times) if entry["by_time"] is None else (f"{t:.4f}" for t in entry["by_time"].values())),
         f"{entry['ahead']} / {entry['behind']}"]
        for entry in averages
    ]  # fmt: skip
    timed = averages[0]["timed_landscapes"] if averages else 0
    heads = ("sampler", *(f"{k} trials" for k in counts), *times, "model ahead / behind")
    console.print(table(heads, rows, f"mean of {len(done)} landscapes; over time, of the {timed} that recorded it"))
    for one in found:
        if one["reason"] is not None:
            console.print(f"not compared: {one['landscape']}: {one['reason']}", markup=False, highlight=False)


@click.command(help=__doc__)
@click.argument("files", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--trials", default=8, show_default=True, help="Configs that each sampler may measure.")
@click.option("--seeds", default=20, show_default=True, help="Runs of each of Optuna's samplers.")
@click.option("--only", default="", help="Landscapes whose name contains this.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def main(files: tuple[Path, ...], trials: int, seeds: int, only: str, form: str) -> None:
    """Compare and print."""
    paths = [path for given in files or (MEASURED / "landscapes", *measured_recordings()) for path in inside(given)]
    found = [compared(case, trials, seeds) for path in paths for case in cases(path) if only in case.name]
    averages = means(found, trials)
    if form == "json":
        print(json.dumps({"trials": trials, "seeds": seeds, "landscapes": found, "means": averages}, indent=1))
    else:
        show(found, averages, trials, seeds)


def inside(path: Path) -> list[Path]:
    """A file, or the tables and recordings of a folder."""
    return sorted(p for p in path.rglob("*") if p.suffix in (".csv", ".json")) if path.is_dir() else [path]


def measured_recordings() -> list[Path]:
    """Recordings of campaigns: benchmarks/measured/<chip>/<date>/*.json."""
    return sorted(path for path in MEASURED.glob("*/*/*.json") if '"measurements"' in path.read_text())


if __name__ == "__main__":
    main()
