"""cuDNN's fused attention. Closed source: its tiles are not published and taken as those of the open kernels of
the same chip (128 x 128 on Hopper, two query tiles of 128 on datacenter Blackwell, 128 x 64 before)."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BAND_AND_CHUNKS, Implementation, largest


class Cudnn(Implementation):
    name = "cudnn"
    title = "cuDNN fused attention"
    source = "cuDNN 9 release notes; tiles assumed"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2")
    mask_kinds = BAND_AND_CHUNKS

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if part.dtype.startswith("fp8") and hardware.generation in ("ampere", "ada"):
            return f"cudnn has fp8 attention on Hopper and Blackwell, not on {hardware.name}"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        if hardware.generation == "blackwell" and not part.backward:
            return (Tile((256,), (128,)),)
        if hardware.generation == "hopper":
            return (Tile((128,), (128,)),) if largest(part.depth) <= 128 else (Tile((128,), (64,)),)
        return (Tile((128,), (64,)),)


IMPLEMENTATION = Cudnn()
