"""What matrix operands cost on their way: from memory where the L2 does not hold them until they are read again, into
shared memory, and out of it in rows of some alignment."""

from __future__ import annotations

from ..algebra import Number, ceil_div, ceil_to, clip, maximum, minimum, where
from ..calibration import Constants
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import TiledPart, key_bytes

ROWS = 128
"""Of a tcgen05 instruction: keys and values are read once for so many rows of queries."""


def operand_clocks(tiled: TiledPart, matrix: Number, hardware: Hardware, constants: Constants) -> Number:
    """Clocks of a tile's matrix work, given those at the rate of the matrix unit: no less than its operands take.

    Keys and values are written once and read for every 128 rows, queries read once (probabilities lie in tensor
    memory): at head_dim 256 and 512 that is more than the matrix unit needs (2603.05451 counts the reads).
    """
    part = tiled.part
    element = DTYPE_BITS[part.dtype] / 8
    if constants.operand_rate and hardware.smem_bytes_per_clock_per_sm:
        keys = tiled.columns * (part.depth + part.width) * element
        moved = (ceil_div(tiled.rows, ROWS) + 1) * keys + tiled.rows * part.depth * element
        matrix = maximum(matrix, moved / (hardware.smem_bytes_per_clock_per_sm * constants.operand_rate))
    return matrix * unaligned(tiled, constants)


def unaligned(tiled: TiledPart, constants: Constants) -> Number:
    """Times that work takes for rows of head_dim that do not start where their loads would: of a tile, and of the ends
    of a query tile."""
    row = tiled.part.depth * (DTYPE_BITS[tiled.part.dtype] / 8)
    return where(ceil_to(row, int(constants.alignment_bytes)) > row, constants.unaligned_matrix, 1.0)


THRASHING = 8.0
"""How soon keys that are read over and over in turn drop out of a cache that they exceed: from a seventh more than its
size on, all of them (least recently used ones go first)."""

SCATTERED = 0.85
"""Of the bandwidth that kernels which read in order achieve, the share of blocks that read different sequences and
heads (SGLang's encoder kernel on an L40S, calibration rows whose keys exceed the L2)."""
WARPS = 4
"""Of the work items that `resident` counts."""


def residents(tiled: TiledPart, constants: Constants) -> Number:
    """Work items that share a compute unit: as calibrated, for items of four warps where the tile states its warps."""
    return where(tiled.warps > 0, constants.resident * WARPS / maximum(tiled.warps, 1), constants.resident)


def dropped_share(tiled: TiledPart, hardware: Hardware) -> Number:
    """Share of the keys that the L2 drops before they are read again, where blocks that run together are of different
    sequences and heads: all, if the keys of the whole call exceed it."""
    part = tiled.part
    keys = maximum(part.batch * part.kv_heads * part.keys * key_bytes(part), 1)
    return tiled.spread * clip(THRASHING * (1 - (hardware.l2_bytes or 0.0) / keys), 0, 1)


def reread_bytes(tiled: TiledPart, hardware: Hardware, constants: Constants) -> Number:
    """Bytes of keys that are read from memory again: those that the L2 drops and no block that runs beside shares."""
    part = tiled.part
    together = hardware.sm_count * residents(tiled, constants) / part.batch
    sharing = maximum(minimum(together, part.heads / part.kv_heads) * maximum(together / part.heads, 1), 1)
    again = maximum(tiled.counts.l2_bytes - tiled.counts.hbm_bytes, 0) / sharing
    return dropped_share(tiled, hardware) * again / SCATTERED
