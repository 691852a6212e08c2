"""NATTEN's neighbourhood kernels for datacenter Blackwell (GNA, 2504.16922), on CUTLASS's fused attention.

Read in SHI-Labs/NATTEN (8c8729f): tiles in src/natten/backends/configs/cutlass_blackwell/__init__.py, masking in
csrc/include/natten/cuda/fna_blackwell/collective. The kernel evaluates the mask on every tile it visits, full or
not, unless the whole pattern is block-sparse; tokens are permuted by separate kernels so that tiles are
contiguous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation, largest

if TYPE_CHECKING:
    from ..masks import NeighbourhoodMask


def fully_block_sparse(mask: NeighbourhoodMask, tile: Tile) -> bool:
    """NATTEN's rule (is_fully_block_sparse_int, fna_fusion.hpp): every axis's windows fall on whole key tiles.

    Per axis of length L, window w, stride s, tile tq x tk: L = w, or s a multiple of tq and w of tk, the last
    group on a tile border, and the first window too. Never with a causal axis.
    """
    for length, w, s, causal, tq, tk in zip(
        mask.shape, mask.window, mask.stride, mask.causal, tile.query, tile.key, strict=True
    ):
        if causal:
            return False
        if length == w:
            continue
        groups = -(-length // s)
        middle = min((groups - 1) * s + s // 2, length - 1)
        last = min(max(middle - w // 2, 0), length - w)
        aligned = s % tq == 0 and w % tk == 0 and (length % s == 0 or last % tk == 0)
        starts = (w // 2 - s // 2) % tk == 0 or (length % tk == 0 and groups == 2 and s + s // 2 >= length - w)
        if not (aligned and starts):
            return False
    return True


class Natten(Implementation):
    """What the NATTEN kernels have in common; the files of this family state their tiles."""

    title = "NATTEN"
    source = "SHI-Labs/NATTEN 8c8729f"
    mask_kinds = frozenset({"NeighbourhoodMask"})
    forward: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()
    gradient: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = ()

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.depth) % 8:
            return f"{self.name} takes head_dim in multiples of 8, not {int(largest(part.depth))}"
        if part.depth != part.width:
            return f"{self.name} needs v_dim = head_dim"
        if tile is None:
            return None
        legal = self.tiles(part, hardware)
        if any(tile.query == t.query and tile.key == t.key for t in legal):
            return None
        shown = ", ".join(f"{'x'.join(map(str, t.query))} by {'x'.join(map(str, t.key))}" for t in legal[:8])
        given = f"{'x'.join(map(str, tile.query))} by {'x'.join(map(str, tile.key))}"
        return f"{self.name} has no tile {given} here; it has {shown}" + (", ..." if len(legal) > 8 else "")

    def masked(self, part: Part, tile: Tile) -> str:
        mask: Any = part.mask
        if len(tile.query) == len(mask.shape) and fully_block_sparse(mask, tile):
            return "none" if all(n % t == 0 for n, t in zip(mask.shape, tile.key, strict=True)) else "all"
        return "all"

    def extra_passes(self, part: Part) -> float:
        # One axis without dilation is contiguous as it is.
        mask: Any = part.mask
        return 2.0 if len(mask.shape) > 1 or max(mask.dilation) > 1 else 0.0

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        mask: Any = part.mask
        pairs = self.gradient if part.backward else self.forward
        return tuple(Tile(q, k) for q, k in pairs if len(q) == len(mask.shape))


class NattenBlackwell(Natten):
    name = "natten-blackwell"
    generations = frozenset({"blackwell"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2")
    head_dims = (8, 128)
    forward = (
        ((256,), (128,)),
        ((16, 16), (16, 8)), ((16, 16), (8, 16)), ((8, 32), (8, 16)), ((8, 32), (4, 32)),
        ((8, 4, 8), (4, 4, 8)), ((8, 4, 8), (2, 8, 8)), ((2, 8, 16), (4, 4, 8)), ((2, 8, 16), (2, 8, 8)),
        ((4, 4, 16), (2, 4, 16)), ((2, 16, 8), (2, 8, 8)), ((4, 8, 8), (2, 8, 8)),
    )  # fmt: skip
    gradient = (
        ((128,), (128,)),
        ((16, 8), (16, 8)), ((16, 8), (8, 16)), ((8, 16), (16, 8)), ((8, 16), (8, 16)),
        ((4, 4, 8), (4, 4, 8)), ((4, 4, 8), (2, 8, 8)), ((1, 8, 16), (4, 4, 8)), ((2, 8, 8), (4, 4, 8)),
        ((1, 8, 16), (2, 8, 8)), ((2, 4, 16), (2, 4, 16)), ((2, 8, 8), (2, 8, 8)),
    )  # fmt: skip


IMPLEMENTATION = NattenBlackwell()
