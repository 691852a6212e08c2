"""Schedule of chunked kernels: chunks in parallel where they are independent, a chain of states where not."""

from __future__ import annotations

from ..algebra import Number, ceil_div, maximum
from ..bounds import native_dtype
from ..calibration import Constants
from ..config import ChunkConfig
from ..hardware import Hardware
from ..tiling import Tile, TiledPart
from . import Walk
from .attention import memory_time, smooth_max
from .residency import LOAD_CLOCKS


def climb(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, cache: str, tile: Tile) -> bool:
    """Add this part's terms to the walk. False where the chip's numbers do not suffice."""
    part = tiled.part
    native = native_dtype(hardware, part.dtype)
    rate = hardware.matrix_flop_per_s(native, hardware.clock_sustained_hz or 0.0)
    if not rate or not hardware.clock_sustained_hz or not hardware.hbm_bandwidth_bytes_per_s:
        return False
    second = 1.0 / hardware.clock_sustained_hz
    units = hardware.sm_count
    chunks = ceil_div(part.tokens, part.chunk)
    items = part.instances * chunks
    matrix: Number = tiled.counts.matrix_flops / rate / constants.matrix_efficiency
    walk.raise_to("rate", matrix, "sustained clock and the share of the matrix peak that chunk products reach")
    parallel = matrix + constants.chunk_clocks * maximum(items / units, 1) * second
    walk.raise_to("chunk_overhead", parallel, "loads, solves and decay of every chunk")
    if isinstance(tile, ChunkConfig):
        configured = parallel * programs(tiled, hardware, tile) + waits(tile) * second * chunks * maximum(
            part.instances / units, 1
        )  # fmt: skip
        walk.raise_to("launch_options", configured, "blocks of v columns repeat the scores, or leave units idle")
    if part.serial:
        chain = constants.serial_clocks * chunks * maximum(part.instances / units, 1) * second
        walk.add("chain", chain, "the state passes from chunk to chunk, one after the other")
    both = smooth_max(walk.level, memory_time(tiled, hardware, cache))
    walk.raise_to("bandwidth", both, "bytes move at achieved, not peak, bandwidth and overlap imperfectly")
    return True


def programs(tiled: TiledPart, hardware: Hardware, config: ChunkConfig) -> Number:
    """Times longer that a part's work takes in programs of some columns of v each: all of them compute the scores of
    their chunk, and they fill the compute units in whole rounds."""
    part, units = tiled.part, hardware.sm_count
    blocks = ceil_div(part.width, config.value_block)
    scores = part.chunk * part.depth / (part.chunk * (part.depth + part.width) + 2 * part.depth * part.width)
    count = part.instances * blocks
    return (1 + scores * (blocks - 1)) * ceil_div(count, units) * units / count


def waits(config: ChunkConfig) -> float:
    """Clocks of a chunk that four warps wait for its loads and for each other; more warps and stages hide a part."""
    return LOAD_CLOCKS * (4 / config.warps + 4.0 ** (1 - config.stages))
