"""Schedule of decoding over latents (absorbed MLA): how a few kernels share a sequence's keys out to the chip.

Items are (sequence, group of heads). The kernels differ in how an item is cut (`STYLES`); all of them then work off
whole tiles of keys, and merge what the parts of an item found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..algebra import Number, ceil_div, floor_div, maximum, minimum, where
from ..calibration import Constants
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import TiledPart
from . import Walk
from .attention import tile_clocks

PARTIAL_PASSES = 2
"""Partial results of a split, fp32, are written once and read once."""


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """How a kernel covers its work: `blocks` of threads with `tiles` of keys each, `clocks` a tile and `ends` a block;
    `splits` of an item, merged in `merging` seconds; `l2_bytes` that all blocks take in."""

    blocks: Number
    tiles: Number
    clocks: Number
    ends: Number
    splits: Number
    merging: Number
    l2_bytes: Number


def _merging(splits: Number, constants: Constants) -> Number:
    return where(splits > 1, constants.combine_s + constants.combine_per_split_s * splits, 0.0)


def _even(tiled: TiledPart, busy: Number, units: int, constants: Constants, splits: Number) -> Launch:
    """Every item in equal parts."""
    assert tiled.summary is not None
    items = tiled.summary.query_tiles * tiled.instances
    tiles = ceil_div(tiled.summary.longest_row, splits)
    width = DTYPE_BITS[tiled.part.dtype] / DTYPE_BITS[tiled.part.kv_dtype]
    clocks = maximum(busy, tiled.key_bytes * maximum(width, 1.0) / constants.sm_bytes_per_clock)
    return Launch(
        items * splits, tiles, clocks, constants.item_clocks, splits, _merging(splits, constants),
        items * tiled.summary.longest_row * tiled.key_bytes,
    )  # fmt: skip


OVERHEAD_TILES = 5
"""Tiles that FlashMLA's scheduler counts an item for besides its own."""


def _flash_mla(tiled: TiledPart, busy: Number, units: int, constants: Constants) -> Launch:
    """Equal shares of all items' tiles, one a unit, whatever the borders between items (FlashMLA,
    csrc/smxx/get_mla_metadata: 5 tiles of overhead an item)."""
    summary = tiled.summary
    assert summary is not None
    items = summary.query_tiles * tiled.instances
    tiles = summary.longest_row
    share = items / units
    each = where(share >= 1, share * tiles, minimum(ceil_div(items * (tiles + OVERHEAD_TILES), units), tiles))
    splits = maximum(tiles / each, 1)
    clocks = maximum(busy, tiled.key_bytes / constants.sm_bytes_per_clock) + constants.tile_clocks
    ends = constants.item_clocks * ceil_div(items, units)
    return Launch(units, each, clocks, ends, splits, _merging(splits, constants), items * tiles * tiled.key_bytes)


EFFICIENT = 0.85
FULL = 0.8
FEW_TILES = 4
MAX_SPLITS = 128


def fa3_splits(items: Number, tiles: Number, units: int) -> Number:
    """FlashAttention-3's choice (hopper/heuristics.h, num_splits_heuristic): none where the chip is four fifths full or
    an item has few tiles, else the fewest whose last wave is filled to 0.85 of the best."""
    items, tiles = np.asarray(items, np.float64), np.asarray(tiles, np.float64)
    most = np.minimum(MAX_SPLITS, np.minimum(units, tiles))
    counts = np.arange(1, MAX_SPLITS + 1).reshape(-1, *([1] * max(items.ndim, tiles.ndim)))
    waves = items * counts / units
    efficiency = np.where(counts <= most, waves / np.ceil(waves), 0.0)
    enough = efficiency >= EFFICIENT * efficiency.max(axis=0)
    fewest = np.argmax(enough, axis=0) + 1.0
    chosen: Number = np.where((items >= FULL * units) | (tiles <= FEW_TILES), 1.0, fewest)
    return float(chosen) if chosen.ndim == 0 else chosen


def _fa3(tiled: TiledPart, busy: Number, units: int, constants: Constants) -> Launch:
    assert tiled.summary is not None
    items = tiled.summary.query_tiles * tiled.instances
    return _even(tiled, busy, units, constants, fa3_splits(items, tiled.summary.longest_row, units))


VALUE_BLOCKS = 2
RESIDENT = 2


def _fmha_v2(tiled: TiledPart, busy: Number, units: int, constants: Constants) -> Launch:
    """Keys are not split. Two blocks share an item, each with half of the values, and two share a unit; a block alone
    on its unit waits for itself (`tile_clocks`), two hide that."""
    assert tiled.summary is not None
    blocks = tiled.summary.query_tiles * tiled.instances * VALUE_BLOCKS
    each = ceil_div(blocks, units)
    pairs = floor_div(each, RESIDENT)
    clocks = RESIDENT * busy * pairs + (busy + constants.tile_clocks) * (each - RESIDENT * pairs)
    return Launch(
        units, tiled.summary.longest_row, clocks, each * constants.item_clocks, 1, 0.0,
        blocks * tiled.summary.longest_row * tiled.key_bytes,
    )  # fmt: skip


LOW_LATENCY_HEADS = 32
SWAPPED_ROWS = 16
STEP_KEYS = 256
STEP_TILES = 2
"""Keys that trtllm-gen's low-latency kernel takes at a time, in tiles of 128."""
LOW_LATENCY_KEYS = 1024
VALUES = 512
CLUSTER = 16
"""Blocks of the largest cluster; parts of an item that lie in one are merged through shared memory."""
GPC_UNITS = (20, 20, 20, 20, 18, 18, 18, 14)
"""Units of the graphics processing clusters of a B200, 148 in all: a cluster of blocks lies within one. How they are
spread is not published: so that of 8 clusters of 16, and of 16 of 8, one has to wait, as their latencies show."""


def _trtllm_gen(tiled: TiledPart, busy: Number, units: int, constants: Constants, cluster: int = CLUSTER) -> Launch:
    """trtllm-gen (cpp/tensorrt_llm/kernels/trtllmGenKernels/fmha/fmhaKernels.h, selectMlaGenerationKernel and
    computeNumCtas): up to 32 heads, or as long as each block has at most 1024 keys, a low-latency kernel with keys as
    rows (groups of 16 heads; values split over blocks while the chip has room); else 64 heads a block, or 128 on a
    cluster of two, which share the values."""
    part = tiled.part
    heads, keys, batch = part.heads / part.kv_heads, part.keys, part.batch * part.kv_heads
    small = batch * ceil_div(heads, SWAPPED_ROWS)
    parts = minimum(ceil_div(keys, STEP_KEYS), maximum(floor_div(units, small), 1))
    low = (heads <= LOW_LATENCY_HEADS) | ((ceil_div(keys, parts) <= LOW_LATENCY_KEYS) & (small <= units))
    pair = (heads > 64) & ~low
    groups = where(low, ceil_div(heads, where(heads <= 8, 8, SWAPPED_ROWS)), 1)
    blocks = batch * groups * where(pair, 2, 1)
    steps = ceil_div(keys, where(low, 2 * STEP_KEYS, STEP_KEYS))
    splits = minimum(steps, maximum(floor_div(units, blocks), 1))
    blocks = blocks * splits
    shares = where(pair, 1, where(4 * blocks <= units, 4, where(2 * blocks <= units, 2, 1)))
    blocks = blocks * shares
    element = DTYPE_BITS[part.kv_dtype] / 8
    # Keys are the operand that streams from shared memory: its width sets the pace, not the few rows.
    streamed = tiled.columns * element * (part.depth + part.width / shares) / 128 / constants.matrix_efficiency
    taken = tiled.key_bytes / constants.sm_bytes_per_clock * where(pair, 0.5, 1.0)
    wide = maximum(busy * where(pair, 1.0, 0.5 + 0.5 / shares), taken)
    clocks = where(low, streamed + constants.tile_clocks, wide)
    fits = blocks / splits <= sum(floor_div(gpc, splits) for gpc in GPC_UNITS)
    clustered = low & (splits > 1) & (splits <= cluster) & (fits | (shares > 1))
    merging = where(clustered, constants.cluster_s, _merging(splits, constants))
    ends = where(low, constants.item_clocks, constants.cta_clocks)
    l2 = batch * keys * (tiled.key_bytes / tiled.columns) * groups * shares
    tiles = where(low, STEP_TILES * ceil_div(keys, splits * STEP_KEYS), ceil_div(keys, splits * tiled.columns))
    turns = where(clustered & ~fits, 2, 1)
    return Launch(blocks, tiles * turns, clocks, ends * turns, splits, merging, l2)


def _trtllm_gen_apart(tiled: TiledPart, busy: Number, units: int, constants: Constants) -> Launch:
    """FlashInfer's build has no kernels that merge within clusters for values of 512 (fmhaKernels.cuh)."""
    return _trtllm_gen(tiled, busy, units, constants, cluster=1)


STYLES: dict[str, Callable[[TiledPart, Number, int, Constants], Launch]] = {
    "mla-fa3": _fa3, "mla-flash": _flash_mla, "mla-fmha": _fmha_v2, "mla-gen": _trtllm_gen,
    "mla-gen-apart": _trtllm_gen_apart,
}  # fmt: skip
"""How a kernel cuts items, by the name of the schedule."""


def climb(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, style: str) -> bool:
    """Add this part's terms to the walk. False where the chip's numbers do not suffice."""
    clocks = tile_clocks(tiled, hardware, constants)
    bandwidth = hardware.hbm_bandwidth_bytes_per_s
    if clocks is None or tiled.summary is None or not hardware.clock_sustained_hz or not bandwidth:
        return False
    second, units, part = 1.0 / hardware.clock_sustained_hz, hardware.sm_count, tiled.part
    busy = clocks.busy(constants) - constants.tile_clocks
    launch = STYLES[style](tiled, busy, units, constants)
    waves = launch.blocks / units
    rounds = ceil_div(launch.blocks, units)
    work = launch.tiles * launch.clocks * second
    moved = tiled.counts.hbm_bytes / (bandwidth * constants.hbm_share)
    if hardware.l2_achieved_bytes_per_s:
        moved = maximum(moved, launch.l2_bytes / hardware.l2_achieved_bytes_per_s)
    walk.raise_to("bandwidth", moved, "bytes move at achieved, not peak, bandwidth")
    if DTYPE_BITS[part.kv_dtype] < DTYPE_BITS[part.dtype]:
        cached = part.batch * part.kv_heads * part.keys * (tiled.key_bytes / tiled.columns)
        walk.add("convert", constants.convert_passes * cached / bandwidth, "the whole cache is widened first")
    waited = (rounds * launch.ends) * second
    busy_s = maximum(waves, 1) * work + waited
    both = (busy_s * busy_s + moved * moved) ** 0.5 - moved
    walk.add("unit_rate", both, "compute units work off their keys in whole tiles, and wait for the first")
    tail = constants.tail * (rounds - waves) * work
    walk.add("waves", where(waves > 1, tail, 0.0), "the last round of blocks does not fill the chip")
    partial = launch.splits * part.batch * part.heads * part.tokens * part.width * 4 * PARTIAL_PASSES / bandwidth
    merged = launch.merging + where(launch.splits > 1, partial, 0.0)
    walk.add("combine", merged, "partial results of the splits are read again and merged")
    return True
