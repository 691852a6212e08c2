"""floor(counts, hardware): the shortest time in which the chip can do the counted work. Nothing else.

Every unit works at its peak at the chip's highest clock, all of them perfectly overlapped; the largest
single time is the bound. A rung that only enlarges entries of Counts can only get a later bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from .algebra import Number, maximum, minimum, where
from .counts import Counts
from .hardware import Hardware

UNITS = ("matrix", "vector", "special", "hbm", "l2")
FALLBACK = {
    "fp4": "fp8", "mxfp4": "fp8", "nvfp4": "fp8", "fp6": "fp8", "mxfp8": "fp8", "fp8": "bf16", "fp8_e4m3": "bf16",
    "fp8_e5m2": "bf16", "int8": "bf16", "bf16": "fp16", "fp16": "fp32", "tf32": "fp32",
}  # fmt: skip
"""A chip without a dtype computes in the next wider one that it has."""


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A floor: seconds, the index into UNITS of what sets it, and every unit's own seconds (None: unknown)."""

    time_s: Number
    limit: Number
    units: tuple[Number | None, ...]

    @property
    def limited_by(self) -> str:
        return UNITS[int(self.limit)]


def native_dtype(hardware: Hardware, dtype: str) -> str:
    """The dtype the chip's matrix unit uses for operands of `dtype` (wider where it lacks the narrow one)."""
    while hardware.matrix_flop_per_s(dtype, 1.0) == 0 and dtype in FALLBACK:
        dtype = FALLBACK[dtype]
    return dtype


def matrix_peak(hardware: Hardware, dtype: str) -> float | None:
    """Matrix FLOP/s that no kernel exceeds: highest clock, fastest accumulation. None: unknown or unsupported."""
    return hardware.matrix_peak_flop_per_s(native_dtype(hardware, dtype)) or None


def floor(counts: Counts, hardware: Hardware, cache: str = "cold") -> Bound | None:
    """The bound, or None where a rate of a unit that the work cannot do without is unknown.

    cache "warm": as many bytes as the last-level cache holds need not come from HBM.
    An unknown vector, special-function or L2 rate only drops that unit's bound: still a floor.
    """
    matrix: Number = 0
    for dtype, flops in counts.matrix.items():
        if type(flops) is int and flops == 0:
            continue
        peak = matrix_peak(hardware, dtype)
        if peak is None:
            return None
        matrix = matrix + flops / peak
    clock = hardware.clock_max_hz
    vector_rate = hardware.vector_flop_per_s(clock)
    special_rate = hardware.exp_per_s(clock)
    vector = None if vector_rate is None else counts.vector / vector_rate
    special = None if special_rate is None else counts.special / special_rate
    if hardware.exp_on_vector and vector is not None and special is not None:
        # The same lanes do both, one after the other.
        vector, special = vector + special, None
    hbm: Number | None = None
    moved = counts.hbm_bytes
    if hardware.hbm_bandwidth_bytes_per_s is None:
        if not (type(moved) is int and moved == 0):
            return None
    else:
        if cache == "warm" and hardware.l2_bytes is not None:
            # What was read and is written again in the cache counts twice.
            moved = maximum(moved - hardware.l2_bytes - minimum(counts.rewritten, hardware.l2_bytes), 0)
        hbm = moved / hardware.hbm_bandwidth_bytes_per_s
    l2 = None
    if hardware.l2_bandwidth_bytes_per_s is not None:
        l2 = counts.l2_bytes / hardware.l2_bandwidth_bytes_per_s
    units = (matrix, vector, special, hbm, l2)
    best, limit = matrix, 0
    for index in range(1, 5):
        seconds = units[index]
        if seconds is not None:
            limit = where(seconds > best, index, limit)
            best = maximum(best, seconds)
    return Bound(best, limit, units)
