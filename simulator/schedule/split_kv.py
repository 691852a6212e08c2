"""Schedule of split-KV decoding: few query rows, the keys of each kv head split over the chip, then combined.

Items are (sequence, kv head, group of packed rows); each is cut into the number of splits that fills the chip
(flash-decoding; num_splits_heuristic of FlashAttention, the work planner of FlashInfer).
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, clip, floor_div, maximum, minimum, where
from ..calibration import Constants
from ..hardware import Hardware
from ..tiling import TiledPart
from . import Walk
from .attention import memory_time, tile_clocks

MAX_SPLITS = 128
"""FlashAttention's limit (csrc/flash_attn/flash_api.cpp); planners of other libraries stay below it too."""


def splits(items: Number, longest_row: Number, units: int) -> Number:
    """Splits of one item: enough to fill the chip, at least two key tiles each."""
    return clip(floor_div(units, items), 1, maximum(minimum(floor_div(longest_row, 2), MAX_SPLITS), 1))


def climb(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, cache: str) -> bool:
    """Add this part's terms to the walk. False where the chip's numbers do not suffice."""
    clocks = tile_clocks(tiled, hardware, constants)
    summary = tiled.summary
    if clocks is None or summary is None or not hardware.clock_sustained_hz or not hardware.hbm_bandwidth_bytes_per_s:
        return False
    second = 1.0 / hardware.clock_sustained_hz
    units = hardware.sm_count
    items = summary.query_tiles * tiled.instances
    count = splits(items, summary.longest_row, units)
    per_tile = maximum(clocks.busy(constants), tiled.key_bytes / constants.sm_bytes_per_clock)
    tiles_each = ceil_div(summary.longest_row, count)
    rounds = items * count / units
    whole = ceil_div(items * count, units)
    work = tiles_each * per_tile
    busy = maximum(rounds, 1) * work
    memory = memory_time(tiled, hardware, cache)
    walk.raise_to("bandwidth", memory, "bytes move at achieved, not peak, bandwidth")
    both = (busy * busy * second * second + memory * memory) ** 0.5
    walk.raise_to("unit_rate", both, "one compute unit takes in and works off its keys more slowly than HBM delivers")
    latency = (maximum(whole - 1, 0) * constants.item_clocks + constants.cta_clocks) * second
    walk.add("fill_drain", latency, "every work item waits for its first keys and writes its result")
    tail = constants.tail * (whole - rounds) * work * second
    walk.add("waves", where(rounds > 1, tail, 0.0), "the last round of work items does not fill the chip")
    combine = where(count > 1, constants.combine_s + constants.combine_per_split_s * count, 0.0)
    walk.add("combine", combine, "partial results of the splits are read again and merged")
    return True
