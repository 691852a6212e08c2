"""torch's flex_attention compiled for the host: blocks of a BlockMask, partial ones masked, full ones not.

Any mask on flattened tokens (torch/_inductor/kernel/flex, the C++ template); blocks of 32 to 256 queries and keys.
"""

from __future__ import annotations

from ..config import Tunable
from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile

SIDES = (128, 64, 32, 256)
"""Queries and keys of a block of the mask, torch's own choice first."""


class FlexCpu(Tunable):
    name = "flex-cpu"
    title = "flex_attention on the host"
    source = "pytorch/pytorch, torch/_inductor/kernel/flex"
    generations = frozenset({"cpu"})
    directions = ("forward",)
    dtypes = ("fp32", "bf16", "fp16")
    head_dims = (8, 512)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((128,), (128,)), Tile((64,), (64,)))

    def candidates(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return tuple(Tile((query,), (key,)) for query in SIDES for key in SIDES)

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if tile is not None and len(tile.query) > 1:
            return f"{self.name} has blocks of flattened tokens"
        if part.kv_dtype != part.dtype:  # flex_cpu.py, lower_cpu: "Mixed query, key, and value dtype is not supported"
            return f"{self.name} takes keys and values of the queries' type {part.dtype}, not {part.kv_dtype}"
        if part.query_heads:
            return f"{self.name} runs attention over pairs of a query and a key"
        return None


IMPLEMENTATION = FlexCpu()
