"""Schedule of chunked kernels: chunks in parallel where they are independent, a chain of states where not."""

from __future__ import annotations

from ..algebra import Number, ceil_div, maximum, minimum
from ..bounds import native_dtype
from ..calibration import Constants
from ..config import ChunkConfig
from ..graph import Part
from ..hardware import Hardware
from ..pipeline import Pipeline, Traffic, mechanism
from ..problem import DTYPE_BITS
from ..tiling import Tile, TiledPart
from . import Walk
from .attention import memory_time, smooth_max
from .residency import LOAD_CLOCKS

SIDE = 128
"""Features and columns of the heads that the constants of published kernels are stated for: those of all tables."""
L2_SHARE, STATES_EDGE, STREAM_EDGE = 0.7, 32.0, 4.0
"""Share of the L2 up to which bytes that are used again stay there, and how sharp that edge is: beyond, one drives out
the other. States that every call reads and writes: at 0.64 of an H100's L2 none come from memory (decode tables of the
gated delta rule), at 0.96 of it and 0.76 of a B200's (Kimi delta attention) all. What one kernel leaves for the next
follows no such edge, since the next begins where the first ended."""


def climb(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, cache: str, tile: Tile) -> bool:
    """Add this part's terms to the walk. False where the chip's numbers do not suffice."""
    if not hardware.clock_sustained_hz or not hardware.hbm_bandwidth_bytes_per_s:
        return False
    if isinstance(tile, Pipeline):
        if tile.steps:
            step(walk, tiled, hardware, constants, cache, tile)
        else:
            passes(walk, tiled, hardware, constants, tile)
        return True
    part = tiled.part
    native = native_dtype(hardware, part.dtype)
    rate = hardware.matrix_flop_per_s(native, hardware.clock_sustained_hz)
    if not rate:
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


def passes(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, tile: Pipeline) -> None:
    """Terms of published chunk kernels: those that run all chunks at once, the one that passes the state from chunk to
    chunk, and the state that a sequence starts and ends with. Each waits for its units or its memory, and for the one
    before. Clocks are those of heads of SIDE; other heads take more or less in proportion to what a row or state holds.
    """
    part, units = tiled.part, hardware.sm_count
    rows, deep = (part.depth + part.width) / (2 * SIDE), part.depth / SIDE
    states = deep * part.width / SIDE
    second = 1.0 / (hardware.clock_sustained_hz or 1.0)
    heads, keys = part.instances, part.batch * part.kv_heads
    chunks = ceil_div(part.tokens, part.chunk)
    busy = heads * rows * (constants.chunk_clocks * chunks + constants.row_clocks * part.tokens)
    busy = (busy + constants.key_clocks * deep * keys * part.tokens) / units * second
    rate = hardware.matrix_flop_per_s(native_dtype(hardware, part.dtype), 1 / second)
    products = heads * chunks * chunk_flops(part) / rate / constants.matrix_efficiency if rate else 0.0
    if not tile.resident:
        busy = busy + products
    clocks = smooth_max(busy, constants.solve_clocks * minimum(part.tokens, part.chunk) * second)
    parallel = smooth_max(clocks, traffic_time(tile.parallel, tiled, hardware))
    walk.raise_to("chunks", parallel, "scores, solves and outputs of every chunk, and intermediates through memory")
    alone = (constants.cta_clocks * states + constants.serial_clocks * deep * chunks) * second
    shared = constants.link_clocks * states * chunks * heads / units * second
    if tile.resident:  # a block a head, with its products: in whole waves, the last of them as long as any
        own = products * units / heads
        alone = (alone + own) * ceil_div(heads, units * tile.resident)
        shared = (shared * units / heads + own) * ceil_div(heads, units) * (tile.resident > 1)
    chain = smooth_max(smooth_max(alone, shared), traffic_time(tile.chain, tiled, hardware))
    walk.raise_to("chain", parallel + chain, "the state passes from chunk to chunk, one after the other")
    state = constants.state_passes * 2 * tiled.counts.rewritten / achieved(hardware)
    walk.raise_to("state", parallel + chain + state, "every sequence starts from a state and leaves another")


def chunk_flops(part: Part) -> Number:
    """Matrix FLOPs of one head's chunk; kernels compute a last one that is shorter in full."""
    pairs, states = part.chunk**2, part.chunk * part.depth * part.width
    shared = part.kv_heads / part.heads if mechanism(part) == "ssd" else 1
    flops = 2 * pairs * (part.depth * shared + part.width) + 4 * states
    if any(op.name == "kk" for op in part.ops):
        flops = flops + pairs * (4 * part.depth + 2 * part.width + part.chunk / 3) + 2 * states
    return flops


def step(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, cache: str, tile: Pipeline) -> None:
    """Terms of a recurrent step: blocks that hold parts of the states, and the states through memory."""
    part, second = tiled.part, 1.0 / (hardware.clock_sustained_hz or 1.0)
    states = part.instances * part.depth * part.width / SIDE**2
    busy = constants.cta_clocks * states / hardware.sm_count * second
    walk.raise_to("steps", busy, "loads, two products with the state and a store for every head")
    moved = constants.state_passes * tiled.counts.hbm_bytes
    if cache == "warm":
        moved = moved * missing(moved / (2 if tile.in_place else 1), STATES_EDGE, hardware)
    both = smooth_max(busy, moved / achieved(hardware))
    walk.raise_to("bandwidth", both, "states move at achieved, not peak, bandwidth and overlap imperfectly")


def missing(used: Number, edge: float, hardware: Hardware) -> Number:
    """Share of bytes that have left the L2 before they are used again, `used` of them in between."""
    if not hardware.l2_bytes:
        return 1.0
    share: Number = 1 / (1 + (maximum(used, 1) / (L2_SHARE * hardware.l2_bytes)) ** -edge)
    return share


def achieved(hardware: Hardware) -> float:
    """Bytes a second that memory achieves."""
    return (hardware.hbm_bandwidth_bytes_per_s or 1.0) * (hardware.hbm_efficiency or 1.0)


def traffic_time(traffic: Traffic, tiled: TiledPart, hardware: Hardware) -> Number:
    """Seconds that traffic takes; what the L2 holds is still there when the next kernel reads it."""
    part = tiled.part
    own = traffic.depth * part.depth + traffic.width * part.width + traffic.chunk * part.chunk
    shared = traffic.keys * part.depth + traffic.key_chunk * part.chunk
    states = traffic.states * part.depth * part.width * ceil_div(part.tokens, part.chunk)
    elements = part.instances * (own * part.tokens + states) + part.batch * part.kv_heads * part.tokens * shared
    moved = elements * (DTYPE_BITS[part.dtype] / 8)
    return moved * missing(moved, STREAM_EDGE, hardware) / achieved(hardware)


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
