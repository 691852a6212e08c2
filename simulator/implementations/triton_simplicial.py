"""attnsim's own Triton kernel for 2-simplicial attention (kernels/simplicial.py): tiles of queries by tiles of first
keys, second keys one at a time, query heads of a kv head packed into the rows.

A thread holds two sums of the values (of all second keys, and of the present one): that bounds the rows of a tile. No
constants are fitted yet, so that no schedule is predicted with this kernel.

The estimates of shared memory equalled the compiler's for all 204 tiles of 16-bit operands that were compiled for sm_90
and sm_100 with triton 3.6 and 3.9, at head dimensions that are multiples of 16 (others take less; none is made for 16
on sm_100). Those of registers err by 5 % (median).
"""

from __future__ import annotations

import math

from .. import resources
from ..config import Config, TritonKernel, launch_refusal
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import largest
from .triton_flash import GENERATIONS, Sides

SIDES: dict[tuple[str, int], tuple[Sides, ...]] = {
    ("wgmma", 64): ((64, 64, 4, 2), (128, 64, 8, 2), (64, 64, 4, 3), (128, 64, 8, 3), (128, 32, 8, 2), (16, 64, 4, 2)),
    ("wgmma", 128): ((64, 64, 8, 2), (64, 64, 8, 3), (64, 32, 8, 2), (64, 128, 8, 2), (32, 64, 8, 2), (16, 64, 8, 2)),
    ("tcgen05", 64): ((64, 64, 4, 2), (128, 64, 8, 2), (64, 64, 8, 2), (64, 64, 8, 3), (16, 64, 4, 2)),
    ("tcgen05", 128): ((64, 64, 8, 2), (64, 64, 8, 3), (32, 64, 8, 2), (16, 64, 8, 2)),
    ("mma", 64): ((64, 64, 8, 2), (64, 32, 8, 2), (32, 32, 4, 2), (16, 64, 4, 2)),
    ("mma", 128): ((64, 64, 8, 2), (64, 32, 8, 2), (32, 64, 8, 2), (16, 64, 8, 2)),
    ("mfma", 64): ((16, 64, 4, 1),),
    ("mfma", 128): ((16, 64, 4, 1),),
}  # fmt: skip
"""By matrix instruction and head dimension (up to): those that compile without spills with triton 3.6 and 3.9."""
WIDE: tuple[Sides, ...] = ((32, 32, 8, 2), (16, 32, 8, 2))
"""Tiles for operands of 32 bits; AMD's compiler spills the first."""
MOST_HELD = 96
"""Sums and scores that a thread may hold on NVIDIA's chips beside its share of the operands: tiles of more spill."""
REGISTERS = {
    "wgmma": (90.36, 0.65, 0.51, 1.49, 0.67), "tcgen05": (85.83, -0.01, 2.52, 1.49, 1.85),
    "mma": (88.46, 1.17, -0.35, 2.55, 0.32),
}  # fmt: skip
"""Registers: base, for each sum of a thread, each score, each query element, each value of a tile. Least squares over
what was compiled; only their total means something."""


def most_heads(group: int, rows: int) -> int:
    """The most query heads of a kv head that fill a tile evenly: the largest divisor up to the rows."""
    return max(n for n in range(1, min(group, rows) + 1) if group % n == 0)


class TritonSimplicial(TritonKernel):
    name = "triton-simplicial"
    title = "attnsim Triton 2-simplicial kernel"
    source = "attnsim.kernels.simplicial"
    generations = GENERATIONS
    directions = ("forward",)
    head_dims = (8, 128)
    dtypes = ("fp16", "bf16", "tf32", "fp32")
    mask_kinds = frozenset({"BandMask"})
    two_keys = True
    calibration = "triton-flash"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.width) > self.head_dims[1]:
            return f"{self.name} takes v_dim up to {self.head_dims[1]}, not {int(largest(part.width))}"
        if DTYPE_BITS[part.kv_dtype] != DTYPE_BITS[part.dtype]:
            return f"{self.name} takes keys of the queries' type, not {part.kv_dtype} beside {part.dtype}"
        if tile is not None and len(tile.query) > 1:
            return f"{self.name} has tiles of flattened tokens, not along {len(tile.query)} axes"
        return self.refuses_config(part, hardware, tile) if isinstance(tile, Config) else None

    def refuses_config(self, part: Part, hardware: Hardware, config: Config) -> str | None:
        """What is wrong with the launch options, the packing or the resources of a config."""
        rows, columns = math.prod(config.query), math.prod(config.key)
        if (refusal := launch_refusal(config)) is not None:
            return refusal
        if min(rows, columns) < 16:
            return f"tile {rows}x{columns}: Triton's matrix product needs sides of 16 or more"
        group = part.query_heads // int(part.kv_heads)
        if config.packed_heads < 1 or group % config.packed_heads or config.packed_heads > rows:
            return (f"{config.packed_heads} packed heads: allowed are divisors of the {group} query heads of a kv head "
                    f"up to the {rows} rows of the tile")  # fmt: skip
        if config.persistent or config.tma or config.warp_specialize or config.permuted or config.splits > 1:
            return f"{self.name} has no persistent, tma, warp_specialize, permuted or split tiles"
        if (refusal := self.shared_refusal(part, hardware, config)) is not None:
            return refusal
        held = rows * (2 * resources.padded(int(largest(part.width))) + columns) // (32 * config.warps)
        if resources.instruction(hardware.generation, rows) is not None and held > MOST_HELD:
            return f"tile {config}: a thread would hold {held} sums and scores; {MOST_HELD} fit its registers"
        return None

    def candidates(self, part: Part, hardware: Hardware) -> tuple[Config, ...]:
        kind = resources.instruction(hardware.generation, 64) or "mfma"
        depth = 64 if max(largest(part.depth), largest(part.width)) <= 64 else 128
        group = part.query_heads // int(part.kv_heads)
        wide = WIDE[1:] if kind == "mfma" else WIDE
        sides = wide if DTYPE_BITS[part.dtype] > 16 else SIDES[kind, depth]
        return tuple(
            Config((m,), (n,), most_heads(group, m), warps=warps, stages=stages) for m, n, warps, stages in sides
        )

    def with_tile(self, part: Part, hardware: Hardware, tile: Tile) -> Config:
        return Config(tile.query, tile.key, tile.packed_heads, warps=8)

    def shared_memory_bytes(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """q o k' once, keys and values for each stage; probabilities where another warp multiplies them; where
        accumulators lie in tensor memory, barriers and what passes between two layouts of the rows. No estimate is made
        for operands of 32 bits."""
        rows, columns, depth, width, element = self._shape(part, config)
        kind = resources.instruction(hardware.generation, rows)
        fixed, kv, p = rows * depth * element, columns * (depth + width) * element, rows * columns * element
        if kind is None or element > 2:
            return None
        if kind == "mma":
            return fixed + (config.stages - 1) * kv + p
        if kind == "wgmma":
            return fixed + config.stages * kv + (p if config.warps * 16 > rows else 0)
        between = {1: 8 * rows, 2: 8192, 0.5: 4096}.get(width / columns) if config.warps == 8 else 0
        return None if between is None else fixed + config.stages * kv + 32 + between

    def registers(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        rows, columns, depth, width, element = self._shape(part, config)
        kind = resources.instruction(hardware.generation, rows)
        if kind is None or element > 2:
            return None
        amounts = (2 * rows * width, rows * columns, rows * depth, columns * width)
        base, *each = REGISTERS[kind]
        used = base + sum(one * n / (32 * config.warps) for one, n in zip(each, amounts, strict=True))
        return min(round(used), 255)

    def _shape(self, part: Part, config: Config) -> tuple[int, int, int, int, int]:
        """(rows, columns, head dimension and v_dim as padded, bytes of an operand) of a tile."""
        return (
            math.prod(config.query), math.prod(config.key), resources.padded(int(largest(part.depth))),
            resources.padded(int(largest(part.width))), int(DTYPE_BITS[part.dtype]) // 8,
        )  # fmt: skip

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        """The sides of its first choice."""
        return (Tile((64,), (64,)),)


IMPLEMENTATION = TritonSimplicial()
