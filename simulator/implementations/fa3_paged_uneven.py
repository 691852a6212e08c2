"""FlashAttention-3 over a paged cache where values are narrower than keys (hdimdiff192 of hopper/instantiations), as
SGLang runs it for MiMo-V2 (192 and 128): see `fa3-paged`. K and V of unequal rows are appended by other kernels."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import largest
from .fa3_paged import FlashAttention3Paged


class FlashAttention3PagedUneven(FlashAttention3Paged):
    name = "fa3-paged-uneven"
    title = "FlashAttention-3, paged cache, narrow values"
    generations = frozenset({"hopper"})
    head_dims = (129, 192)

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.width) > 128:
            return f"{self.name} takes values of head_dim 128 at most, not {int(largest(part.width))}"
        return None


IMPLEMENTATION = FlashAttention3PagedUneven()
