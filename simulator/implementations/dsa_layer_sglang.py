"""SGLang's layer of DeepSeek sparse attention in prefill, measured as a whole: FlashMLA's sparse kernels on Hopper, and
on Blackwell for a 16-bit cache, trtllm-gen's for an 8-bit one (server_args.py, _set_default_dsa_backends).

Of the kernels only the one that attends has a tile here; a benchmark's stand-in, never chosen for a prediction.
"""

from __future__ import annotations

from typing import ClassVar

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation, largest


class SparseLayer(Implementation):
    name = "dsa-layer-sglang"
    title = "SGLang, a layer of DeepSeek sparse attention"
    source = "sgl-project/sglang, python/sglang/srt/layers/attention/dsa"
    generations = frozenset()
    directions = ("forward",)
    head_dims = (576, 576)
    packs_heads = True
    mask_kinds = frozenset({"TopKeysMask"})
    runs_as = "sparse"
    runs_on: ClassVar[frozenset[str]] = frozenset({"hopper", "blackwell"})
    rows: ClassVar[int] = 128
    """Rows of heads that a token takes at least on Blackwell: 128 in FlashMLA, 16 in trtllm-gen."""

    def refuses(self, part: Part, hardware: Hardware, tile: Tile | None = None) -> str | None:
        if hardware.generation not in self.runs_on:
            return f"{self.name} is known on {' and '.join(sorted(self.runs_on))} chips"
        if type(part.mask).__name__ not in (self.mask_kinds or ()) or part.style != "attention":
            return f"{self.name} attends to selected keys"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        heads = largest(part.heads / part.kv_heads)
        rows = (
            64 if hardware.generation == "hopper" else next((r for r in (16, 32, 64) if self.rows <= r >= heads), 128)
        )
        return (Tile((rows,), (64,)),)


IMPLEMENTATION = SparseLayer()
