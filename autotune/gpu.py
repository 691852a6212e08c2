"""What is asked of a GPU: to build a launch, to time calls, to say how it does. All of torch.cuda that tuning needs is
here, so that everything else can be tried without a GPU.
"""

from __future__ import annotations

import hashlib
import math
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from .timing import Timer

if TYPE_CHECKING:
    from ..kernels.launch import Launch

Call = Callable[[int], object]
"""Starts the n-th call."""
CYCLES_PER_S = 2e9
"""Of a sleeping GPU at the highest clock; at a lower one it sleeps longer, which harms nothing."""
LONGEST_SLEEP_S = 1.0
SHORT_S = 50e-6
"""Calls that are shorter are timed in a CUDA graph: starting them one by one takes the CPU about as long."""
GRAPH_CALLS = 20
"""Calls in a graph, at least."""
SMI = {
    "clocks.sm": "clock_sm_hz", "clocks.mem": "clock_memory_hz", "temperature.gpu": "temperature_c",
    "power.draw": "power_w", "clocks_throttle_reasons.active": "throttled_by", "driver_version": "driver",
}  # fmt: skip
"""What nvidia-smi is asked for, and what that is called here."""
SMI_SCALE = {"clock_sm_hz": 1e6, "clock_memory_hz": 1e6}


@dataclass(frozen=True, slots=True)
class Built:
    """A launch's binary: the hash of its code, and what it takes (None: the backend does not say)."""

    code: str
    registers: int | None
    spill_bytes: int | None
    shared_memory_bytes: int | None


class Gpu:
    """The current GPU of this process."""

    device = "cuda"

    def name(self) -> str:
        return torch.cuda.get_device_name()

    def l2_bytes(self) -> int:
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).L2_cache_size)

    def units(self) -> int:
        """Compute units."""
        return int(torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count)

    def nothing(self, n: int) -> None:
        """Start a kernel that does nothing."""
        cuda: Any = torch.cuda
        cuda._sleep(0)

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def built(self, launch: Launch) -> Built:
        """A launch compiled and loaded, not started. Raises what Triton raises."""
        options = launch.options(torch.version.hip is None)
        kernel = launch.kernel.warmup(**launch.arguments, **launch.constants, **options, grid=launch.grid)
        kernel._init_handles()
        code = kernel.asm["cubin"] if "cubin" in kernel.asm else kernel.asm["hsaco"]
        return Built(hashlib.sha256(code).hexdigest(), kernel.n_regs, 4 * kernel.n_spills, int(kernel.metadata.shared))

    def timer(self, call: Call, sets: int) -> tuple[Timer, str]:
        """(what times calls that rotate through so many sets of operands, how it does that)."""
        queued = QueuedTimer(call)
        if queued.seconds(3, 0) / 3 < SHORT_S:
            try:
                return GraphTimer(call, sets * math.ceil(GRAPH_CALLS / sets)), "graph"
            except RuntimeError:  # something in the call cannot be captured
                torch.cuda.synchronize()
        return queued, "queue"

    def conditions(self) -> dict[str, Any]:
        """Versions, date, clocks, temperature and power as they are now."""
        uuid = getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "uuid", None)
        return {
            "device": self.name(), "torch": torch.__version__, "triton": version("triton"),
            "cuda": torch.version.cuda or torch.version.hip,
            "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), **read_smi(None if uuid is None else str(uuid)),
        }  # fmt: skip


class QueuedTimer:
    """Calls queued behind a GPU that sleeps, so that the CPU's time does not count, between two CUDA events."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._queue_s: float | None = None

    def seconds(self, calls: int, first: int) -> float:
        if self._queue_s is None:
            self._call(first)  # may compile
            torch.cuda.synchronize()
            begin_s = time.perf_counter()
            self._call(first)
            self._queue_s = time.perf_counter() - begin_s
            torch.cuda.synchronize()
        return self._timed(range(first, first + calls), self._call, self._queue_s * calls)

    @staticmethod
    def _timed(numbers: Iterable[int], start: Call, queue_s: float) -> float:
        """Seconds on the GPU of so many starts, which take the CPU `queue_s`."""
        cuda: Any = torch.cuda  # its types are incomplete
        begin, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        cuda._sleep(int(min(1.5 * queue_s + 1e-3, LONGEST_SLEEP_S) * CYCLES_PER_S))
        begin.record()
        for n in numbers:
            start(n)
        end.record()
        torch.cuda.synchronize()
        return float(begin.elapsed_time(end)) * 1e-3


class GraphTimer(QueuedTimer):
    """Calls captured in a CUDA graph, which is started as often as needed. Raises RuntimeError where that fails."""

    def __init__(self, call: Call, calls: int) -> None:
        super().__init__(call)
        self._calls = calls
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            for n in range(calls):
                call(n)
        torch.cuda.synchronize()

    def _replay(self, n: int) -> None:
        self._graph.replay()

    def seconds(self, calls: int, first: int) -> float:
        times = math.ceil(calls / self._calls)
        seconds = self._timed(range(times), self._replay, 1e-5 * times)
        return seconds * calls / (times * self._calls)


def read_smi(uuid: str | None) -> dict[str, Any]:
    """What nvidia-smi says of a GPU, by the names of SMI; None for all that it does not say."""
    chosen = [] if uuid is None else ["-i", f"GPU-{uuid.removeprefix('GPU-')}"]
    command = ["nvidia-smi", f"--query-gpu={','.join(SMI)}", "--format=csv,noheader,nounits", *chosen]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return parse_smi("")
    return parse_smi(done.stdout if done.returncode == 0 else "")


def parse_smi(text: str) -> dict[str, Any]:
    """The first line of a query, in SI units.

    >>> parse_smi("1980, 2619, 41, 312.50, 0x0000000000000004, 550.54")["clock_sm_hz"]
    1980000000.0
    >>> parse_smi("")["power_w"] is None
    True
    """
    lines = text.strip().splitlines()
    values = [value.strip() for value in lines[0].split(",")] if lines else []
    found: dict[str, Any] = dict.fromkeys(SMI.values())
    if len(values) != len(SMI):
        return found
    for name, value in zip(SMI.values(), values, strict=True):
        if name in ("throttled_by", "driver"):
            found[name] = None if value.startswith("[") else value
            continue
        try:
            found[name] = float(value) * SMI_SCALE.get(name, 1.0)
        except ValueError:  # "[N/A]"
            found[name] = None
    return found
