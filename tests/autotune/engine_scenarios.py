"""A study on several workers, one of which is killed in the middle, run as a script: `engine_scenarios.py ENGINE
STORAGE LOG`; Ray's processes and warnings stay with it. Prints the result as JSON."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from fake_device import CONFIGS, FakeDevice, processes, task

from attnsim.autotune.study import tune


def kill_one(log: Path, killed: list[int]) -> None:
    """Kill the process that started the fifth measurement, while it measures."""
    while len(processes(log)) < 5:
        time.sleep(0.01)
    killed.append(processes(log)[4])
    os.kill(killed[0], signal.SIGKILL)


def main(engine: str, where: str, log: Path) -> None:
    killed: list[int] = []
    log.touch()
    threading.Thread(target=kill_one, args=(log, killed), daemon=True).start()
    result = tune(task(), FakeDevice(str(log), 0.3, CONFIGS[:14]), storage=where, engine=engine, workers=2)
    print(json.dumps({
        "killed": killed, "configs": [str(trial.config) for trial in result.trials], "stopped": result.stopped,
        "outcomes": sorted({m.outcome for m in result.measurements}),
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
