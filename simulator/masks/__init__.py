"""Masks: which pairs attend, with exact counts of pairs and tiles and never an N x N array."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .band import BandMask
from .base import Mask, TileSummary

if TYPE_CHECKING:
    from .blocks import BlockMask, RuleMask, from_flex, from_rule, power_blocks, radial_blocks
    from .neighbourhood import NeighbourhoodMask
    from .patterns import ChunkedMask, GlobalLocalMask, StridedMask
    from .regrouped import DilatedMask, DocumentsMask, WindowsMask
    from .selected import SelectedBlocksMask
    from .top_keys import TopKeysMask

_WHERE = {
    "blocks": ("BlockMask", "RuleMask", "from_flex", "from_rule", "power_blocks", "radial_blocks"),
    "neighbourhood": ("NeighbourhoodMask",),
    "patterns": ("ChunkedMask", "GlobalLocalMask", "StridedMask"),
    "regrouped": ("DilatedMask", "DocumentsMask", "WindowsMask"),
    "selected": ("SelectedBlocksMask",),
    "top_keys": ("TopKeysMask",),
}

__all__ = [
    "BandMask", "BlockMask", "ChunkedMask", "DilatedMask", "DocumentsMask", "GlobalLocalMask", "Mask",
    "NeighbourhoodMask", "RuleMask", "SelectedBlocksMask", "StridedMask", "TileSummary", "TopKeysMask", "WindowsMask",
    "from_flex", "from_rule", "power_blocks", "radial_blocks",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Masks other than bands are loaded when first used: most predictions need none of them."""
    for module, names in _WHERE.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
