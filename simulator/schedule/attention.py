"""Schedule of a tiled attention kernel: query tiles handed to compute units, each a loop over key tiles.

Follows the structure that explains the public latency tables (packing, exact tile counts, matrix and softmax
overlap, cost per query tile, waves and the longest tile, bandwidth achieved), in physical constants: clocks of
one tile from the chip's rates, the rest from the implementation's calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..algebra import Number, maximum, minimum
from ..bounds import native_dtype
from ..calibration import Constants
from ..hardware import Hardware
from ..tiling import TiledPart
from . import Walk
from .residency import Residency
from .waves import filled


@dataclass(frozen=True, slots=True, eq=False)
class TileClocks:
    """Clocks of one visited tile on one compute unit: matrix, softmax, and what the mask adds."""

    matrix: Number
    softmax: Number
    mask: Number

    def busy(self, constants: Constants, launched: Residency | None = None) -> Number:
        """With the shorter of matrix and softmax partly hidden behind the longer, and what the launch options add."""
        matrix, softmax = self.matrix, self.softmax
        if launched is not None:
            matrix = maximum(matrix, launched.operand_clocks / constants.matrix_efficiency)
            softmax = softmax + launched.rescaling
        clocks = maximum(matrix, softmax) + constants.softmax_exposed * minimum(matrix, softmax)
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
    lanes = vector / 2
    slots = constants.vector_slots_per_pair + sum(
        max(0.0, op.vector - 4) if type(op.vector) in (int, float) else 0.0 for op in tiled.part.ops if op.per == "pair"
    )
    special = sum(op.special for op in tiled.part.ops if op.per == "pair" and not op.recomputed)
    exp = hardware.exp_per_clock_per_sm
    exp_clocks = 0.0 if exp is None else tiled.tile_pairs * special * constants.exp_share / exp
    softmax = exp_clocks + tiled.tile_pairs * slots / lanes
    mask_slots = constants.mask_slots_per_pair + constants.mask_slots_per_axis * (len(tiled.tile.query) - 1)
    return TileClocks(matrix, softmax, tiled.tile_pairs * mask_slots / lanes)


REFERENCE_TILE = 128 * (128 + 128)
"""Elements of queries and outputs of the tile that `cta_clocks` is stated for: 128 rows, head_dim 128."""


def end_clocks(tiled: TiledPart, constants: Constants) -> Number:
    """Clocks of the prologue and epilogue of one query tile: half latency, half in proportion to what is loaded and
    stored (the prototype study of the public tables needs both parts)."""
    share = tiled.rows * (tiled.part.depth + tiled.part.width) / REFERENCE_TILE
    return constants.cta_clocks * (0.5 + 0.5 * share)


def smooth_max(a: Number, b: Number) -> Number:
    """(a^4 + b^4)^(1/4): two resources that overlap, but not perfectly where they are close."""
    a, b = a * a, b * b
    return (a * a + b * b) ** 0.25


def memory_time(tiled: TiledPart, hardware: Hardware, cache: str) -> Number:
    """Seconds to move the part's bytes at achieved rates: HBM, and L2 to the compute units."""
    moved = tiled.counts.hbm_bytes
    if cache == "warm" and hardware.l2_bytes:
        moved = maximum(moved - hardware.l2_bytes, 0)
    bandwidth = hardware.hbm_bandwidth_bytes_per_s or 0.0
    seconds = moved / (bandwidth * (hardware.hbm_efficiency or 1.0))
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
    per_row = summary.visited / maximum(summary.query_tiles, 1)
    # Full tiles are masked only by kernels that do not tell them apart.
    share_masked = {"all": 1.0, "none": 0.0}.get(masked, summary.partial / maximum(summary.visited, 1))
    mask = share_masked * clocks.mask
    total = visited * (busy + mask)
    reason = "the kernel masks every visited tile" if masked == "all" else "partial tiles are masked"
    walk.raise_to("masking", total / units * second, reason)
    ends = end_clocks(tiled, constants)
    total = total + ctas * ends
    walk.raise_to("fill_drain", total / units * second, "prologue and epilogue of every query tile")
    longest = summary.longest_row * (busy + mask) + ends
    equal = (summary.longest_row - per_row) * 50 <= per_row
    compute = filled(total, longest, ctas, units, constants.tail, equal) * second
    walk.raise_to("waves", compute, "query tiles do not fill the compute units evenly: last wave and longest tile")
    both = smooth_max(compute, memory_time(tiled, hardware, cache))
    walk.raise_to("bandwidth", both, "bytes move at achieved, not peak, bandwidth and overlap imperfectly")
    return True
