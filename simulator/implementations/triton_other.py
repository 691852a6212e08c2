"""Other people's Triton attention kernels: the tutorial's and its many relatives, flex_attention, vLLM's prefill.

They are never predicted unless asked for by name: `attnsim validate --data landscapes:FILE` ranks published landscapes
with them, and `attnsim.autotune.prune` the configs of a kernel that is not ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from .. import resources
from ..config import Config, TritonKernel
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..resources import INSTRUCTION_OF, padded
from ..tiling import Tile
from . import largest


@dataclass(frozen=True, slots=True)
class OtherConfig(Config):
    """max_registers: a cap of the registers of a thread (Triton's maxnreg)."""

    max_registers: int | None = None


class TritonOther(TritonKernel):
    name = "triton-other"
    title = "another Triton attention kernel"
    source = "triton-lang/triton, python/tutorials/06-fused-attention.py; pytorch/pytorch, torch/_inductor/kernel/flex"
    generations = frozenset()
    config_type: ClassVar[type[Any]] = OtherConfig
    calibration = "triton-flash"
    repeats_rows = True

    def refuses(self, part: Part, hardware: Hardware, tile: Tile | None = None) -> str | None:
        """What cannot be modelled; that a tile is unwise is for its predicted time to say."""
        if hardware.kind != "gpu":
            return f"Triton has no kernels for {hardware.name}"
        if part.style not in self.part_styles or part.mask is None:
            return f"{self.name} runs {' and '.join(self.part_styles)} kernels, not {part.style} ones"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (self.usual_tile(part),)

    def usual_tile(self, part: Part) -> Tile:
        """The tile where a source does not state it."""
        return Tile((128,), (64,))

    def candidates(self, part: Part, hardware: Hardware) -> tuple[OtherConfig, ...]:
        usual = self.usual_tile(part)
        return (OtherConfig(usual.query, usual.key, usual.packed_heads),)

    def shared_memory_bytes(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """Of K and V alone, for all stages but one where they are loaded to registers first (for `mma`, and on AMD
        chips, there in the type they are multiplied in): versions differ in what else they keep there."""
        width = resources_width(part)
        element = max(int(DTYPE_BITS[part.dtype if hardware.vendor == "amd" else part.kv_dtype]) // 8, 1)
        tile = math.prod(config.key) * width * element
        if INSTRUCTION_OF.get(hardware.generation) in ("wgmma", "tcgen05") and math.prod(config.query) >= 64:
            q = math.prod(config.query) * padded(int(largest(part.depth))) * (int(DTYPE_BITS[part.dtype]) // 8)
            return config.stages * tile + q
        return max(config.stages - 1, 1) * tile

    def registers(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """Of a thread, not capped at what it may have."""
        return resources.assumed_registers(
            hardware.generation, math.prod(config.query), math.prod(config.key), padded(int(largest(part.depth))),
            padded(int(largest(part.width))), config.warps * int(hardware.warp_size or 32),
            int(DTYPE_BITS[part.dtype]) // 8, DTYPE_BITS[part.kv_dtype] < DTYPE_BITS[part.dtype],
        )  # fmt: skip


def resources_width(part: Part) -> int:
    """Columns of K and V, padded."""
    depth, width = (padded(int(largest(x))) for x in (part.depth, part.width))
    return depth if part.shared_kv else depth + width


IMPLEMENTATION = TritonOther()
