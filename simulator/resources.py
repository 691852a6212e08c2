"""Shared memory and registers of our Triton attention tiles, estimated without a compiler.

What Triton allocates for a pipelined attention loop follows from the matrix instruction that it chooses: `wgmma`
(Hopper) and `tcgen05` (Blackwell) read both operands from shared memory and take tiles of 64 rows or more; otherwise,
and on the other NVIDIA generations, `mma.sync` reads registers. No estimate is made for AMD.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hardware import Hardware

AGREED = (126, 126)
"""Configs of the default spaces of the flash, block-sparse and neighbourhood kernels on sm_90 and sm_100 (16-bit
operands, head_dim 64 and 128, forward and backward) whose shared memory is estimated exactly, and all of them; with
triton 3.6 and with 3.9. `tests/kernels/test_spaces.py` compiles them, and keeps this sentence true."""
REGISTER_ERROR = 0.15
"""Bound of the median error of the register estimate over the same configs; measured: 7 %, with either triton."""
INSTRUCTION_OF = {
    "ampere": "mma", "ada": "mma", "blackwell-consumer": "mma", "hopper": "wgmma", "blackwell": "tcgen05",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """A tile as it is compiled: rows x columns pairs, head dimensions padded to powers of two, bytes an operand."""

    rows: int
    columns: int
    depth: int
    width: int
    element_bytes: int
    warps: int
    stages: int
    masked: bool = False
    """Whether some tiles are partial by more than the edge of the sequence."""
    listed: bool = False
    """Whether key tiles come from a list, whose entries take a stage of the pipeline."""
    tma: bool = False
    """Whether K and V move by descriptors."""


def padded(n: int, smallest: int = 16) -> int:
    """The smallest power of two that holds n and `smallest`: what a head dimension is padded to."""
    return max(smallest, 1 << max(n - 1, 0).bit_length())


def instruction(generation: str, rows: int) -> str | None:
    """wgmma, tcgen05 or mma; None where no estimate is made."""
    found = INSTRUCTION_OF.get(generation)
    return "mma" if found is not None and rows < 64 else found


BARRIERS = {("wgmma", 2): 32, ("wgmma", 3): 56, ("tcgen05", 2): 32, ("tcgen05", 3): 64, ("tcgen05", 4): 64}
"""Bytes of the barriers that descriptor loads (tma) wait on, by instruction and stages."""


def forward_shared_bytes(generation: str, s: Shape) -> int | None:
    """Shared memory of a forward block: Q, and K and V for each stage.

    `mma` holds Q and one stage less (loads land in registers first) and passes probabilities through shared memory.
    """
    kind = instruction(generation, s.rows)
    if kind is None:
        return None
    q, kv = s.rows * s.depth * s.element_bytes, s.columns * (s.depth + s.width) * s.element_bytes
    extra = 4 + 16 * (s.stages - 2) if s.listed else 0
    if kind == "mma":
        return q + (s.stages - 1) * kv + s.rows * s.columns * s.element_bytes + extra
    extra += BARRIERS.get((kind, s.stages), 0) if s.tma else 0
    # Blocks of more than 8 warps multiply with `mma` on Blackwell.
    barriers = 0 if kind == "wgmma" or s.warps > 8 else 32 + (8 * s.rows if s.warps == 8 else 0)
    return q + (2 if s.listed else s.stages) * kv + barriers + extra


def backward_shared_bytes(generation: str, s: Shape) -> int | None:
    """Shared memory of a backward block: K and V, and Q and dO for each stage; where they cannot lend it theirs, room
    in which dQ changes its layout.

    With `mma`, scores of fewer than 64 queries, that is as much as K takes. `tcgen05` with two stages keeps dQ (fp32)
    and the probabilities apart.
    """
    kind = instruction(generation, s.columns)
    if kind is None:
        return None
    operands = (s.columns + s.stages * s.rows) * (s.depth + s.width) * s.element_bytes
    dq = s.rows * s.depth * 4
    if kind == "tcgen05" and s.stages == 1:
        return operands + 8 + (0 if s.rows >= 64 else dq)
    if kind == "tcgen05":
        barriers = 84 if s.listed else 72 if s.depth <= 64 else 80
        return operands + dq + s.rows * s.columns * s.element_bytes + 8 * s.rows + barriers
    if kind == "wgmma" and s.rows >= 64 and s.stages == 1:
        return operands
    return operands + s.columns * s.depth * s.element_bytes


def tensor_memory_columns(generation: str, s: Shape) -> int:
    """Columns of tensor memory (of 128 lanes, 4 bytes each) that a forward block takes: the result, scores in fp32, and
    probabilities as operands. 0 where the chip has none."""
    if instruction(generation, s.rows) != "tcgen05" or s.warps > 8:
        return 0
    return -(-s.rows // 128) * (s.width + s.columns + s.columns * s.element_bytes // 4)


REGISTERS = {
    ("wgmma", False): (37.5, 1.11, 1.33, 0.57, 10.3, 25.0), ("tcgen05", False): (34.6, 0.93, 1.64, 0.61, 23.2, 12.0),
    ("wgmma", True): (87.9, 0.41, 1.37, 2.74, 11.1, 10.0), ("tcgen05", True): (84.6, 0.20, 1.39, 1.59, 14.6, 10.0),
}  # fmt: skip
"""Registers by instruction and direction (True: backward): base, for each accumulator element of a thread, each score,
each element copied, for a mask, and for lists. Least squares over what triton 3.6 and 3.9 allocate."""


def registers(generation: str, s: Shape, backward: bool) -> int | None:
    """Registers of a thread, from the elements it holds; at most 255."""
    wanted = registers_wanted(generation, s, backward)
    return None if wanted is None else min(round(wanted), 255)


def registers_wanted(generation: str, s: Shape, backward: bool) -> float | None:
    """The same without an end: above 250 the compiler spills (see `TritonFlash.offers`)."""
    found = REGISTERS.get((INSTRUCTION_OF.get(generation, ""), backward))
    if found is None:
        return None
    base, accumulator, score, copied, mask, listed = found
    threads = 32 * s.warps
    held = s.columns * (s.depth + s.width) if backward else s.rows * s.width
    used = base + accumulator * held / threads + score * s.rows * s.columns / threads
    used += copied * (s.rows if backward else s.columns) * s.depth / threads
    return used + (mask if s.masked else 0) + (listed if s.listed else 0)


def assumed_registers(
    generation: str, rows: int, columns: int, depth: int, width: int, threads: int, element_bytes: int,
    converted: bool = False,
) -> int:  # fmt: skip
    """Registers that a thread of any Triton forward block would use if it could have as many as it wants.

    Its shares of the result, of the scores in fp32 and once more as operands, of the queries where they are operands of
    `mma`, of keys and values on their way to a wider type (`converted`), and 40 for the rest. Agrees with
    the spills that published landscapes report (`tests/autotune/test_landscapes.py`).
    """
    held = rows * (width + columns * (1 + element_bytes / 4))
    if INSTRUCTION_OF.get(generation) == "mma":
        held += rows * depth * element_bytes / 4
    if converted:
        held += columns * max(depth, width) * element_bytes / 4
    return round(40 + held / threads)


def resident_blocks(hardware: Hardware, warps: int, registers: int | None, shared_memory_bytes: int | None) -> int:
    """Blocks that a compute unit holds at a time: the least that warps, registers and shared memory leave; at least 1.

    Registers are given out to warps in units of 256, to a thread in eights, from the quarter of them that each of the
    four schedulers has (CUDA's occupancy rules; AMD's waves take theirs in eights too, from one of four SIMDs). NVIDIA
    chips reserve 1 KiB of shared memory a block.
    """
    limits: list[float] = [hardware.blocks_per_sm or 32]
    if hardware.warps_per_sm:
        limits.append(hardware.warps_per_sm // warps)
    if registers and hardware.registers_per_sm:
        lanes = int(hardware.warp_size or 32)
        a_warp = -(-(-(-registers // 8) * 8 * lanes) // 256) * 256
        limits.append(hardware.registers_per_sm // 4 // a_warp * 4 // warps)
    if shared_memory_bytes and hardware.smem_bytes_per_sm:
        reserved = 1024 if hardware.vendor == "nvidia" else 0
        limits.append(hardware.smem_bytes_per_sm // (shared_memory_bytes + reserved))
    return max(1, int(min(limits)))
