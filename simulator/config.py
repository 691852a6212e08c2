"""Config: a tile and how its kernel is launched; and what our own Triton kernels know of the configs they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
    pieces that the keys of one query tile are cut into (decode).
    """

    warps: int = 4
    stages: int = 2
    persistent: bool = False
    tma: bool = False
    warp_specialize: bool = False
    splits: int = 1

    def __str__(self) -> str:
        sides = "/".join("x".join(map(str, side)) for side in (self.query, self.key))
        flags = "".join(f" {name}" for name in ("persistent", "tma", "warp_specialize") if getattr(self, name))
        return f"{sides} warps={self.warps} stages={self.stages}{flags}" + (
            f" splits={self.splits}" if self.splits > 1 else ""
        )


def is_power_of_two(n: int) -> bool:
    """Whether n is 1, 2, 4, 8, ..."""
    return n > 0 and n & (n - 1) == 0


class TritonKernel(Implementation):
    """One of our own kernels: its default space of configs, its one legality function, its resource estimates.

    `refuses(part, hardware, tile)` of the base class is that legality function: given a Config it also says why
    the launch options, shared memory or registers do not fit. Subclasses add to `refuses_more` and state `configs`,
    `shared_memory_bytes` and `registers`.
    """

    def configs(self, part: Part, hardware: Hardware) -> tuple[Config, ...]:
        """The default space: legal configs for this part on this chip, the kernel's first choice first."""
        return tuple(c for c in self.candidates(part, hardware) if self.refuses(part, hardware, c) is None)

    def candidates(self, part: Part, hardware: Hardware) -> tuple[Config, ...]:
        """Configs that the default space is sifted from."""
        raise TypeError(f"{self.name} states no configs")

    def shared_memory_bytes(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """Shared memory of a block, as the compiler allocates it; None where no estimate is made."""
        return None

    def registers(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """Registers of a thread; None where no estimate is made."""
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
        return legal[0]

    def with_tile(self, part: Part, hardware: Hardware, tile: Tile) -> Config:
        """A tile outside the default space, with launch options the kernel would give it."""
        rows = 1
        for side in tile.query:
            rows *= side
        return Config(tile.query, tile.key, tile.packed_heads, warps=8 if rows >= 128 else 4)


def launch_refusal(config: Any) -> str | None:
    """What no Triton kernel takes: sides, warps or stages that are not whole and positive powers of two."""
    for name, sides in (("query tile", config.query), ("key tile", config.key)):
        total = 1
        for side in sides:
            if not is_power_of_two(side):
                return f"{name} {'x'.join(map(str, sides))}: Triton's blocks need sides that are powers of two"
            total *= side
        if total > 2**14:
            return f"{name} {'x'.join(map(str, sides))} has {total} tokens; at most 16384 are taken"
    if config.warps not in (1, 2, 4, 8, 16):
        return f"{config.warps} warps: allowed are 1, 2, 4, 8, 16"
    if not 1 <= config.stages <= 8:
        return f"{config.stages} stages: allowed are 1 to 8"
    return None
