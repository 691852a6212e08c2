"""CPU time and memory of millions of sweep points, and the ratio to calling `predict` for each."""

from __future__ import annotations

import resource
import time

import numpy as np

import attnsim

POINTS = 333_334
CHIPS = ("b200", "h100")
VARIANTS = {"mha": {}, "sliding-window": {"window": 4096, "causal": True}, "linear-attention": {"causal": True}}
SAMPLE = 200


def main() -> None:
    """Sweep 3 variants x 2 chips x POINTS lengths, then a loop over a sample of the same points."""
    generator = np.random.default_rng(0)
    seq = generator.integers(1, 2**20, POINTS).astype(float)
    attnsim.sweep("mha", hardware="b200", seq=seq[:64])
    start = time.process_time()
    columns = {
        name: attnsim.sweep(name, hardware=CHIPS, seq=seq, heads=32, head_dim=128, **options)
        for name, options in VARIANTS.items()
    }
    swept = time.process_time() - start
    total = POINTS * len(CHIPS) * len(VARIANTS)
    worst = 0.0
    start = time.process_time()
    for name, options in VARIANTS.items():
        for index in range(SAMPLE):
            chip = index % 2
            p = attnsim.predict(name, hardware=CHIPS[chip], seq=int(seq[index]), heads=32, head_dim=128, **options)
            time_s = p.time_s
            other = columns[name]["ladder.schedule.time_s"][chip * POINTS + index]
            worst = max(worst, abs(time_s - other) / time_s)
    looped = (time.process_time() - start) / (SAMPLE * len(VARIANTS))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{total} points: {swept / total * 1e6:.2f} s of CPU per million, peak memory {memory:.2f} GiB")
    print(f"predict {looped * 1e6:.0f} us a call: sweep is {looped / (swept / total):.0f}x faster a point; "
          f"largest difference between them {worst:.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
