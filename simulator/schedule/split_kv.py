"""Schedule of split-KV decoding: few query rows, the keys of each kv head split over the chip, then combined.

Items are (sequence, kv head, group of packed rows), cut into splits as the kernel's host code plans it (`splitting`).
A block loads its queries, takes in key tile after key tile and writes its result; blocks that share a compute unit hide
each other's waiting, but not what they load through it. All of them share the memory.
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, maximum, minimum, where
from ..calibration import Constants
from ..config import Config
from ..hardware import Hardware
from ..splitting import MAX_SPLITS, SplitPlan, fill
from ..tiling import TiledPart
from . import Walk
from .attention import REFERENCE_TILE, TileClocks, memory_time, tile_clocks
from .residency import LOAD_CLOCKS, STEP_CLOCKS, Residency

KEYS_A_WARP = 8
"""Keys of the smallest matrix instruction: the few rows of a decode tile leave warps only keys to share."""
LONE = 4.0
"""Times longer that a scheduler with one warp takes for a tile than one with enough of them: blocks of 4 and 8 warps
alone on a unit of an RTX 5080 (published landscapes)."""
STRAGGLE = 0.2
"""Of the time with one work item a compute unit, how much later the slowest ends; it falls with the items that a unit
works on: split counts on an H100 and an RTX 5080 (published landscapes) lose less by too many than by too few."""
USUAL_KEYS = 128
"""Keys of the tile that `tile_clocks` and `query_clocks` are stated for here."""
SHARP = 12
"""How suddenly buffers that are read over and over leave an L2 that they outgrow: between half its capacity and all of
it the rate falls from more to less than memory's in every public decode table of A100, H100 and B200."""
TOGETHER = 4
"""Power of the mean by which times that overlap add up."""


def climb(
    walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, cache: str,
    launched: Residency | None = None,
) -> bool:  # fmt: skip
    """Add this part's terms to the walk. False where the chip's numbers do not suffice."""
    clocks = tile_clocks(tiled, hardware, constants)
    summary, part = tiled.summary, tiled.part
    if clocks is None or summary is None or not hardware.clock_sustained_hz or not hardware.hbm_bandwidth_bytes_per_s:
        return False
    if launched is not None:
        return _climb_config(walk, tiled, hardware, constants, cache, launched, clocks)
    plan = tiled.plan or _filled(tiled, hardware)
    second, units = 1.0 / hardware.clock_sustained_hz, hardware.sm_count
    loading = tiled.key_bytes / constants.sm_bytes_per_clock
    steps = (constants.tile_clocks + constants.query_clocks * tiled.rows) * (tiled.columns / USUAL_KEYS)
    memory, start, missed = _memory(tiled, plan, hardware, constants, cache)
    alone = loading + tiled.key_bytes / constants.block_bytes_per_clock
    tile = maximum(alone + steps + constants.miss_clocks * missed, clocks.matrix)
    # A share of filling and draining is in proportion to the rows of queries and results, the rest is latency.
    share = constants.cta_proportional * (tiled.rows * (part.depth + part.width) / REFERENCE_TILE - 1)
    ends = constants.item_clocks * (1 + share)
    item = ends + constants.split_clocks * plan.splitting + constants.window_clocks * plan.windowed
    passed = constants.sequence_clocks * part.batch
    item = item + 0.5 * passed * plan.searching
    work = plan.tiles_each * tile
    blocks = plan.items * plan.splits
    rounds = blocks / units
    held = maximum(rounds / plan.resident, 1)
    issue = constants.issue_clocks + constants.row_issue_clocks * tiled.rows * (part.depth + part.width) / 256
    shared = where(plan.resident > 1, maximum(rounds, 1) * (plan.tiles_each * loading + issue), 0)
    first = (ends + minimum(plan.tiles_each, 1) * tile) * second + start
    search = passed * (1 - plan.searching) * second
    walk.raise_to("bandwidth", memory, "bytes move at achieved, not peak, bandwidth")
    level = _together(held * work * second, shared * second, memory)
    walk.raise_to("unit_rate", level, "one compute unit takes in and works off its keys more slowly than HBM delivers")
    level = _together(held * (work + item) * second + search, shared * second, first + memory)
    walk.raise_to("fill_drain", level, "every work item waits for its first keys and writes its result")
    held = held + constants.tail * (ceil_div(blocks, units * plan.resident) - held)
    level = _together(held * (work + item) * second + search, shared * second, first + memory)
    walk.raise_to("waves", level, "the last round of work items does not fill the chip")
    combine = constants.combine_block_clocks * plan.splitting * plan.combine_blocks / units * second
    merged = where(plan.splits > 1, constants.combine_s + constants.combine_per_split_s * plan.splits, 0.0)
    merged = merged + constants.merge_clocks * plan.merging * second
    walk.add("combine", combine + merged, "partial results of the splits are read again and merged")
    walk.add("prepare", constants.prepare_s * plan.prepared, "kernels before it ready operands of this shape")
    return True


def _together(*times: Number) -> Number:
    """Times that overlap, but not perfectly where they are close."""
    total: Number = 0.0
    for time in times:
        total = total + time**TOGETHER
    return total ** (1 / TOGETHER)


def _filled(tiled: TiledPart, hardware: Hardware) -> SplitPlan:
    """A plan where the kernel states none."""
    assert tiled.summary is not None
    items, tiles = tiled.summary.query_tiles * tiled.instances, tiled.summary.longest_row
    splits = fill(items, tiles, hardware.sm_count, MAX_SPLITS)
    return SplitPlan(items, splits, ceil_div(tiles, splits))


def _memory(
    tiled: TiledPart, plan: SplitPlan, hardware: Hardware, constants: Constants, cache: str
) -> tuple[Number, Number, Number]:
    """(seconds that the bytes take, seconds before the first of them arrive beyond those that an L2 hit takes, share
    of them that is not in the L2).

    A warm cache holds all of them or, cyclically overwritten, none: buffers larger than the L2 gain nothing.
    """
    moved = tiled.counts.hbm_bytes + plan.padding
    seconds = moved / ((hardware.hbm_bandwidth_bytes_per_s or 1.0) * (hardware.hbm_efficiency or 1.0))
    missed: Number = 1.0
    if cache == "warm" and hardware.l2_bytes and hardware.l2_achieved_bytes_per_s:
        load = (moved / (constants.cached * hardware.l2_bytes)) ** SHARP
        missed = load / (1 + load)
        seconds = seconds * missed + moved / hardware.l2_achieved_bytes_per_s * (1 - missed)
    if hardware.l2_achieved_bytes_per_s:
        seconds = maximum(seconds, tiled.counts.l2_bytes / hardware.l2_achieved_bytes_per_s)
    return seconds, constants.miss_s * missed, missed


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
