"""What the launch options of a config change: blocks that share a compute unit, latency that they hide, warps that
repeat work, registers that spill.

A tile alone (`Tile`) is a kernel whose launch options are as its authors chose them: the constants of its calibration
stand for all of this. A `Config` states warps, stages, splits. The effects were read off published landscapes
(`benchmarks/measured/landscapes/published.csv` names the sources); `attnsim validate --data landscapes:FILE` shows how
well they order others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..config import Config, TritonKernel
from ..hardware import Hardware
from ..implementations import Implementation, largest
from ..problem import DTYPE_BITS
from ..resources import INSTRUCTION_OF, assumed_registers, padded, resident_blocks
from ..tiling import TiledPart

ROWS_A_WARP = 16
"""Rows of the smallest matrix instruction of a warp; a warpgroup of four takes 64. Triton gives every warp rows of its
own (chained products), so that warps beyond rows / 16 repeat others' work: 64 rows by 8 warps take 1.9 times as long as
by 4 on an A100, 128 rows by 16 warps 2.05 times as long as by 8 on an H100."""
LATENCY = 0.3
"""Of a tile's time what one warp a scheduler waits for itself; it falls with the square of the warps: on an A100 blocks
of 4 warps alone on their unit take 1.32 times as long as two together, which take 1.02 times as long as three."""
SHARED_ROWS = 1.15
"""Times that a tile takes whose rows are shared by warps, as newer versions of Triton do it: row maxima, sums and
probabilities pass through shared memory (seen in compiled code; the time is an estimate)."""
WIDE_WARP = 1.15
"""Times that warps of 32 rows and more take with `mma`, whose operands and results they hold: 128 rows by 4 warps
against 8 on an A100."""
NARROW_WAVE = 1.08
"""Times that AMD's waves of fewer than 32 rows take, with the smaller of two matrix instructions: the tuned tiles of
aotriton have 32 rows a wave."""
LONE_BLOCK = 0.4
"""Of a tile's time what a block alone on an AMD unit waits for its own loads and barriers; it falls with the square of
the blocks: all tuned tiles of aotriton (gfx942, gfx950, head_dim 64 to 256) leave local memory for two, and on gfx1201
128 keys, which leave it for one, take 1.5 times as long as 64."""
LOAD_CLOCKS = 1000.0
"""Clocks that a tile waits for its keys with one stage (DRAM latency of 600 to 800 clocks, RRZE gpu-benches, and the
transfer); a quarter of it for each stage more, and blocks that share the unit hide their part. Keys that are converted
land in registers, whatever the stages."""
STEP_CLOCKS = 200.0
"""Of a tile's barriers and addresses, hidden in the same way."""
SPILL_BYTES_PER_CLOCK = 32.0
"""At which spilled registers are written and read again by a compute unit."""
CONVERT_SLOTS = 4.0
"""Vector slots for each element of keys and values that are stored narrower than they are multiplied: unpack, convert,
scale, pack."""
COPIED_AGAIN = 0.08
"""More time where keys that land in registers are pipelined too: converted ones pass through shared memory twice, and
on AMD chips one stage is the best of nearly all published tiles."""
UNPROVEN = 0.03
"""More time for each of persistent blocks, descriptors, specialised warps: no published landscape shows their gain, so
that of equal tiles the plain one comes first."""
USUAL_KEYS = 128
"""Keys of the tiles for which constants state the vector slots of a pair: every tile multiplies the whole result."""
OVERLAPPED = 1.25
"""Times longer than its matrix work that the operands of a tile may take without being seen: those of 128 x 128 pairs
with head_dim 128 on Hopper, the tile that efficiencies of kernels there are known for."""


@dataclass(frozen=True, slots=True)
class Residency:
    """blocks: on a compute unit at a time. waiting: share of a tile's time spent waiting for itself. repeated: times
    that the tile's work is done. tile_clocks: clocks of a tile beyond that, with `blocks` sharing the unit, those of
    `converting` keys among them. operand_clocks: that its matrix work takes at least, to read its operands from shared
    memory at the peak rate. rescaling: of the result, beyond that of a tile with 128 keys (may be negative)."""

    blocks: int
    waiting: float
    repeated: float
    tile_clocks: float
    operand_clocks: float
    converting: float
    rescaling: float


def residency(kernel: Implementation, tiled: TiledPart, hardware: Hardware) -> Residency | None:
    """The effects of a config's launch options; None for a tile without any, and for chips whose limits are unknown."""
    config, part = tiled.tile, tiled.part
    if not (isinstance(config, Config) and isinstance(kernel, TritonKernel) and hardware.registers_per_sm):
        return None
    rows, columns = math.prod(config.query), math.prod(config.key)
    depth, width = (padded(int(largest(x))) for x in (part.depth, part.width))
    threads = int(hardware.warp_size or 32) * config.warps
    converted = DTYPE_BITS[part.kv_dtype] < DTYPE_BITS[part.dtype]
    instruction = INSTRUCTION_OF.get(hardware.generation, "mfma")
    wanted, cap = registers(kernel, tiled, hardware, config)
    blocks = resident_blocks(
        hardware, config.warps, int(min(wanted, cap)), kernel.shared_memory_bytes(part, hardware, config)
    )
    spilled = max(wanted - cap, 0.0) * threads * 8 / SPILL_BYTES_PER_CLOCK
    loading = 0.0 if instruction == "mfma" else LOAD_CLOCKS / 4 ** (0 if converted else config.stages - 1)
    lanes = (hardware.vector_flop_per_clock_per_sm or math.inf) / 2
    read = columns * (depth if part.shared_kv else depth + width)
    converting = CONVERT_SLOTS * read / lanes if converted else 0.0
    element = max(int(DTYPE_BITS[part.dtype]) // 8, 1)
    operands = 0.0 if part.backward else operand_bytes(rows, read * element, depth * element, instruction, config.warps)
    return Residency(
        blocks=blocks,
        waiting=LONE_BLOCK / blocks**2 if instruction == "mfma" else LATENCY / (blocks * config.warps / 4) ** 2,
        repeated=repeated(kernel, columns if part.backward else rows, config, instruction, converted),
        tile_clocks=spilled + (loading + STEP_CLOCKS) / blocks + converting,
        operand_clocks=operands / (hardware.smem_bytes_per_clock_per_sm or math.inf) / OVERLAPPED,
        converting=converting,
        rescaling=0.0 if part.backward else rows * width * (1 - columns / USUAL_KEYS) / lanes,
    )


def registers(kernel: TritonKernel, tiled: TiledPart, hardware: Hardware, config: Config) -> tuple[int, float]:
    """(registers that a thread would use, those that it may have)."""
    part = tiled.part
    threads = int(hardware.warp_size or 32) * config.warps
    cap = getattr(config, "max_registers", None) or math.inf
    cap = min(cap, hardware.registers_per_thread or 255, (hardware.registers_per_sm or math.inf) // threads // 8 * 8)
    wanted = kernel.registers(part, hardware, config)
    if wanted is None or wanted >= 255:  # estimates of our kernels stop where a thread has no more
        rows, columns = math.prod(config.query), math.prod(config.key)
        depth, width = (padded(int(largest(x))) for x in (part.depth, part.width))
        # A backward block holds the gradients of its keys and values.
        held = (columns, rows, depth, depth + width) if part.backward else (rows, columns, depth, width)
        element = max(int(DTYPE_BITS[part.dtype]) // 8, 1)
        converted = DTYPE_BITS[part.kv_dtype] < DTYPE_BITS[part.dtype]
        wanted = max(wanted or 0, assumed_registers(hardware.generation, *held, threads, element, converted))
    return wanted, cap


def repeated(kernel: TritonKernel, kept: int, config: Config, instruction: str, converted: bool) -> float:
    """Times that a tile's work is done, or its equivalent: `kept` rows (keys, backward) are shared out to warps."""
    times = 1.0 + UNPROVEN * (config.persistent + config.tma + config.warp_specialize)
    if ROWS_A_WARP * config.warps > kept:
        repeats = kernel.repeats_rows and instruction != "tcgen05"
        times *= ROWS_A_WARP * config.warps / kept if repeats else SHARED_ROWS
    if config.stages > 1 and (converted or instruction == "mfma"):
        times *= 1 + COPIED_AGAIN
    wide = kept >= 2 * ROWS_A_WARP * config.warps
    if instruction == "mma" and wide:
        times *= WIDE_WARP
    if instruction == "mfma" and not wide:
        times *= NARROW_WAVE
    return times


def operand_bytes(rows: int, keys_bytes: int, query_bytes: int, instruction: str, warps: int) -> float:
    """Bytes that the matrix instructions of a tile read from shared memory, of `keys_bytes` of keys and values and
    `query_bytes` a query: keys and values once for the rows of every warp (`mma`, `mfma`), 64 rows (`wgmma`) or 128
    rows (`tcgen05`), these two the queries too, which the others hold in registers.

    For 128 x 128 pairs of head_dim 128 that is 768 clocks on a B200, as FlashAttention-4 has it (2603.05451).
    """
    if instruction in ("wgmma", "tcgen05") and rows >= 64:
        return math.ceil(rows / (64 if instruction == "wgmma" else 128)) * keys_bytes + rows * query_bytes
    return min(warps, math.ceil(rows / ROWS_A_WARP)) * keys_bytes
