"""How published kernels cut a chunked operator into launches: what their sources say about blocks and intermediates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from .config import Config
from .graph import Part
from .hardware import Hardware
from .implementations import Implementation
from .tiling import Tile


@dataclass(frozen=True, slots=True)
class Traffic:
    """Elements of the operands' type that kernels read and write in memory.

    Of a token and head of v: `depth` x dk + `width` x dv + `chunk` x C. Of a token and head of q and k: `keys` x dk +
    `key_chunk` x C. Of a chunk and head: `states` x dk x dv.
    """

    depth: float = 0.0
    width: float = 0.0
    chunk: float = 0.0
    keys: float = 0.0
    key_chunk: float = 0.0
    states: float = 0.0


@dataclass(frozen=True, slots=True)
class Pipeline(Tile):
    """The kernels of one call; the sides of the tile are its chunk.

    parallel: traffic of those that take all chunks at once. chain: of the one that passes the state on. resident: heads
    that it keeps on a compute unit at a time, each in one block; 0: several blocks a head, that share the units freely.
    steps: no chunks, a recurrent step for each token; in_place: that writes the state where it read it.
    """

    parallel: Traffic = Traffic()
    chain: Traffic = Traffic()
    resident: int = 0
    steps: bool = False
    in_place: bool = True


def mechanism(part: Part) -> str:
    """Which recurrence a part is: "gated delta rule", "kimi delta", "ssd" (a decay for each token) or "other"."""
    names = {op.name: op for op in part.ops}
    if "kk" in names:
        return "kimi delta" if "channel_decay" in names else "gated delta rule"
    gated = "decay" in names and "gates" in names["decay"].inputs
    return "ssd" if gated and "state_read" in names else "other"


class ChunkKernels(Implementation):
    """Published kernels of one recurrence or several: state the facts, instantiate once."""

    part_styles = ("chunked",)
    directions = ("forward",)
    mechanisms: ClassVar[tuple[str, ...]]
    pipeline: ClassVar[Pipeline]
    any_chunk: ClassVar[bool] = False
    """Whether chunks may have any length, not the pipeline's alone."""

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if mechanism(part) not in self.mechanisms:
            return f"{self.name} runs the {' and the '.join(self.mechanisms)} alone"
        if isinstance(tile, Config):
            return f"{self.name} chooses its own blocks and takes no config"
        if self.pipeline.steps:
            return None if type(part.tokens) is int and part.tokens == 1 else f"{self.name} runs one new token"
        if not self.any_chunk and self.pipeline.query != (part.chunk,):
            return f"{self.name} has chunks of {self.pipeline.query[0]} tokens, a parameter of the variant"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (replace(self.pipeline, query=(part.chunk,), key=(part.chunk,)) if self.any_chunk else self.pipeline,)
