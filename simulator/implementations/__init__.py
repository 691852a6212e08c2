"""Known kernels, ours and other people's: the discrete facts that decide a prediction.

One file a kernel; its `IMPLEMENTATION` registers by existing. A file states which chips and problems the
kernel accepts (one legality function: nothing, or a sentence), its tiles for a head_dim, whether it packs the
query heads of a kv head, whether it may split the keys, and what it does on tiles that need no mask. Every
fact has its source beside it. Rates live in `calibration`, not here.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..algebra import Number, ceil_div, where
from ..errors import unknown
from ..graph import Part
from ..hardware import Hardware
from ..splitting import MAX_SPLITS, SplitPlan, fill
from ..tiling import Tile, TiledPart


def largest(x: Number) -> float:
    """The largest entry of an int or array (legality holds for all points of a group)."""
    return x if type(x) in (int, float) else float(np.max(x))


def smallest(x: Number) -> float:
    """The smallest entry of an int or array."""
    return x if type(x) in (int, float) else float(np.min(x))


def plain_dense(part: Part) -> bool:
    """Whether the mask is neither causal nor local (kernels choose tiles by that)."""
    mask = part.mask
    return getattr(mask, "left", 0) is None and getattr(mask, "right", 0) is None


class Implementation:
    """What a kernel does, apart from how fast. Subclass, state the differences, instantiate once.

    generations: hardware generations it runs on. part_styles: graph parts it executes. splits_keys: it cuts the
    keys of one query tile into several work items.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    generations: ClassVar[frozenset[str]]
    part_styles: ClassVar[tuple[str, ...]] = ("attention",)
    directions: ClassVar[tuple[str, ...]] = ("forward", "backward")
    head_dims: ClassVar[tuple[int, int]] = (8, 256)
    dtypes: ClassVar[tuple[str, ...]] = ("fp16", "bf16")
    packs_heads: ClassVar[bool] = False
    splits_keys: ClassVar[bool] = False
    mask_kinds: ClassVar[frozenset[str] | None] = None
    """Names of mask classes it can run; None: any."""
    two_keys: ClassVar[bool] = False
    """Whether a score is of a query and two keys (2-simplicial attention) in place of one."""
    offered: ClassVar[bool] = True
    """Whether predictions consider it that do not ask for it by name; not so for builds inside one framework."""
    calibration: ClassVar[str] = ""
    """The implementation whose calibrated constants it shares; empty: its own."""
    runs_as: ClassVar[str] = ""
    """The schedule of its parts with a mask (see `schedule.part`), where it has one of its own."""

    def refuses(self, part: Part, hardware: Hardware, tile: Tile | None = None) -> str | None:
        """Why this kernel cannot run the part on the chip: a sentence, or None if it can."""
        if hardware.generation not in self.generations:
            return f"{self.name} has no kernel for {hardware.generation} chips such as {hardware.name}"
        if part.style not in self.part_styles:
            return f"{self.name} runs {' and '.join(self.part_styles)} kernels, not {part.style} ones"
        if ("backward" if part.backward else "forward") not in self.directions:
            return f"{self.name} has no {'backward' if part.backward else 'forward'} pass"
        low, high = self.head_dims
        if smallest(part.depth) < low or largest(part.depth) > high:
            return f"{self.name} takes head_dim {low} to {high}, not {int(largest(part.depth))}"
        if part.dtype not in self.dtypes:
            return f"{self.name} takes {', '.join(self.dtypes)} operands, not {part.dtype}"
        if bool(part.query_heads) != self.two_keys:
            return f"{self.name} computes scores of a query and {'two keys' if self.two_keys else 'one key'}"
        kind = type(part.mask).__name__
        if self.mask_kinds is not None and part.mask is not None and kind not in self.mask_kinds:
            return f"{self.name} cannot express this variant's mask"
        return self.refuses_more(part, hardware, tile)

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        """Further legality of one kernel; overridden by those that have any."""
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        """Tiles the kernel would use for this part on this chip."""
        raise TypeError(f"{self.name} states no tiles")

    def masked(self, part: Part, tile: Tile) -> str:
        """On which visited tiles the kernel evaluates the mask: "partial" ones, "all" or "none"."""
        return "partial"

    def extra_passes(self, part: Part) -> float:
        """Times that Q, K, V and O move through memory once more in helper kernels (token permutation)."""
        return 0.0

    def packed_heads(self, part: Part) -> int:
        """Query heads that share a query tile for this part."""
        if not self.packs_heads or part.mask is None:
            return 1
        return int(largest(part.heads / part.kv_heads))

    def chosen_by(self, batch: Number, kv_heads: Number, keys: Number, hardware: Hardware) -> Number:
        """What of a problem's sizes `refuses` decides by, as a small whole number for each point of arrays."""
        return 0

    def planned(self, tiled: TiledPart, hardware: Hardware) -> TiledPart:
        """The part with how this kernel shares it out, where that is not in its tile."""
        return tiled


FEW_QUERIES = 64
"""Queries up to which decode kernels are made: beyond one query tile, queries give enough parallelism."""


class SplitKV(Implementation):
    """A decode kernel: few queries, the heads of a kv head packed into rows, the keys split over the chip."""

    directions = ("forward",)
    packs_heads = True
    splits_keys = True

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        count = int(largest(part.tokens))
        if count > FEW_QUERIES:
            return f"{self.name} is a decode kernel for up to {FEW_QUERIES} queries, not {count}"
        return None

    def planned(self, tiled: TiledPart, hardware: Hardware) -> TiledPart:
        if tiled.part.mask is None or hasattr(tiled.tile, "warps") or self.runs_as:  # a config states its splits
            return tiled
        return replace(tiled, plan=self.plan(tiled, hardware))

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        """How the part is shared out; by default enough splits to fill the chip."""
        assert tiled.summary is not None
        items = tiled.summary.query_tiles * tiled.instances
        splits = fill(items, tiled.summary.longest_row, hardware.sm_count, MAX_SPLITS)
        return SplitPlan(items, splits, ceil_div(tiled.summary.longest_row, splits), windowed=windowed(tiled.part))


def no_latents(name: str, part: Part) -> str | None:
    """Why a kernel of absorbed latent attention cannot run the part, or None if it can."""
    if not part.shared_kv or largest(part.width) != 512:
        return f"{name} takes latents of 512 whose values lie in the keys"
    return None


class LatentSplitKV(SplitKV):
    """A decode kernel of absorbed latent attention: keys of 576, whose first 512 columns are the values."""

    head_dims = (576, 576)

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        return no_latents(self.name, part) or super().refuses_more(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((64,), (64,)),)


def windowed(part: Part) -> Number:
    """1 where a window cuts keys off, 0 where it reaches all of them or there is none."""
    left = getattr(part.mask, "left", None)
    return 0 if left is None else where(left + 1 < part.keys, 1, 0)


BANDS = frozenset({"BandMask", "DocumentsMask"})
"""Masks that a kernel with causal, local and variable-length arguments can express."""
BAND_AND_CHUNKS = BANDS | {"ChunkedMask", "WindowsMask", "DilatedMask"}
"""The same, with masks that become bands once tokens are regrouped into independent sequences."""


@functools.cache
def names() -> tuple[str, ...]:
    """Implementations by name: the files of this folder."""
    folder = Path(__file__).parent
    return tuple(sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if p.stem != "__init__"))


@functools.cache
def get(name: str) -> Implementation:
    """The implementation called `name`. Raises InputError with the nearest name otherwise."""
    key = name.lower().replace("_", "-")
    if key not in names():
        raise unknown("implementation", name, names())
    module = importlib.import_module(f"{__name__}.{key.replace('-', '_')}")
    found: Implementation = module.IMPLEMENTATION
    return found


def for_hardware(hardware: Hardware) -> Iterable[Implementation]:
    """Every implementation with a kernel for the chip's generation that is offered, in the order of their names."""
    offered = (i for i in map(get, names()) if i.offered)
    return (i for i in offered if hardware.generation in i.generations or i.name == "library")
