"""Ranking and compiling without a GPU: for every fixed problem the seconds that ranking its whole space takes, those
that compiling the first configs takes on 2 cores with an empty cache, each as a share of what it may take, and what
spills.
"""

from __future__ import annotations

import os
import resource
import tempfile
import time
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table

from attnsim.autotune.devices.offline import compile_configs
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.problems import Named, problems
from attnsim.autotune.rank import rank, rerank
from attnsim.autotune.space import Space

RANK_LIMIT_S = 1.0
COMPILE_LIMIT_S = 15.0
FIRST = 8
WORKERS = 2


@dataclass(frozen=True)
class Row:
    """A problem on a chip. cpu_s: of all compilers together, which other work on the machine does not lengthen."""

    name: str
    kernel: str
    configs: int
    rank_s: float
    compile_s: float
    cpu_s: float
    compiled: tuple[Measurement, ...]
    moved: int

    @property
    def faults(self) -> list[str]:
        """What spills or does not compile."""
        return [
            f"{self.name}: {m.config} {'spills ' + str(m.spill_bytes) + ' bytes' if m.spill_bytes else m.reason}"
            for m in self.compiled
            if m.spill_bytes or m.outcome != "compiled"
        ]


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured(problem: Named, chip: str, every: bool) -> Row:
    """One problem; every: compile its whole space."""
    task = problem.task(chip)
    begin = time.perf_counter()
    space = Space.of(task)
    ranked = rank(task, space.configs)
    rank_s = time.perf_counter() - begin
    configs = [one.config for one in (ranked if every else ranked[:FIRST])]
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TRITON_CACHE_DIR"] = cache
        begin, cpu_s = time.perf_counter(), cpu_of_children()
        compiled = compile_configs(task, configs, WORKERS)
        compile_s, cpu_s = time.perf_counter() - begin, cpu_of_children() - cpu_s
    again = [one.config for one in rerank(task, ranked, compiled)]
    moved = sum(a != b for a, b in zip((one.config for one in ranked), again, strict=False))
    return Row(problem.name, task.implementation, len(space), rank_s, compile_s, cpu_s, tuple(compiled), moved)


def show(rows: list[Row], chip: str, console: Console) -> None:
    """A row for each problem, then the worst of each, and what spills or does not compile."""
    table = Table(title=chip, title_justify="left")
    for name in ("problem", "kernel", "configs", "rank", "compile", "of limit", "CPU", "places changed", "spills"):
        table.add_column(name, justify="left" if name in ("problem", "kernel") else "right")
    for row in rows:
        table.add_row(row.name, row.kernel, str(row.configs), f"{row.rank_s:.3f} s", f"{row.compile_s:.1f} s",
                      f"{row.compile_s / COMPILE_LIMIT_S:.0%}", f"{row.cpu_s:.1f} s", str(row.moved),
                      str(len(row.faults)))  # fmt: skip
    console.print(table)
    slowest = max(rows, key=lambda row: row.rank_s), max(rows, key=lambda row: row.compile_s)
    console.print(f"{chip}: ranking takes {slowest[0].rank_s / RANK_LIMIT_S:.0%} of {RANK_LIMIT_S:g} s at most "
                  f"({slowest[0].name}); compiling {slowest[1].compile_s / COMPILE_LIMIT_S:.0%} of "
                  f"{COMPILE_LIMIT_S:g} s ({slowest[1].name})")  # fmt: skip
    for row in rows:
        for fault in row.faults:
            console.print(f"{chip}: {fault}")


@click.command(help=__doc__)
@click.option("--chip", "chips", multiple=True, default=("h100", "b200"), show_default=True)
@click.option("--only", default="", help="Problems whose name contains this.")
@click.option("--all", "every", is_flag=True, help="Compile whole spaces, to find what spills; limits mean nothing.")
def main(chips: tuple[str, ...], only: str, every: bool) -> None:
    """Measure and print."""
    console = Console(width=140)
    for chip in chips:
        rows = [measured(problem, chip, every) for problem in problems() if only in problem.name]
        if rows:
            show(rows, chip, console)


if __name__ == "__main__":
    main()
