"""How far the fitted constants reach beyond what they were fitted on.

Every calibration file is fitted again without the slowest quarter of each table's calibration rows, and the held-out
rows of that quarter (slower than all that the fit has seen) are predicted: their error beside that of all held-out rows
with the constants fitted to all calibration rows. Kernels first, then cases; a ratio above 1.5 is marked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from attnsim.autotune import calibrate, silicon
from attnsim.autotune.calibrate import Fit, Sample
from attnsim.autotune.cases import cases

Errors = list[Any]
MOST_RATIO = 1.5


def only(one: Sample, limit_s: float) -> Sample:
    """The same sample, of which a fit counts only rows up to a latency."""
    return replace(one, weight=(one.latency_s <= limit_s).astype(np.float64))


def errors(fit: Fit, one: Sample) -> Any:
    """Error of each row in percent."""
    return 100 * np.abs(1 / fit.ratios(one) - 1)


def line(name: str, usual: Errors, beyond: Errors) -> str:
    a, b = (float(np.concatenate(values).mean()) for values in (usual, beyond))
    mark = "  beyond 1.5" if b > MOST_RATIO * a else ""
    return f"{name:48s} all held-out rows {a:5.1f} %, slowest quarter unseen {b:5.1f} %, ratio {b / a:4.2f}{mark}"


def main() -> None:
    jobs = calibrate.jobs()
    tables = {chip: list(silicon.tables([chip])) for chip in dict.fromkeys(chip for chip, _ in jobs)}
    by_case: dict[str, tuple[Errors, Errors]] = {}
    for chip, job in jobs:
        seen = calibrate.samples_of(chip, job, measured=tables[chip])
        limits = {one.key: float(np.quantile(one.latency_s, 0.75)) for one in seen}
        held = calibrate.held(job.path)
        short = calibrate.fit(job.path, [only(one, limits[one.key]) for one in seen], held=held)
        whole = calibrate.fit(job.path, seen, held=held)
        own: tuple[Errors, Errors] = ([], [])
        for one in calibrate.samples_of(chip, job, split="held-out", measured=tables[chip]):
            if one.key not in limits:
                continue
            slow = one.latency_s > limits[one.key]
            labels = cases(one.table)[one.rows]
            usual, beyond = errors(whole, one), errors(short, one)
            for label in dict.fromkeys(labels.tolist()):
                pair = by_case.setdefault(f"{chip} {label}", ([], []))
                pair[0].append(usual[labels == label])
                pair[1].append(beyond[(labels == label) & slow])
            own[0].append(usual)
            own[1].append(beyond[slow])
        if own[0] and sum(map(len, own[1])):
            print(line(f"{chip} {job.path.parent.name}/{job.path.stem}", *own), flush=True)
    print()
    for name, (usual, beyond) in sorted(by_case.items()):
        if sum(map(len, beyond)):
            print(line(name, usual, beyond))


if __name__ == "__main__":
    main()
