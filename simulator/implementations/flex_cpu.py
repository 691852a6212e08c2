"""torch's flex_attention compiled for the host: blocks of a BlockMask, partial ones masked, full ones not.

Any mask on flattened tokens (torch/_inductor/kernel/flex, the C++ template); blocks of 32 to 256 queries and keys.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation


class FlexCpu(Implementation):
    name = "flex-cpu"
    title = "flex_attention on the host"
    source = "pytorch/pytorch, torch/_inductor/kernel/flex"
    generations = frozenset({"cpu"})
    directions = ("forward",)
    dtypes = ("fp32", "bf16", "fp16")
    head_dims = (8, 512)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((128,), (128,)), Tile((64,), (64,)))


IMPLEMENTATION = FlexCpu()
