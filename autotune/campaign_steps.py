"""What a campaign does around its measurements: say where they come from, measure the chip, judge the predictions."""

from __future__ import annotations

import csv
import importlib.metadata
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import __version__
from ..simulator.hardware import Hardware
from ..simulator.prediction import config_fields
from ..simulator.tiling import Tile
from . import profiles
from .devices import Device
from .measurement import Measurement
from .rank import rank
from .task import Task

PACKAGES = ("torch", "triton", "pytorch-triton-rocm", "numpy")
CLOCKS = ("driver_version", "clocks.max.sm", "clocks.max.memory", "clocks.sm", "temperature.gpu", "power.limit")
"""What nvidia-smi is asked for: MHz, degrees Celsius, watts."""


def provenance(device: Device) -> dict[str, Any]:
    """Where measurements of this process come from, as JSON has it."""
    from ..reports.provenance import profile_hash

    chip = Hardware.load(device.hardware)
    found: dict[str, Any] = {
        "device": device.name, "device_name": device_name(device), "hardware": chip.name,
        "profile_hash": profile_hash(chip), "attnsim": __version__, "python": platform.python_version(),
        "host": f"{platform.system()} {platform.machine()}", "commit": commit(),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "command": command(),
    }  # fmt: skip
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found | (clocks(device) if on_gpu(device) else {})


def on_gpu(device: Device) -> bool:
    return profiles.kind_of(device.name) == "cuda"


def device_name(device: Device) -> str:
    """The name that the driver gives a GPU, or the system its processor."""
    if on_gpu(device):
        import torch

        return torch.cuda.get_device_name(device.name)
    from .host import processor

    return processor()


def command() -> str:
    """How this process was started, without the folder of its program."""
    return " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])


def commit() -> str | None:
    """The commit of the checkout that runs, with "+changes" where files differ; None for an installed package."""
    folder, git = Path(__file__).parent, shutil.which("git")
    if git is None:
        return None
    head = output([git, "-C", str(folder), "rev-parse", "HEAD"])
    tracked = output([git, "-C", str(folder), "ls-files", "--error-unmatch", Path(__file__).name])
    if head is None or tracked is None:
        return None
    return head + ("+changes" if output([git, "-C", str(folder), "status", "--porcelain", "-uno"]) else "")


def clocks(device: Device) -> dict[str, Any]:
    """Driver, clocks, temperature and power limit of an NVIDIA GPU; empty where nvidia-smi is missing."""
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return {}
    index = device.name.partition(":")[2] or "0"
    visible = [entry for entry in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if entry]
    physical = visible[int(index)] if visible else index
    said = output([smi, "-i", physical, f"--query-gpu={','.join(CLOCKS)}", "--format=csv,noheader,nounits"])
    if not said:
        return {}
    values = next(csv.reader([said], skipinitialspace=True))
    return dict(zip((name.replace(".", "_") for name in CLOCKS), values, strict=False))


def output(command: Sequence[str]) -> str | None:
    """What a command prints; None where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write_profile(device: Device, path: Path) -> None:
    """Measure the chip and write its profile. Raises InputError where that cannot be done."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(profiles.measured(device.name))
    Hardware.load(str(temporary))
    os.replace(temporary, path)


def judged(task: Task, measured: Sequence[Measurement], hardware: str) -> dict[str, Any]:
    """How well the model orders the configs of a task that were measured, with a profile (a name or a file).

    kendall, first1, first2, first4: see `landscapes.scores`. predicted_s: of the config that was measured fastest;
    error: by how much it is off, over the measured time. None where there are fewer than two times.
    """
    from .landscapes import FIRST, scores

    found: dict[str, Any] = {"kendall": None, "predicted_s": None, "error": None}
    found |= {f"first{k}": None for k in FIRST}
    seconds = {m.config: m.median_s or math.inf for m in measured}
    timed = [config for config, time_s in seconds.items() if math.isfinite(time_s)]
    if not timed:
        return found
    ranked = rank(replace(task, hardware=hardware), seconds)
    best = min(timed, key=seconds.__getitem__)
    predicted_s = next(one.predicted_s for one in ranked if one.config == best)
    found["predicted_s"] = predicted_s
    found["error"] = None if predicted_s is None else predicted_s / seconds[best] - 1
    if len(timed) > 1 and any(one.predicted_s is not None for one in ranked):
        made = scores(seconds, [one.config for one in ranked])
        found["kendall"] = made.kendall
        found |= {f"first{k}": value for k, value in zip(FIRST, made.first, strict=True)}
    return found


def landscape_record(
    name: str, task: Task, measured: Sequence[Measurement], configs: Sequence[Tile], profiles: Mapping[str, str]
) -> dict[str, Any]:
    """A problem's part of the summary. configs: all there are, the kernel's own choice first. profiles: what each is
    called, and its name or file."""
    last = {m.config: m for m in measured}
    outcomes: dict[str, int] = {}
    for m in last.values():
        outcomes[m.outcome] = outcomes.get(m.outcome, 0) + 1
    best = min((m for m in last.values() if m.seconds), key=lambda m: m.median_s or math.inf, default=None)
    default = last.get(configs[0])
    return {
        "problem": name, "task": str(task), "implementation": task.implementation, "configs": len(configs),
        "measured": len(last), "outcomes": outcomes,
        "default": None if default is None else {"outcome": default.outcome, "reason": default.reason,
                                                 "measured_s": default.median_s},
        "best": None if best is None else {"config": config_fields(best.config), "measured_s": best.median_s,
                                           "spread": best.spread, "flags": list(best.flags)},
        "predictions": {called: judged(task, list(last.values()), where) for called, where in profiles.items()},
    }  # fmt: skip


def means(problems: Sequence[Mapping[str, Any]], called: str) -> dict[str, Any]:
    """Over the problems that could be judged with a profile: how many, geometric means of first1, first2 and first4,
    the mean of kendall, the median of the errors' sizes. None where there is nothing."""
    from .landscapes import summary

    rows = [one["predictions"][called] for one in problems]
    found: dict[str, Any] = {
        name: value if math.isfinite(value) else None for name, value in summary(rows).items() if name != "landscapes"
    }
    kendalls = [row["kendall"] for row in rows if row["kendall"] is not None]
    errors = [abs(row["error"]) for row in rows if row["error"] is not None]
    found["kendall"] = statistics.fmean(kendalls) if kendalls else None
    found["median_error"] = statistics.median(errors) if errors else None
    return found
