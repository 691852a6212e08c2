"""Masks: which pairs attend, with exact counts of pairs and tiles and never an N x N array."""

from .band import BandMask
from .base import Mask, TileSummary
from .blocks import BlockMask, RuleMask, from_flex, from_rule, power_blocks, radial_blocks
from .neighbourhood import NeighbourhoodMask
from .regrouped import DilatedMask, DocumentsMask, WindowsMask
from .selected import SelectedBlocksMask

__all__ = [
    "BandMask", "BlockMask", "DilatedMask", "DocumentsMask", "Mask", "NeighbourhoodMask", "RuleMask",
    "SelectedBlocksMask", "TileSummary", "WindowsMask", "from_flex", "from_rule", "power_blocks", "radial_blocks",
]  # fmt: skip
