"""Schedule of one part: the execution style that fits it, over the floor of its own tiled counts."""

from __future__ import annotations

from dataclasses import replace

from ..algebra import Number
from ..bounds import floor
from ..calibration import Constants, load
from ..hardware import Hardware
from ..tiling import Tile, TiledPart
from . import Term, Walk, attention, dense, dsa, mla, recurrent, split_kv
from .residency import Residency


def schedule_part(
    tiled: TiledPart, style: str, hardware: Hardware, constants: Constants | None, cache: str, masked: str,
    tile: Tile, launched: Residency | None = None,
) -> tuple[Number, list[Term]] | None:  # fmt: skip
    """Seconds and terms of a part without its launch, or None where the chip's numbers or constants do not suffice.

    style: dense | chunked | split_kv | attention, as `style_of` says. masked: the visited tiles on which the kernel
    evaluates its mask (partial | all | none). tile: what the candidate asks of all parts. Numbers may be arrays.
    """
    # Kernels of a chain find little of their own in the cache.
    bound = floor(tiled.counts, hardware, "cold" if style in dsa.STYLES else cache)
    if bound is None:
        return None
    if tiled.part.kernel:
        constants = _own(load(tiled.part.kernel, hardware.generation, dtype=tiled.part.dtype), constants)
    walk = Walk(bound.time_s)
    if style == "dense":
        done = dense.climb(walk, tiled, hardware, cache)
    elif constants is None:
        return None
    elif style == "chunked":
        done = recurrent.climb(walk, tiled, hardware, constants, cache, tile)
    elif style in dsa.STYLES:
        done = dsa.STYLES[style](walk, tiled, hardware, constants)
    elif style in mla.STYLES:
        done = mla.climb(walk, tiled, hardware, constants, style)
    elif style == "split_kv":
        done = split_kv.climb(walk, tiled, hardware, constants, cache, launched)
    else:
        done = attention.climb(walk, tiled, hardware, constants, cache, masked, launched)
    return (walk.level, walk.terms) if done else None


def _own(kernel: Constants | None, caller: Constants | None) -> Constants | None:
    """Constants of a part's own kernel, with the memory that its caller leaves it."""
    return replace(kernel, score_share=caller.score_share) if kernel and caller else kernel


def style_of(part_style: str, splits_keys: bool, runs_as: str = "") -> str:
    """How a part of a graph runs: attention parts as their kernel says, or by whether it splits keys; others as they
    are."""
    return part_style if part_style != "attention" else runs_as or ("split_kv" if splits_keys else "attention")
