"""Schedule of a tiled attention kernel: query tiles handed to compute units, each a loop over key tiles.

Follows the structure that explains the public latency tables (packing, exact tile counts, matrix and softmax
overlap, cost per query tile, waves and the longest tile, bandwidth achieved), in physical constants: clocks of
one tile from the chip's rates, the rest from the implementation's calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..algebra import Number, log2, maximum, minimum, where
from ..bounds import native_dtype
from ..calibration import Constants
from ..hardware import Hardware
from ..tiling import TiledPart
from . import Walk
from .operands import ROWS, dropped_share, operand_clocks, reread_bytes, residents, unaligned
from .residency import ROWS_A_WARP, Residency
from .waves import filled


@dataclass(frozen=True, slots=True, eq=False)
class TileClocks:
    """Clocks of one visited tile on one compute unit: matrix, softmax, and what the mask adds. exposed: share of the
    shorter of the first two that is not hidden."""

    matrix: Number
    softmax: Number
    mask: Number
    exposed: Number

    def busy(self, constants: Constants, launched: Residency | None = None) -> Number:
        """With the shorter of matrix and softmax partly hidden behind the longer, and what the launch options add."""
        matrix, softmax = self.matrix, self.softmax
        if launched is not None:
            matrix = maximum(matrix, launched.operand_clocks / constants.matrix_efficiency)
            softmax = softmax + launched.rescaling
        longer, shorter = maximum(matrix, softmax), minimum(matrix, softmax)
        if constants.exposed_power:
            shorter = shorter * (shorter / longer) ** constants.exposed_power
        clocks = longer + self.exposed * shorter
        if launched is not None:
            clocks = clocks * launched.repeated * (1 + launched.waiting) + launched.tile_clocks
        return clocks + constants.tile_clocks


def tile_clocks(tiled: TiledPart, hardware: Hardware, constants: Constants) -> TileClocks | None:
    """Clocks of one tile, or None where the chip's rates are unknown."""
    native = native_dtype(hardware, tiled.part.dtype)
    rate = hardware.matrix_flop_per_s(native, 1.0)
    vector = hardware.vector_flop_per_clock_per_sm
    if not rate or not vector:
        return None
    matrix = tiled.tile_matrix / (rate / hardware.sm_count) / constants.matrix_efficiency
    matrix = operand_clocks(tiled, matrix, hardware, constants)
    lanes = vector / 2
    slots = constants.vector_slots_per_pair + sum(
        max(0.0, op.vector - 4) if type(op.vector) in (int, float) else 0.0 for op in tiled.part.ops if op.per == "pair"
    )
    special = sum(op.special for op in tiled.part.ops if op.per == "pair" and not op.recomputed)
    exp = hardware.exp_per_clock_per_sm
    exp_clocks = 0.0 if exp is None else tiled.tile_pairs * special * constants.exp_share / exp
    outputs = tiled.rows * tiled.part.width * constants.vector_slots_per_output
    softmax = exp_clocks + (tiled.tile_pairs * slots + outputs) / lanes
    mask_slots = constants.mask_slots_per_pair + constants.mask_slots_per_axis * (len(tiled.tile.query) - 1)
    mask_slots = mask_slots + constants.mask_slots_per_window * tiled.windowed
    exposed = constants.softmax_exposed + where(tiled.rows <= ROWS, constants.lone_exposed, 0.0)
    crowd = maximum(ROWS_A_WARP * tiled.warps / tiled.rows, 1)
    times = constants.crowded_tile ** log2(crowd)
    masking = tiled.tile_pairs * mask_slots / lanes
    return TileClocks(matrix * times, softmax * times, masking * times, minimum(exposed, 1.0))


THROTTLED_AFTER_S = 3e-3
"""Length of a call at which the clock has fallen by half of what it will."""
REFERENCE_TILE = 128 * (128 + 128)
"""Elements of queries and outputs of the tile that `cta_clocks` is stated for: 128 rows, head_dim 128."""


def end_clocks(tiled: TiledPart, constants: Constants) -> Number:
    """Clocks of the prologue and epilogue of one query tile: latency, and a share in proportion to what is loaded and
    stored (the prototype study of the public tables needs both parts)."""
    share = tiled.rows * (tiled.part.depth + tiled.part.width) / REFERENCE_TILE
    proportional = constants.cta_proportional
    ends = constants.cta_clocks * (1 - proportional + proportional * share) * unaligned(tiled, constants)
    return ends + constants.gather_clocks * tiled.gathered


def masked_tiles(tiled: TiledPart, masked: str) -> tuple[Number, Number]:
    """Visited tiles on which the mask is evaluated, of all query tiles of an instance and of the longest one. Full
    tiles are masked only by kernels that do not tell them apart."""
    assert tiled.summary is not None
    summary = tiled.summary
    if masked == "none":
        return 0.0, 0.0
    if masked == "all":
        return summary.visited, summary.longest_row
    return summary.partial, minimum(summary.partial / maximum(summary.query_tiles, 1), summary.longest_row)


def merging_time(tiled: TiledPart, hardware: Hardware, constants: Constants) -> Number:
    """Seconds of the pass that merges the splits' results, written and read in fp32."""
    bandwidth = hardware.hbm_bandwidth_bytes_per_s
    assert bandwidth is not None
    part = tiled.part
    results = part.batch * part.heads * part.tokens * part.width * 4 * tiled.splits
    return tiled.merged * (constants.combine_s + constants.combine_passes * 2 * results / bandwidth)


def smooth_max(a: Number, b: Number) -> Number:
    """(a^4 + b^4)^(1/4): two resources that overlap, but not perfectly where they are close."""
    a, b = a * a, b * b
    return (a * a + b * b) ** 0.25


MISS_SHARPNESS = 6


def missed_share(tiled: TiledPart, hardware: Hardware, constants: Constants) -> Number:
    """Share of the part's bytes that the L2 does not keep from one call to the next: all or none, but for sizes near
    what it holds. The same step shows in decoding, and from kernel to kernel at the same size."""
    load = (tiled.counts.hbm_bytes / (constants.cached * (hardware.l2_bytes or 1))) ** MISS_SHARPNESS
    return load / (1 + load)


def memory_time(tiled: TiledPart, hardware: Hardware, cache: str, again: Number = 0) -> Number:
    """Seconds to move the part's bytes at achieved rates: HBM (`again`: bytes read from it once more), and L2 to the
    compute units."""
    moved = tiled.counts.hbm_bytes
    if cache == "warm" and hardware.l2_bytes:
        moved = maximum(moved - hardware.l2_bytes, 0)
    bandwidth = hardware.hbm_bandwidth_bytes_per_s or 0.0
    seconds = (moved + again) / (bandwidth * (hardware.hbm_efficiency or 1.0))
    if hardware.l2_achieved_bytes_per_s:
        seconds = maximum(seconds, tiled.counts.l2_bytes / hardware.l2_achieved_bytes_per_s)
    return seconds


def climb(
    walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants, cache: str, masked: str,
    launched: Residency | None = None,
) -> bool:  # fmt: skip
    """Add this part's terms to the walk. False where the chip's numbers do not suffice."""
    clocks = tile_clocks(tiled, hardware, constants)
    summary = tiled.summary
    if clocks is None or summary is None or not hardware.clock_sustained_hz or not hardware.hbm_bandwidth_bytes_per_s:
        return False
    second = 1.0 / hardware.clock_sustained_hz
    units = hardware.sm_count
    visited = summary.visited * tiled.instances
    ctas = summary.query_tiles * tiled.instances
    longer = maximum(clocks.matrix, clocks.softmax)
    share = visited / units * second
    lanes = hardware.vector_flop_per_s(hardware.clock_sustained_hz) or 1.0
    rate = maximum(longer * share, tiled.counts.vector / lanes)
    walk.raise_to("rate", rate, "sustained clock, and the share of its peak that the inner loop reaches")
    busy = clocks.busy(constants)
    walk.raise_to("exposed_softmax", busy * share, "matrix and softmax of a tile overlap only in part")
    if launched is not None:
        busy = maximum(busy, clocks.busy(constants, launched))
        walk.raise_to("launch_options", busy * share, "too few warps to hide latency, repeated work, spilled registers")
    busy = busy + constants.exposed_loads * tiled.key_bytes / constants.sm_bytes_per_clock
    alone = busy + constants.wait_clocks + constants.wait_clocks_per_window * tiled.windowed
    if constants.wait_clocks or constants.wait_clocks_per_window:
        busy = maximum(busy, alone / residents(tiled, constants))
        walk.raise_to("waiting", busy * share, "work items on a compute unit hide each other's latency in part")
    if constants.miss_clocks:
        late = constants.miss_clocks * dropped_share(tiled, hardware)
        busy, alone = busy + late, alone + late
        walk.raise_to("dropped", busy * share, "key tiles come from memory again, not from the L2")
    per_row = summary.visited / maximum(summary.query_tiles, 1)
    masks, masks_longest = masked_tiles(tiled, masked)
    total = visited * busy + masks * tiled.instances * clocks.mask
    reason = "the kernel masks every visited tile" if masked == "all" else "partial tiles are masked"
    walk.raise_to("masking", total / units * second, reason)
    ends, items = end_clocks(tiled, constants), ctas * tiled.splits
    total = total + items * ends / residents(tiled, constants)
    walk.raise_to("fill_drain", total / units * second, "prologue and epilogue of every query tile")
    longest = (summary.longest_row * alone + masks_longest * clocks.mask) / tiled.splits + ends
    equal = (summary.longest_row - per_row) * 50 <= per_row
    compute = filled(total, longest, items, units, constants.tail, equal) * second
    walk.raise_to("waves", compute, "query tiles do not fill the compute units evenly: last wave and longest tile")
    if constants.sequence_clocks:
        compute = compute + constants.sequence_clocks * tiled.part.batch * second
        walk.raise_to("search", compute, "every unit's scheduler passes over all sequences of a ragged batch")
    if constants.throttling:
        loaded = (clocks.matrix / busy) ** 2 * compute / (compute + THROTTLED_AFTER_S)
        compute = compute * (1 + constants.throttling * loaded)
        walk.raise_to("throttling", compute, "matrix units that work for long draw more power than the clock stands")
    memory = memory_time(tiled, hardware, cache, reread_bytes(tiled, hardware, constants))
    both = smooth_max(compute, memory)
    walk.raise_to("bandwidth", both, "bytes move at achieved, not peak, bandwidth and overlap imperfectly")
    if constants.miss_s:
        missed = constants.miss_s * missed_share(tiled, hardware, constants)
        walk.add("misses", missed, "the L2 keeps nothing of the last call: the first tiles wait for memory together")
    merging = merging_time(tiled, hardware, constants)
    walk.add("combine", merging, "partial results of the splits are read again and merged")
    return True
