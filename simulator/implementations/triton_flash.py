"""attnsim's own Triton flash kernel for bands (kernels/flash.py): dense, causal, windows, sinks, ragged batches.

The default space holds tiles of powers of two that compile without spills on every chip of their generation, with
triton 3.6 and 3.9; tests compile it for all of them.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any, ClassVar

from .. import resources
from ..config import Config, TritonKernel, launch_refusal, operand_refusal
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import BANDS, largest

GENERATIONS = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer", "cdna3", "cdna4"})
Sides = tuple[int, int, int, int]
"""Queries and keys of a tile, warps, stages."""

FORWARD: dict[tuple[str, int], tuple[Sides, ...]] = {
    ("wgmma", 64): (
        (128, 128, 8, 2), (128, 64, 8, 3), (128, 64, 8, 2), (64, 64, 4, 3), (64, 64, 4, 2), (64, 32, 4, 3),
    ),
    ("wgmma", 128): (
        (128, 128, 8, 2), (128, 64, 8, 3), (128, 64, 8, 2), (64, 64, 4, 3), (64, 64, 4, 2), (64, 32, 4, 3),
    ),
    ("wgmma", 256): ((128, 32, 8, 3), (128, 32, 8, 2), (64, 32, 4, 2), (64, 16, 4, 2)),
    ("tcgen05", 64): (
        (128, 128, 8, 2), (128, 64, 8, 3), (128, 64, 8, 2), (64, 64, 4, 3), (64, 64, 4, 2), (64, 32, 4, 3),
    ),
    ("tcgen05", 128): (
        (128, 64, 8, 3), (128, 64, 8, 2), (64, 64, 4, 3), (64, 64, 4, 2), (64, 32, 4, 3), (128, 32, 8, 3),
    ),
    ("tcgen05", 256): ((128, 32, 8, 3), (128, 32, 8, 2), (64, 32, 4, 2), (64, 16, 4, 2)),
    ("mma", 64): ((128, 128, 8, 2), (128, 64, 8, 2), (64, 64, 4, 3), (64, 64, 4, 2), (64, 32, 4, 2)),
    ("mma", 128): ((128, 64, 8, 3), (128, 64, 8, 2), (64, 64, 4, 2), (64, 64, 8, 2), (128, 32, 8, 2), (64, 32, 4, 2)),
    ("mma", 256): ((64, 64, 8, 2), (64, 32, 8, 2), (32, 32, 4, 2), (32, 16, 4, 2)),
    ("mfma", 64): ((128, 64, 8, 2), (64, 64, 4, 2)),
    ("mfma", 128): ((128, 64, 8, 2), (64, 64, 4, 2), (128, 32, 4, 2), (64, 32, 2, 2)),
    ("mfma", 256): ((64, 32, 4, 2), (32, 32, 2, 2)),
}  # fmt: skip
BACKWARD: dict[tuple[str, int], tuple[Sides, ...]] = {
    ("wgmma", 64): ((64, 128, 8, 1), (64, 64, 4, 1), (32, 64, 4, 1)),
    ("wgmma", 128): ((32, 128, 8, 1), (16, 128, 8, 1), (16, 64, 4, 1), (32, 32, 4, 1)),
    ("wgmma", 256): ((32, 32, 8, 1),),
    ("tcgen05", 64): ((64, 64, 8, 2), (64, 64, 8, 1), (32, 64, 8, 1)),
    ("tcgen05", 128): ((64, 64, 8, 2), (64, 64, 8, 1), (32, 64, 8, 1)),
    ("tcgen05", 256): ((32, 32, 8, 1),),
    ("mma", 64): ((32, 64, 4, 1), (32, 32, 4, 1)),
    ("mma", 128): ((32, 32, 4, 1),),
    ("mma", 256): ((32, 32, 8, 1),),
    ("mfma", 64): ((16, 64, 4, 1), (16, 32, 2, 1)),
    ("mfma", 128): ((16, 64, 4, 1), (16, 32, 2, 1)),
    ("mfma", 256): ((16, 32, 4, 1),),
}  # fmt: skip
MOST_REGISTERS, MOST_PERSISTENT = 230.0, 190.0
"""Registers that a thread of a tile outside the default spaces may want by the estimate; of a persistent block without
descriptors, and with two stages only. Of 1,196 forward tiles for sm_90 and sm_100 (triton 3.9: this kernel, the
block-sparse and the neighbourhood one, head_dim 64 and 128, 4 and 8 warps, 2 to 4 stages) the first plain one to spill
wants 251, the first persistent one with descriptors 242, without them and with two stages 205."""
MOST_HELD = 128
"""Elements of scores or of the result that a thread can hold without spills, of its 255 registers."""
WIDE: tuple[Sides, ...] = ((32, 32, 4, 2), (16, 32, 4, 2), (16, 16, 4, 2))
"""Tiles for operands of 32 bits, which take twice the registers and shared memory."""


def is_masked(part: Part) -> bool:
    """Whether some tiles are partial by more than the edge of the sequence."""
    mask: Any = part.mask
    return getattr(mask, "left", 0) is not None or getattr(mask, "right", 0) is not None


def shape(part: Part, config: Config, listed: bool = False) -> resources.Shape:
    """A tile as it is compiled for a part."""
    return resources.Shape(
        math.prod(config.query), math.prod(config.key), resources.padded(int(largest(part.depth))),
        resources.padded(int(largest(part.width))), int(DTYPE_BITS[part.dtype]) // 8, config.warps, config.stages,
        is_masked(part), listed, config.tma,
    )  # fmt: skip


class TritonFlash(TritonKernel):
    name = "triton-flash"
    title = "attnsim Triton flash kernel"
    source = "attnsim.kernels.flash"
    generations = GENERATIONS
    head_dims = (16, 256)
    dtypes: ClassVar[tuple[str, ...]] = ("fp16", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2", "tf32", "fp32")
    mask_kinds: ClassVar[frozenset[str] | None] = BANDS
    listed = False
    """Whether key tiles come from lists."""

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if part.shared_kv:
            return f"{self.name} takes keys and values apart; triton-decode runs absorbed latent attention"
        if int(largest(part.width)) > self.head_dims[1]:
            return f"{self.name} takes v_dim up to {self.head_dims[1]}, not {int(largest(part.width))}"
        if (refusal := operand_refusal(self.name, part, hardware)) is not None:
            return refusal
        if part.backward and DTYPE_BITS[part.dtype] < 16:
            return f"{self.name} has no backward pass for {part.dtype} operands"
        if tile is not None and len(tile.query) > 1:
            return f"{self.name} has tiles of flattened tokens; triton-neighbourhood has tiles along axes"
        if not isinstance(tile, Config):
            return None
        return self.refuses_config(part, hardware, tile)

    def refuses_config(self, part: Part, hardware: Hardware, config: Config) -> str | None:
        """What is wrong with the launch options, the packing or the resources of a config."""
        rows, columns = math.prod(config.query), math.prod(config.key)
        if (refusal := launch_refusal(config)) is not None:
            return refusal
        if min(rows, columns) < 16:
            return f"tile {rows}x{columns}: Triton's matrix product needs sides of 16 or more"
        group = int(largest(part.heads / part.kv_heads))
        packed = config.packed_heads
        if packed > 1 and (group % packed or packed > rows or part.backward):
            return (f"{packed} packed heads: allowed are divisors of the {group} query heads of a kv head, "
                    f"up to the {rows} rows of the tile, forward only")  # fmt: skip
        if config.tma and hardware.generation not in ("hopper", "blackwell", "blackwell-consumer"):
            return f"{hardware.name} has no tensor memory accelerator: tma needs Hopper or newer"
        if config.warp_specialize and hardware.generation != "blackwell":
            return f"Triton specialises warps on Blackwell (sm_100) only, not on {hardware.name}"
        used = self.registers(part, hardware, config)
        if (
            used is not None
            and rows * max(columns, resources.padded(int(largest(part.width)))) > 32 * config.warps * 128
        ):
            return f"tile {config} holds too many elements a thread: its registers would spill"
        columns = resources.tensor_memory_columns(hardware.generation, shape(part, config, self.listed))
        if columns > 512 and not part.backward:
            return f"tile {config} needs {columns} columns of tensor memory; {hardware.name} has 512"
        return self.shared_refusal(part, hardware, config)

    def candidates(self, part: Part, hardware: Hardware) -> tuple[Config, ...]:
        depth, width = (resources.padded(int(largest(x))) for x in (part.depth, part.width))
        sides = self.sides(hardware.generation, depth, width, int(DTYPE_BITS[part.dtype]), part.backward)
        plain = [Config((m,), (n,), warps=warps, stages=stages) for m, n, warps, stages in sides]
        if getattr(part.mask, "sinks", 0) and not part.backward:
            # Two bands of keys: 16 bytes spilled on Hopper where the tile alone would do.
            wants = [resources.registers_wanted(hardware.generation, shape(part, c, self.listed), False) for c in plain]
            plain = [c for c, wanted in zip(plain, wants, strict=True) if (wanted or 0) <= MOST_REGISTERS]
        return (*plain, *self.options(plain[0], part, hardware))

    def sides(self, generation: str, depth: int, width: int, bits: int, backward: bool) -> tuple[Sides, ...]:
        """The default space without launch options."""
        return sides_of(generation, depth, width, bits, backward)

    def options(self, first: Config, part: Part, hardware: Hardware) -> list[Config]:
        """The first tile with launch options that the chip has, and with the query heads of a kv head packed."""
        if part.backward:
            return []
        # Persistent blocks hold more, and spill on Blackwell without descriptors and on AMD; with heads wider than 128
        # on Blackwell, and on Hopper without descriptors, where those without a mask do too.
        hopper, wide = hardware.generation == "hopper", max(largest(part.depth), largest(part.width)) > 128
        found = []
        if hardware.generation not in ("blackwell", "cdna3", "cdna4") and not (
            hopper and (wide or not is_masked(part))
        ):
            found.append(replace(first, persistent=True))
        if hardware.generation in ("hopper", "blackwell", "blackwell-consumer"):
            found.append(replace(first, tma=True))
            if hardware.generation != "blackwell" or not wide:
                found.append(replace(first, tma=True, persistent=True))
        group = int(largest(part.heads / part.kv_heads))
        if 1 < group <= math.prod(first.query):
            found.append(replace(first, packed_heads=group))
        return found

    def offers(self, part: Part, hardware: Hardware, config: Any) -> bool:
        """Forward tiles whose registers are known to suffice: on Hopper and data-centre Blackwell, head_dim up to 128,
        operands of 16 bits, no packed heads, tokens in place."""
        taken = shape(part, config, self.listed)
        known = resources.instruction(hardware.generation, taken.rows) in ("wgmma", "tcgen05")
        plain = config.packed_heads == 1 and not config.permuted and not part.backward
        if not (known and plain and DTYPE_BITS[part.dtype] == 16 and max(taken.depth, taken.width) <= 128):
            return False
        # Persistent blocks without a mask want no less than those with one.
        taken = replace(taken, masked=True) if config.persistent else taken
        wanted = resources.registers_wanted(hardware.generation, taken, False)
        assert wanted is not None
        if config.persistent and not config.tma:
            return hardware.generation == "hopper" and config.stages == 2 and wanted <= MOST_PERSISTENT
        return wanted <= MOST_REGISTERS

    def shared_memory_bytes(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        estimate = resources.backward_shared_bytes if part.backward else resources.forward_shared_bytes
        return estimate(hardware.generation, shape(part, config, self.listed))

    def registers(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        return resources.registers(hardware.generation, shape(part, config, self.listed), part.backward)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        """The tiles of the default space, largest first, that some config of it fits on the chip."""
        depth, width = (resources.padded(int(largest(x))) for x in (part.depth, part.width))
        return offered(
            hardware.generation, hardware.smem_bytes_per_block, depth, width, int(DTYPE_BITS[part.dtype]), part.backward
        )


@functools.cache
def offered(
    generation: str, limit: float | None, depth: int, width: int, bits: int, backward: bool
) -> tuple[Tile, ...]:  # fmt: skip
    """Tiles that the model chooses from: see `TritonFlash.tiles`."""
    found = []
    for m, n, warps, stages in sides_of(generation, depth, width, bits, backward):
        taken = resources.Shape(m, n, depth, width, max(bits // 8, 1), warps, stages)
        estimate = resources.backward_shared_bytes if backward else resources.forward_shared_bytes
        need = estimate(generation, taken)
        if need is None or limit is None or need <= limit:
            found.append(Tile((m,), (n,)))
    return tuple(dict.fromkeys(found))


def sides_of(generation: str, depth: int, width: int, bits: int, backward: bool) -> tuple[Sides, ...]:
    """The default space for padded head dimensions and operands of so many bits, without launch options."""
    if bits > 16:
        return WIDE
    kind = resources.INSTRUCTION_OF.get(generation, "mfma")
    return (BACKWARD if backward else FORWARD)[kind, min(max(64, depth, width), 256)]


IMPLEMENTATION = TritonFlash()
