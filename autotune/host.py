"""Measures the host and writes what it found as a hardware profile that inherits the shipped stand-in `cpu`.

Rates of arithmetic are measured on one core, where a busy machine disturbs least, and stated per clock. The clock is
the one at which all cores, if each did in a clock what the stand-in states for fp32, would give the matrix products
that were measured on all of them: such a clock also stands for what cores lose when they work together, or to others.
Constants of `flex-cpu` were derived against rates found in the same way.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulator.errors import InputError
from ..simulator.hardware import Hardware
from . import profiles

STAND_IN = "cpu"
REPEATS = 8
SIDE = 2048
IN_CACHE = 2**16
"""Elements of fp32 that stay in a core's second-level cache: 256 KiB."""
ELEMENTS = 2**24
"""Of float64, 128 MiB: larger than last-level caches."""
MARGIN = 1.5
"""What floors allow beyond the fastest seen: the host when nothing else runs, code better than the library's."""

Work = Callable[[], object]


def need_torch() -> None:
    """Raises InputError where torch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise InputError("flex_attention needs torch: pip install 'attnsim[tune]'")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The name of the processor, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


@dataclass(frozen=True, slots=True)
class Rate:
    """A measured rate (in a second) and how it was measured, in a few words."""

    value: float
    how: str


@dataclass(frozen=True, slots=True)
class Microbenchmark:
    """What is run, how much a run does (FLOP, elements, bytes or calls), and how that is said.

    one_core: all in the calling thread, so that its own time can be taken, without what other processes took.
    runs: in a row, each timed: many of a short one, which then is undisturbed at least once.
    """

    work: Work
    amount: float
    how: str
    one_core: bool = True
    runs: int = 1


def best_seconds(works: dict[str, Microbenchmark]) -> dict[str, float]:
    """The shortest of a few runs of each, in turn, after one that is not counted."""
    for one in works.values():
        one.work()
    best = dict.fromkeys(works, math.inf)
    for _ in range(REPEATS):
        for name, one in works.items():
            clock = time.thread_time if one.one_core else time.perf_counter
            for _ in range(one.runs):
                begin = clock()
                one.work()
                best[name] = min(best[name], clock() - begin)
    return best


def repeated(work: Work, times: int = 50) -> Work:
    """So many runs as one: a single one is too short for the clock."""

    def run() -> None:
        for _ in range(times):
            work()

    return run


def aligned(count: int) -> NDArray[np.float32]:
    """An array that starts with a line of the cache, as torch's do: one that does not takes twice as long to pass."""
    line = 64 // 4
    spare = np.empty(count + line, dtype=np.float32)
    first = -(spare.ctypes.data // 4) % line
    return spare[first : first + count]


def elementwise() -> dict[str, Microbenchmark]:
    """Passes over arrays by numpy, which uses one core: in its cache, and a copy in memory."""
    values, held = aligned(IN_CACHE), aligned(IN_CACHE)
    values[:] = -np.abs(np.random.default_rng(0).standard_normal(IN_CACHE, dtype=np.float32))
    big, copy = np.ones(ELEMENTS), np.empty(ELEMENTS)
    passes, cached = 50 * IN_CACHE, f"of {IN_CACHE:,} fp32 elements in cache, one core"
    return {
        "vector": Microbenchmark(repeated(lambda: np.multiply(values, values, out=held)), passes,
                                 f"numpy.multiply {cached}"),
        "exp": Microbenchmark(repeated(lambda: np.exp(values, out=held)), passes, f"numpy.exp {cached}"),
        "cache": Microbenchmark(repeated(lambda: np.copyto(held, values)), 2 * 4 * passes,
                                f"numpy copy {cached}, read and write"),
        "memory": Microbenchmark(lambda: np.copyto(copy, big), 2 * big.nbytes,
                                 f"numpy copy of {big.nbytes // 2**20} MiB, read and write"),
    }  # fmt: skip


def products() -> dict[str, Microbenchmark]:
    """Matrix products by numpy, on all cores."""
    a = np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)
    out = np.empty_like(a)
    return {"all": Microbenchmark(lambda: np.matmul(a, a, out=out), 2.0 * SIDE**3,
                                  f"numpy.matmul, fp32, {SIDE} cubed, all cores", one_core=False)}  # fmt: skip


def torch_products() -> dict[str, Microbenchmark]:
    """Matrix products by torch on one core and on all, a copy by all cores, an operator that wakes all of them."""
    import torch

    threads = torch.get_num_threads()
    flop = 2.0 * SIDE**3
    found: dict[str, Microbenchmark] = {}

    def on(count: int, work: Work) -> Work:
        def run() -> None:
            torch.set_num_threads(count)
            try:
                work()
            finally:
                torch.set_num_threads(threads)

        return run

    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        a = torch.randn(SIDE, SIDE).to(dtype)
        product: Any = functools.partial(torch.matmul, a, a, out=torch.empty_like(a))
        how = f"torch.matmul, {name}, {SIDE} cubed"
        found[name] = Microbenchmark(on(1, product), flop, f"{how}, one core")
        if name == "fp32":
            found["all"] = Microbenchmark(on(threads, product), flop, f"{how}, {threads} threads", one_core=False)
    big, few = torch.ones(ELEMENTS, dtype=torch.float64), torch.ones(2 * IN_CACHE)
    copy = torch.empty_like(big)
    found["memory"] = Microbenchmark(
        lambda: copy.copy_(big), 2 * 8 * ELEMENTS,
        f"torch copy of {8 * ELEMENTS // 2**20} MiB, {threads} threads, read and write", one_core=False,
    )  # fmt: skip
    found["launch"] = Microbenchmark(
        repeated(lambda: few.add_(1.0)),
        50,
        f"torch add to {2 * IN_CACHE:,} elements, {threads} threads",
        one_core=False,
    )
    return found


def rates() -> dict[str, Rate]:
    """What was measured: FLOP, elements, bytes or calls a second, by the names of the microbenchmarks."""
    torch_here = importlib.util.find_spec("torch") is not None
    works = elementwise() | (torch_products() if torch_here else products())
    best = best_seconds(works)
    return {name: Rate(one.amount / best[name], one.how) for name, one in works.items()}


def numbers(found: dict[str, Rate], units: int) -> dict[str, tuple[float, str, str]]:
    """Fields of a profile from measured rates: value, kind, source."""
    parent = Hardware.load(STAND_IN)
    per_clock = parent.matrix_fp32_flop_per_clock_per_sm or 1.0
    together = found["all"]
    clock = together.value / units / per_clock
    one = found.get("fp32", Rate(together.value / units, together.how))
    core_clock = one.value / per_clock
    measured, derived = "microbenchmark", "derived"
    fields = {
        "sm_count": (units, measured, "threads that torch uses, or cores this process may use"),
        "clock_sustained_hz": (clock, measured, f"{gflops(together)}, at {per_clock:g} FLOP a clock and core"),
        "clock_max_hz": (max(parent.clock_max_hz, MARGIN * max(clock, core_clock)), "estimate",
                         f"that of the stand-in, or {MARGIN:g} times what was measured, for floors"),
        "matrix_fp32_flop_per_clock_per_sm": (per_clock, measured, f"{gflops(one)}; the clock is stated by this rate"),
        "vector_flop_per_clock_per_sm": (2 * found["vector"].value / core_clock, measured,
                                         f"{giga(found['vector'])}; an element counts as a multiply-add"),
        "exp_per_clock_per_sm": (found["exp"].value / core_clock, measured, giga(found["exp"])),
        "hbm_bytes": (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), measured, "physical memory"),
        "hbm_bandwidth_bytes_per_s": (MARGIN * found["memory"].value, derived,
                                      f"{giga(found['memory'])}, times {MARGIN:g} for floors"),
        "hbm_efficiency": (1 / MARGIN, derived, "what was measured, of what floors allow"),
        "l2_bandwidth_bytes_per_s": (MARGIN * units * found["cache"].value, derived,
                                     f"{giga(found['cache'])}, times the cores and {MARGIN:g} for floors"),
        "l2_achieved_bytes_per_s": (units * found["cache"].value, measured,
                                    f"{giga(found['cache'])}, times the cores"),
    }  # fmt: skip
    if "bf16" in found:
        rate = found["bf16"].value / core_clock
        fields["matrix_bf16_flop_per_clock_per_sm"] = (rate, measured, gflops(found["bf16"]))
    if "launch" in found:
        fields["launch_latency_s"] = (1 / found["launch"].value, measured, found["launch"].how)
    return fields


def giga(rate: Rate) -> str:
    """How a rate was measured, and what it is in units of 10^9 a second."""
    return f"{rate.how}: {rate.value / 1e9:.3g}e9 a second"


def gflops(rate: Rate) -> str:
    """The same for FLOP."""
    return f"{rate.how}: {rate.value / 1e9:.4g} GFLOP/s"


def profile(device: str = "cpu") -> str:
    """The text of the host's profile."""
    units = cores()
    versions = f"numpy {np.__version__}"
    if importlib.util.find_spec("torch") is not None:
        import torch

        units, versions = torch.get_num_threads(), f"torch {torch.__version__}, {versions}"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    fields = ((name, *measured) for name, measured in numbers(rates(), units).items())
    where = f"{platform.system()} {platform.machine()}, {processor()}"
    made = f"attnsim hw calibrate {device} on {day}: {where}, {versions}; the shortest of {REPEATS} runs"
    return profiles.toml(STAND_IN, f"This host: {processor()}, {units} cores", fields, "HOST", made)
