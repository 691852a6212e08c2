"""Time and memory of counting large masks."""

from __future__ import annotations

import time
import tracemalloc

from attnsim.simulator.masks import BandMask, NeighbourhoodMask

CASES = {
    "video 30x48x80, tiles 4x8x8 by 2x8x8": (
        NeighbourhoodMask((30, 48, 80), (18, 24, 24), (1, 1, 1), (1, 1, 1), (False,) * 3), (4, 8, 8), (2, 8, 8)),
    "video 30x48x80, tiles of 128 by 128 flattened tokens": (
        NeighbourhoodMask((30, 48, 80), (18, 24, 24), (1, 1, 1), (1, 1, 1), (False,) * 3), (128,), (128,)),
    "video 30x48x80, tiles of 64 by 64 flattened tokens": (
        NeighbourhoodMask((30, 48, 80), (18, 24, 24), (1, 1, 1), (1, 1, 1), (False,) * 3), (64,), (64,)),
    "1M tokens, causal window 4096, tiles 128 by 64": (BandMask(2**20, 2**20, 4095, 0), (128,), (64,)),
    "1M tokens, centred neighbourhood 4096": (
        NeighbourhoodMask((2**20,), (4096,), (1,), (1,), (False,)), (128,), (64,)),
}  # fmt: skip


def main() -> None:
    """Best of five counts of each mask, and the memory of one."""
    for name, (mask, query, key) in CASES.items():
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            mask.pairs(), mask.tiles(query, key)
            best = min(best, time.perf_counter() - start)
        tracemalloc.start()
        mask.tiles(query, key)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        print(f"{name:56s} {best * 1e3:8.3f} ms, {peak / 1e6:7.1f} MB")


if __name__ == "__main__":
    main()
