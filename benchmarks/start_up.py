"""CPU time of the first command a user types, against importing what it must import."""

from __future__ import annotations

import resource
import subprocess
import sys

BASE = [sys.executable, "-c", "import numpy, click, rich.table, rich.console"]
OURS = [sys.executable, "-m", "attnsim", "predict", "--hw", "b200"]
RUNS = 9


def cpu_seconds(command: list[str]) -> float:
    """User and system seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def main() -> None:
    """Print medians and their ratio; the two commands take turns."""
    cpu_seconds(BASE), cpu_seconds(OURS)
    pairs = [(cpu_seconds(BASE), cpu_seconds(OURS)) for _ in range(RUNS)]
    base, ours = (sorted(column)[RUNS // 2] for column in zip(*pairs, strict=True))
    print(f"imports alone {base:.3f} s, attnsim predict --hw b200 {ours:.3f} s: {ours / base:.2f}x")


if __name__ == "__main__":
    main()
