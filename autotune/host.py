"""Measures the host with numpy and writes what it found as a hardware profile."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

REPEATS = 5
SIDE = 2048
ELEMENTS = 2**24
"""Arrays of 128 MiB in float64: larger than last-level caches."""


def best_seconds(work: Callable[[], object]) -> float:
    """Shortest of a few runs, after one that is not counted."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def clock_hz() -> float:
    """Highest clock the kernel reports for a core; 3 GHz where it reports none."""
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("cpu MHz"):
            return float(line.split(":")[1]) * 1e6
    return 3e9


def measure() -> dict[str, float]:
    """FLOP/s of fp32 matrix products and of multiply-adds, exponentials per second, bytes per second."""
    generator = np.random.default_rng(0)
    a = generator.standard_normal((SIDE, SIDE), dtype=np.float32)
    out = np.empty_like(a)
    small = generator.standard_normal(2**16, dtype=np.float32)
    held = np.empty_like(small)
    big, copy = np.ones(ELEMENTS), np.empty(ELEMENTS)
    return {
        "matrix": 2.0 * SIDE**3 / best_seconds(lambda: np.matmul(a, a, out=out)),
        "vector": small.size / best_seconds(lambda: np.multiply(small, small, out=held)),
        "exp": small.size / best_seconds(lambda: np.exp(small, out=held)),
        "memory": 2.0 * big.nbytes / best_seconds(lambda: np.copyto(copy, big)),
        "cache": 2.0 * small.nbytes / best_seconds(lambda: np.copyto(held, small)),
    }


def profile() -> str:
    """The host as a profile: rates for each core and clock, from what was measured."""
    found = measure()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    clock = clock_hz()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # numpy's elementwise loops run on one core, its matrix products on all of them.
    numbers: dict[str, tuple[float, str]] = {
        "sm_count": (cores, "cores this process may use"),
        "clock_max_hz": (clock, "what the kernel reports for a core"),
        "clock_sustained_hz": (clock, "the same"),
        "matrix_fp32_flop_per_clock_per_sm": (found["matrix"] / cores / clock, f"numpy matmul, fp32, {SIDE} cubed"),
        "matrix_bf16_flop_per_clock_per_sm": (found["matrix"] / cores / clock, "fp32 rate: numpy has no bf16"),
        "vector_flop_per_clock_per_sm": (2 * found["vector"] / clock, "numpy multiply in cache, one core, FMA as 2"),
        "exp_per_clock_per_sm": (found["exp"] / clock, "numpy exp in cache, one core, fp32"),
        "hbm_bytes": (memory, "physical memory"),
        "hbm_bandwidth_bytes_per_s": (found["memory"], "numpy copy of 128 MiB, read and write"),
        "hbm_efficiency": (1.0, "the bandwidth is an achieved one"),
        "l2_achieved_bytes_per_s": (cores * found["cache"], "numpy copy of 256 KiB on one core, times the cores"),
        "mma_m": (1, "no padding"), "mma_n": (1, "no padding"), "mma_k_elements": (1, "no padding"),
        "launch_latency_s": (5e-6, "a thread pool wakes up; not measured"),
    }  # fmt: skip
    lines = ["format = 1", 'name = "cpu"', f'title = "This host: {platform.machine()}, {cores} cores"',
             'vendor = "host"', 'kind = "cpu"', 'generation = "cpu"', 'target = ""', "exp_on_vector = true", "",
             "[numbers]"]  # fmt: skip
    for name, (value, how) in numbers.items():
        kind = "estimate" if "not measured" in how or "no padding" in how else "microbenchmark"
        lines.append(f'{name} = {{ value = {value:.6g}, kind = "{kind}", source = "{how}" }}')
    return "\n".join(lines) + "\n"
