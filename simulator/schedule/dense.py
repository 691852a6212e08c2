"""Schedule of products with weights and of elementwise passes: rates achieved, whole tiles, bandwidth."""

from __future__ import annotations

from ..bounds import native_dtype
from ..hardware import Hardware
from ..tiling import TiledPart
from . import Walk
from .attention import memory_time, smooth_max

GEMM_EFFICIENCY = 0.85
"""Share of the matrix rate at the sustained clock that library matrix products reach at large sizes: hardware
profiles state the sustained clock from such runs, so what is left is wave quantisation and fill (cuBLAS on
A100 SXM: 79 to 84 % of peak at 4096 to 8192 cubed)."""


def climb(walk: Walk, tiled: TiledPart, hardware: Hardware, cache: str) -> bool:
    """Add this part's terms to the walk. False where the chip's numbers do not suffice."""
    native = native_dtype(hardware, tiled.part.dtype)
    rate = hardware.matrix_flop_per_s(native, hardware.clock_sustained_hz or 0.0)
    if not rate or not hardware.hbm_bandwidth_bytes_per_s:
        return False
    matrix = tiled.counts.matrix_flops / rate / GEMM_EFFICIENCY
    walk.raise_to("rate", matrix, "sustained clock and the share of the matrix peak that library products reach")
    both = smooth_max(walk.level, memory_time(tiled, hardware, cache))
    walk.raise_to("bandwidth", both, "bytes move at achieved, not peak, bandwidth and overlap imperfectly")
    return True
