"""Config: a tile and how its kernel is launched; and what our own Triton kernels know of the configs they take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .errors import InputError
from .graph import Part
from .hardware import Hardware
from .implementations import Implementation
from .tiling import Tile


@dataclass(frozen=True, slots=True)
class Config(Tile):
    """A tile with its launch options.

    warps: warps of a block (4 or 8 for most tiles). stages: depth of the software pipeline over key tiles.
    persistent: one block a compute unit takes query tiles in turn. tma: operands move by descriptors (sm_90 and
    newer). warp_specialize: loads and matrix instructions run in warps of their own (sm_100 and newer). splits:
    pieces that the keys of one query tile are cut into (decode). permuted: tokens are first laid out tile by tile, so
    that tiles of several axes are contiguous.
    """

    warps: int = 4
    stages: int = 2
    persistent: bool = False
    tma: bool = False
    warp_specialize: bool = False
    splits: int = 1
    permuted: bool = False

    def __str__(self) -> str:
        flags = "".join(f" {name}" for name in FLAGS if getattr(self, name))
        packed = f" packed={self.packed_heads}" if self.packed_heads > 1 else ""
        splits = f" splits={self.splits}" if self.splits > 1 else ""
        return f"{Tile.__str__(self)} warps={self.warps} stages={self.stages}{flags}{packed}{splits}"


@dataclass(frozen=True, slots=True)
class ChunkConfig(Config):
    """Of a chunked kernel: both sides are the chunk. value_block: columns of v that one program keeps a state for."""

    value_block: int = 64

    def __str__(self) -> str:
        return f"{Config.__str__(self)} value_block={self.value_block}"


MOST_TOKENS = 512
"""Tokens along a side of a tile: more than any chip's shared memory holds with a head dimension of 128."""
FLAGS = ("persistent", "tma", "warp_specialize", "permuted")
"""Launch options that are on or off."""


def is_power_of_two(n: int) -> bool:
    """Whether n is 1, 2, 4, 8, ..."""
    return n > 0 and n & (n - 1) == 0


class Tunable(Implementation):
    """A kernel that can be run with tiles of the caller's choice: its configs and its one legality function.

    `refuses(part, hardware, tile)` of the base class is that legality function. Subclasses state `candidates`.
    """

    config_type: ClassVar[type[Any]] = Tile
    """The class of its configs."""

    def configs(self, part: Part, hardware: Hardware) -> tuple[Any, ...]:
        """The default space: legal configs for this part on this chip, the kernel's first choice first."""
        return tuple(c for c in self.candidates(part, hardware) if self.refuses(part, hardware, c) is None)

    def candidates(self, part: Part, hardware: Hardware) -> tuple[Any, ...]:
        """Configs that the default space is sifted from."""
        raise TypeError(f"{self.name} states no configs")

    def offers(self, part: Part, hardware: Hardware, config: Any) -> bool:
        """Whether a legal combination of the candidates' values is worth trying too."""
        return True


class TritonKernel(Tunable):
    """One of our own kernels: its default space of configs, its one legality function, its resource estimates.

    Given a Config its legality function also says why the launch options, shared memory or registers do not fit.
    Subclasses add to `refuses_more` and state `candidates`, `shared_memory_bytes` and `registers`.
    """

    config_type: ClassVar[type[Any]] = Config
    repeats_rows: ClassVar[bool] = False
    """Whether warps beyond one for 16 rows repeat the work of others: older versions of Triton share out rows alone."""

    def offers(self, part: Part, hardware: Hardware, config: Any) -> bool:
        """No: combinations that are no candidates may spill, which only the compiler can tell."""
        return False

    def shared_memory_bytes(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """Shared memory of a block, as the compiler allocates it; None where no estimate is made."""
        return None

    def registers(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """Registers of a thread; None where no estimate is made."""
        return None

    def shared_refusal(self, part: Part, hardware: Hardware, config: Config) -> str | None:
        """A sentence where a block's shared memory cannot hold the tile, by the estimate."""
        need, limit = self.shared_memory_bytes(part, hardware, config), hardware.smem_bytes_per_block
        if need is not None and limit is not None and need > limit:
            return (f"tile {config} needs {need / 1024:.0f} KiB of shared memory; {hardware.name} has "
                    f"{limit / 1024:.0f} KiB a block")  # fmt: skip
        return None

    def first_config(self, part: Part, hardware: Hardware, tile: Tile | None = None) -> Config:
        """The first legal config, or the first one with this tile's sides. Raises InputError where there is none."""
        refusal = self.refuses(part, hardware, tile)
        if refusal is not None:
            raise InputError(refusal)
        found = [
            c for c in self.candidates(part, hardware) if tile is None or (c.query, c.key) == (tile.query, tile.key)
        ]
        if not found and tile is not None:
            found = [self.with_tile(part, hardware, tile)]
        reasons = [(c, self.refuses(part, hardware, c)) for c in found]
        legal = [c for c, reason in reasons if reason is None]
        if not legal:
            raise InputError(str(reasons[0][1]) if reasons else f"{self.name} has no config for this problem")
        first: Config = legal[0]
        return first

    def with_tile(self, part: Part, hardware: Hardware, tile: Tile) -> Config:
        """A tile outside the default space, with launch options the kernel would give it."""
        rows = math.prod(tile.query)
        return Config(tile.query, tile.key, tile.packed_heads, warps=4 if rows <= 64 else 8 if rows <= 128 else 16)


def operand_refusal(name: str, part: Part, hardware: Hardware) -> str | None:
    """Operand types that Triton does not compile for a chip."""
    if hardware.generation == "ampere" and {part.dtype, part.kv_dtype} & {"fp8", "fp8_e4m3"}:
        return f"{name} cannot take fp8_e4m3 on {hardware.name}: Triton converts it from sm_89 on; fp8_e5m2 is taken"
    if hardware.generation == "cdna4" and part.dtype == "tf32":
        return f"{name} cannot take tf32 on {hardware.name}: it has no such matrix instruction"
    return None


def launch_refusal(config: Any) -> str | None:
    """What no Triton kernel takes: sides, warps or stages that are not whole and positive powers of two."""
    for name, sides in (("query tile", config.query), ("key tile", config.key)):
        if not all(is_power_of_two(side) for side in sides):
            return f"{name} {'x'.join(map(str, sides))}: Triton's blocks need sides that are powers of two"
        if math.prod(sides) > MOST_TOKENS:
            return f"{name} {'x'.join(map(str, sides))} has {math.prod(sides)} tokens; at most {MOST_TOKENS} are taken"
    if config.warps not in (1, 2, 4, 8, 16):
        return f"{config.warps} warps: allowed are 1, 2, 4, 8, 16"
    if not 1 <= config.stages <= 8:
        return f"{config.stages} stages: allowed are 1 to 8"
    return None
