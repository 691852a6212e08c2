"""Schedule of split-KV decoding: few query rows, the keys of each kv head split over the chip, then combined.

Items are (sequence, kv head, group of packed rows); each is cut into the number of splits that fills the chip
(flash-decoding; num_splits_heuristic of FlashAttention, the work planner of FlashInfer).
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, clip, floor_div, maximum, minimum, where
from ..calibration import Constants
from ..config import Config
from ..hardware import Hardware
from ..tiling import TiledPart
from . import Walk
from .attention import TileClocks, memory_time, tile_clocks
from .residency import LOAD_CLOCKS, STEP_CLOCKS, Residency

MAX_SPLITS = 128
"""FlashAttention's limit (csrc/flash_attn/flash_api.cpp); planners of other libraries stay below it too."""


def splits(items: Number, longest_row: Number, units: int) -> Number:
    """Splits of one item: enough to fill the chip, at least two key tiles each."""
    return clip(floor_div(units, items), 1, maximum(minimum(floor_div(longest_row, 2), MAX_SPLITS), 1))


KEYS_A_WARP = 8
"""Keys of the smallest matrix instruction: the few rows of a decode tile leave warps only keys to share."""
LONE = 4.0
"""Times longer that a scheduler with one warp takes for a tile than one with enough of them: blocks of 4 and 8 warps
alone on a unit of an RTX 5080 (published landscapes)."""
STRAGGLE = 0.2
"""Of the time with one work item a compute unit, how much later the slowest ends; it falls with the items that a unit
works on: split counts on an H100 and an RTX 5080 (published landscapes) lose less by too many than by too few."""


def climb(
    walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, cache: str,
    launched: Residency | None = None,
) -> bool:  # fmt: skip
    """Add this part's terms to the walk. False where the chip's numbers do not suffice."""
    clocks = tile_clocks(tiled, hardware, constants)
    summary = tiled.summary
    if clocks is None or summary is None or not hardware.clock_sustained_hz or not hardware.hbm_bandwidth_bytes_per_s:
        return False
    second = 1.0 / hardware.clock_sustained_hz
    units = hardware.sm_count
    items = summary.query_tiles * tiled.instances
    if launched is not None:
        return _climb_config(walk, tiled, hardware, constants, cache, launched, clocks)
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


def _climb_config(
    walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, cache: str, launched: Residency,
    clocks: TileClocks,
) -> bool:  # fmt: skip
    """The same where the config states the splits: blocks that share a unit hide each other's latency, and what fits no
    more waits for another round."""
    summary, config = tiled.summary, tiled.tile
    assert summary is not None
    assert isinstance(config, Config)
    assert hardware.clock_sustained_hz
    second, units = 1.0 / hardware.clock_sustained_hz, hardware.sm_count
    blocks = summary.query_tiles * tiled.instances * config.splits
    tiles_each = ceil_div(summary.longest_row, config.splits)
    repeated = max(1.0, KEYS_A_WARP * config.warps / tiled.columns)
    compute = (clocks.busy(constants) + launched.converting) * repeated + 2 * STEP_CLOCKS  # K and V wait in turn
    alone = compute * max(1.0, LONE * 4 / config.warps) + LOAD_CLOCKS
    shared = maximum(compute, tiled.key_bytes / constants.sm_bytes_per_clock)
    rounds = ceil_div(blocks, units * launched.blocks)
    last = ceil_div(blocks - (rounds - 1) * units * launched.blocks, units)
    whole = (rounds - 1) * maximum(alone, launched.blocks * shared) + maximum(alone, last * shared)
    memory = memory_time(tiled, hardware, cache)
    walk.raise_to("bandwidth", memory, "bytes move at achieved, not peak, bandwidth")
    busy = whole * tiles_each * second
    both = (busy * busy + memory * memory) ** 0.5
    walk.raise_to("unit_rate", both, "blocks on a compute unit wait for their keys and work them off one by one")
    walk.add("fill_drain", rounds * constants.cta_clocks * second, "every work item loads queries, writes its result")
    walk.add("waves", both * STRAGGLE / maximum(blocks / units, 1), "few work items a unit end at different times")
    combine = constants.combine_s + constants.combine_per_split_s * config.splits if config.splits > 1 else 0.0
    walk.add("combine", combine, "partial results of the splits are read again and merged")
    return True
