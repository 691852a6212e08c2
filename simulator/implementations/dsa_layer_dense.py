"""SGLang's layer of DeepSeek sparse attention where nothing need be selected: prefill of up to 2048 keys, expanded, on
FlashAttention-3 (Hopper) or trtllm-gen (Blackwell), eager."""

from __future__ import annotations

from typing import ClassVar

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation


class DenseLayer(Implementation):
    name = "dsa-layer-dense"
    title = "SGLang, a layer of DeepSeek sparse attention, all keys"
    source = "sgl-project/sglang, python/sglang/srt/layers/attention/dsa"
    generations = frozenset()
    directions = ("forward",)
    runs_on: ClassVar[frozenset[str]] = frozenset({"hopper", "blackwell"})

    def refuses(self, part: Part, hardware: Hardware, tile: Tile | None = None) -> str | None:
        if hardware.generation not in self.runs_on:
            return f"{self.name} is known on {' and '.join(sorted(self.runs_on))} chips"
        if type(part.mask).__name__ != "BandMask" or part.style != "attention":
            return f"{self.name} attends to all keys"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        if hardware.generation == "blackwell":
            return (Tile((256,), (128,)),)
        return (Tile((128,), (128 if part.depth <= 192 else 80,)),)


IMPLEMENTATION = DenseLayer()
