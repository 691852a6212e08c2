"""What the kernels of bands share: which key tiles a query tile visits, where its mask cuts, the running softmax."""

from __future__ import annotations

import math
from typing import Any

import triton
import triton.language as tl

from ..simulator.masks import BandMask, DocumentsMask

LOG2_E = math.log2(math.e)
LN_2 = tl.constexpr(math.log(2))


@triton.jit
def visible(i, j, left, right, sinks, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr):
    """Whether the query at key position i sees key j, by the band alone."""
    seen = j >= 0
    if HAS_LEFT:
        seen = seen & ((j >= i - left) | (j < sinks))
    if HAS_RIGHT:
        seen = seen & (j <= i + right)
    return seen


@triton.jit
def softmax_step(s, m, scale_log2):
    """One step of the running softmax: probabilities, new maximum, factor of what was summed before.

    Rows that have seen no key yet keep the maximum -inf and probabilities 0.
    """
    new = tl.maximum(m, tl.max(s, 1) * scale_log2)
    shift = tl.where(new == float("-inf"), 0.0, new)
    p = tl.math.exp2(s * scale_log2 - shift[:, None])
    return p, new, tl.math.exp2(m - shift)


@triton.jit
def band_tiles(
    low, high, keys, left, right, sinks, BN: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr,
    SINKS: tl.constexpr,
):  # fmt: skip
    """(key tiles to visit, none if below 0; those of them that hold sinks; tiles skipped after those) of queries low ..
    high."""
    end = keys
    if HAS_RIGHT:
        end = tl.maximum(tl.minimum(high + right + 1, keys), 0)
    skipped = 0
    lead = 0
    if HAS_LEFT:
        skipped = tl.maximum(low - left, 0) // BN
        if SINKS:
            lead = tl.cdiv(tl.minimum(sinks, keys), BN)
            skipped = tl.maximum(skipped - lead, 0)
    return tl.cdiv(end, BN) - skipped, lead, skipped


@triton.jit
def tile_start(visit, lead, skipped, BN: tl.constexpr, HAS_LEFT: tl.constexpr, SINKS: tl.constexpr):
    """First key of the tile visited as number `visit`: see `band_tiles`."""
    start = visit * BN
    if SINKS:
        start = tl.where(visit < lead, visit, visit + skipped) * BN
    elif HAS_LEFT:
        start = (visit + skipped) * BN
    return start


@triton.jit
def is_partial(
    start, low, high, keys, left, right, sinks, BN: tl.constexpr, HAS_LEFT: tl.constexpr, HAS_RIGHT: tl.constexpr
):  # fmt: skip
    """Whether the band or the end of the keys cuts the key tile at `start`, for queries low .. high."""
    partial = start + BN > keys
    if HAS_RIGHT:
        partial = partial | (start + BN - 1 > low + right)
    if HAS_LEFT:
        partial = partial | ((start < high - left) & (start + BN > sinks))
    return partial


def band(part: Any) -> BandMask:
    """The band of a part, or the one that every document of its ragged batch has."""
    mask = part.mask
    found = mask.make(max(mask.lengths)) if isinstance(mask, DocumentsMask) else mask
    assert isinstance(found, BandMask)
    return found


def sides(mask: BandMask) -> tuple[dict[str, Any], dict[str, Any]]:
    """Runtime and constexpr arguments that state a band."""
    runtime = {"left": int(mask.left or 0), "right": int(mask.right or 0), "sinks": int(mask.sinks)}
    has_left = mask.left is not None
    constants = {"HAS_LEFT": has_left, "HAS_RIGHT": mask.right is not None, "SINKS": has_left and mask.sinks > 0}
    return runtime, constants
