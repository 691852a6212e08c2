"""How far the fitted constants reach beyond what they were fitted on.

Every calibration file is fitted again without the slowest quarter of each table's calibration rows, and the held-out
rows of that quarter (slower than all that the fit has seen) are predicted: their error beside that of all held-out rows
with the shipped constants. A ratio above 1.5 is marked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnsim.autotune import calibrate, silicon
from attnsim.autotune.calibrate import Fit, Sample


def slowest(one: Sample, limit_s: float, slow: bool) -> Sample:
    """The same sample, of which only rows above (or up to) a latency count."""
    chosen = (one.latency_s > limit_s) == slow
    return replace(one, weight=chosen.astype(np.float64))


def error(fit: Fit, samples: list[Sample]) -> float:
    """Mean error in percent of the rows that count."""
    sizes = [100 * np.abs(1 / fit.ratios(one) - 1)[np.broadcast_to(one.weight, one.latency_s.shape) > 0]
             for one in samples]  # fmt: skip
    return float(np.concatenate(sizes).mean())


def main() -> None:
    jobs = calibrate.jobs()
    tables = {chip: list(silicon.tables([chip])) for chip in dict.fromkeys(chip for chip, _ in jobs)}
    worst = 0.0
    for chip, job in jobs:
        seen = calibrate.samples_of(chip, job, measured=tables[chip])
        unseen = calibrate.samples_of(chip, job, split="held-out", measured=tables[chip])
        if not seen or not unseen:
            continue
        limits = {one.key: float(np.quantile(one.latency_s, 0.75)) for one in seen}
        held = calibrate.held(job.path)
        short = calibrate.fit(job.path, [slowest(one, limits[one.key], False) for one in seen], held=held)
        whole = calibrate.fit(job.path, seen, held=held)
        beyond = error(short, [slowest(one, limits[one.key], True) for one in unseen if one.key in limits])
        usual = error(whole, [one for one in unseen if one.key in limits])
        worst = max(worst, beyond / usual)
        mark = "  beyond 1.5" if beyond > 1.5 * usual else ""
        name = f"{job.path.parent.name}/{job.path.stem}"
        print(f"{chip:5s} {name:40s} all held-out rows {usual:5.1f} %, slowest quarter unseen {beyond:5.1f} %{mark}")
    print(f"largest ratio {worst:.2f}")


if __name__ == "__main__":
    main()
