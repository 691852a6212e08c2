"""Schedule of the kernels of DeepSeek sparse attention: scores of the indexer, selection, attention to the selected.

Read from what SGLang runs: DeepGEMM's fp8_mqa_logits, sgl-kernel's fast_topk_transform_fused, FlashMLA's sparse_fwd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..algebra import Number, ceil_div, clip, floor_div, maximum, minimum, where
from ..bounds import native_dtype
from ..calibration import Constants
from ..hardware import Hardware
from ..tiling import TiledPart
from . import Walk
from .attention import memory_time, smooth_max, tile_clocks
from .dense import GEMM_EFFICIENCY

CHUNKED_FROM = 8_000_000
"""Scores of one call from which SGLang bounds their memory (dsa_indexer.py, _MQA_LOGITS_STATIC_SKIP_ELEMS)."""
SCORE_BYTES = 4


def score_rows(tiled: TiledPart, hardware: Hardware, constants: Constants) -> Number:
    """Rows of scores (tokens) of one call: the matrix spans the keys of all sequences, and is cut into calls that take
    0.2 of the memory that is free (SGLANG_DSA_MQA_LOGITS_FREE_MEM_FRACTION)."""
    part = tiled.part
    rows, width = part.batch * part.tokens, part.batch * part.keys
    budget = constants.score_share * (hardware.hbm_bytes or float("inf"))
    most = clip(floor_div(budget, width * SCORE_BYTES), 1, rows)
    return where(rows * width < CHUNKED_FROM, rows, most)


def _climb_index(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants) -> bool:
    """Blocks of 4 tokens (of all sequences in a row) share the keys from the first to the last that any of them sees;
    one resident block a unit takes every so many of them (deep_gemm/impls/sm90_fp8_mqa_logits.cuh)."""
    clocks, summary, part = tile_clocks(tiled, hardware, constants), tiled.summary, tiled.part
    if clocks is None or summary is None or not hardware.clock_sustained_hz:
        return False
    second, units = 1.0 / hardware.clock_sustained_hz, hardware.sm_count
    tokens = tiled.rows / part.heads
    together = minimum(maximum(floor_div(tokens, part.tokens), 1), part.batch)
    joint = ceil_div(part.keys * together, tiled.columns)
    mean = where(together > 1, joint, summary.visited / maximum(summary.query_tiles, 1))
    longest = where(together > 1, joint, summary.longest_row)
    rows = score_rows(tiled, hardware, constants)
    total = part.batch * part.tokens
    calls = floor_div(total, rows)
    rest = total - calls * rows
    waves = calls * ceil_div(ceil_div(rows, tokens), units) + ceil_div(ceil_div(rest, tokens), units)
    share = mean * ceil_div(total, tokens) / units * clocks.busy(constants) * second
    walk.raise_to("rate", share, "matrix and vector work of a tile overlap only in part")
    block = where(waves > 1, mean, longest) * clocks.busy(constants) + constants.cta_clocks
    walk.raise_to("waves", waves * block * second, "blocks of queries take turns on the compute units")
    both = smooth_max(walk.level, memory_time(tiled, hardware, "cold"))
    walk.raise_to("bandwidth", both, "scores are written at achieved, not peak, bandwidth")
    again = (ceil_div(total, rows) - 1) * (hardware.launch_latency_s or 0.0)
    walk.add("calls", again, "scores that do not fit the memory are computed in several calls")
    return True


RESIDENT = 2
"""Blocks of 1024 threads on a compute unit."""
SEARCHED = 1024
"""Sequences that a block looks through at a time for the one of its row."""


def _climb_select(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants) -> bool:
    """A block a row: histograms of the scores by their bits, then of those in the deciding bin; rows of no more than
    `selected` keys are copied. Where scores are cut into calls, every row is a sequence of its own to be looked up."""
    part = tiled.part
    if tiled.summary is None or not hardware.clock_sustained_hz:
        return False
    second, units = 1.0 / hardware.clock_sustained_hz, hardware.sm_count
    past, rows = part.keys - part.tokens, part.batch * part.tokens
    short = clip(part.selected - past, 0, part.tokens) / part.tokens
    length = (maximum(past, part.selected) + part.keys) / 2
    one_call = score_rows(tiled, hardware, constants)
    cut = (one_call < rows) & (part.tokens > 1)
    lookup = where(cut, constants.scan_clocks * (1 + one_call / SEARCHED), 0.0)
    row = (constants.select_clocks + constants.score_clocks * length) * (1 - short) + constants.short_clocks * short
    selecting = constants.select_clocks + constants.score_clocks * part.keys
    longest = where(part.keys > part.selected, selecting, constants.short_clocks)
    waves = rows / (units * RESIDENT)
    rounds = waves + constants.tail * (ceil_div(rows, units * RESIDENT) - waves)
    crowded = where(rows <= units, constants.alone_share, 1.0)
    compute = where(waves > 1, rounds * (row + lookup), crowded * (longest + lookup)) * second
    walk.raise_to("waves", compute, "rows take turns on the compute units")
    scores = rows * (1 - short) * length * SCORE_BYTES
    held = (hardware.l2_bytes or 0) / 2
    beyond = maximum(scores - held, 0.0)
    # Later passes find in the cache what all running rows leave room for.
    running = minimum(rows, units * RESIDENT) * length * SCORE_BYTES
    missed = maximum(1 - held / maximum(running, 1), 0.0)
    achieved = (hardware.hbm_bandwidth_bytes_per_s or 1.0) * (hardware.hbm_efficiency or 1.0)
    moved = (1 + (constants.score_passes - 1) * missed) * beyond / achieved
    both = (walk.level * walk.level + moved * moved) ** 0.5
    walk.raise_to("bandwidth", both, "scores that the cache does not hold are read again by every pass")
    return True


ROWS_A_UNIT = 64


def _climb_sparse(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants) -> bool:
    """A block a token and 64 heads, or a cluster of two for 128 (FlashMLA, csrc/sm90/prefill/sparse and csrc/sm100). It
    walks all places of the selection, empty ones faster."""
    clocks, summary, part = tile_clocks(tiled, hardware, constants), tiled.summary, tiled.part
    if clocks is None or summary is None or not hardware.clock_sustained_hz:
        return False
    second = 1.0 / hardware.clock_sustained_hz
    together = maximum(tiled.rows / ROWS_A_UNIT, 1)
    units = hardware.sm_count / together
    blocks = summary.query_tiles * tiled.instances
    places = ceil_div(part.selected, tiled.columns)
    visited = summary.visited / maximum(summary.query_tiles, 1)
    busy = clocks.busy(constants) / together
    walked = visited + (places - visited) * constants.empty_share
    block = walked * busy + constants.cta_clocks
    walk.raise_to("rate", blocks / units * visited * busy * second, "compute units work off the selected keys")
    waves = blocks / units
    last = constants.tail * (ceil_div(blocks, units) - waves)
    rounds = where(waves > 1, waves + last, maximum(constants.split_share, waves))
    walk.raise_to("waves", rounds * block * second, "empty places are walked too; the last round is not full")
    memory = memory_time(tiled, hardware, "cold")
    walk.raise_to("bandwidth", (walk.level * walk.level + memory * memory) ** 0.5, "gathered keys and results move")
    gathered = visited * blocks * tiled.key_bytes * constants.gather_passes
    walk.add("gather", gathered / (hardware.hbm_bandwidth_bytes_per_s or 1.0), "single keys are read from afar")
    return True


def _climb_paged(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants) -> bool:
    """Scores of one query a sequence: its pages are shared out to all units (DeepGEMM's fp8_paged_mqa_logits)."""
    clocks, summary, part = tile_clocks(tiled, hardware, constants), tiled.summary, tiled.part
    if clocks is None or summary is None or not hardware.clock_sustained_hz:
        return False
    busy = clocks.busy(constants) * minimum(part.heads * part.tokens / tiled.rows, 1)
    tiles = ceil_div(part.batch * summary.visited, hardware.sm_count)
    walk.raise_to("rate", tiles * busy / hardware.clock_sustained_hz, "matrix and vector work overlap only in part")
    memory = memory_time(tiled, hardware, "cold")
    walk.raise_to("bandwidth", smooth_max(walk.level, memory), "index keys move at achieved, not peak, bandwidth")
    return True


def _climb_gemm(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants) -> bool:
    """A product with weights within a layer: other weights have passed through the cache since."""
    rate = hardware.matrix_flop_per_s(native_dtype(hardware, tiled.part.dtype), hardware.clock_sustained_hz or 0.0)
    if not rate or not hardware.hbm_bandwidth_bytes_per_s:
        return False
    matrix = tiled.counts.matrix_flops / rate / GEMM_EFFICIENCY
    memory = tiled.counts.hbm_bytes / (hardware.hbm_bandwidth_bytes_per_s * constants.hbm_share)
    walk.raise_to("rate", (matrix * matrix + memory * memory) ** 0.5, "rates that library products reach")
    return True


def _climb_chain(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants) -> bool:
    """The kernels between the products, too small to be more than latency, and what they move. The part counts
    quantised products as vector work."""
    seconds = constants.chain_s + tiled.counts.vector * constants.chain_product_s
    walk.raise_to("chain", seconds, "norms, rotary embedding, quantisation: one small kernel after another")
    walk.add("chain", memory_time(tiled, hardware, "cold"), "and what they read and write")
    return True


def _climb_host(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants) -> bool:
    """What the host needs to start a layer; all kernels together take no less (`together`). The part counts quantised
    products as vector work, indexers as special work, plans as tokens."""
    counts, part = tiled.counts, tiled.part
    seconds = constants.host_s + counts.vector * constants.host_product_s + counts.special * constants.host_index_s
    seconds = seconds + part.tokens * constants.host_plan_s
    walk.raise_to("host", seconds, "the host starts kernels more slowly than they run")
    return True


def _climb_layout(walk: Walk, tiled: TiledPart, hardware: Hardware, constants: Constants) -> bool:
    """Index keys of the pages of all sequences, laid out in a row."""
    moved = tiled.counts.hbm_bytes * constants.index_passes
    walk.raise_to("layout", moved / (hardware.hbm_bandwidth_bytes_per_s or 1.0), "index keys are gathered page by page")
    return True


SHARPNESS = 6
"""Of the longer of host and kernels: the power mean of the two."""


def together(times: Sequence[tuple[str, Number]]) -> Number:
    """Seconds of parts by their styles: they run one after another, and not faster than the host starts them."""
    kernels: Number = 0.0
    host: Number = 0.0
    for style, seconds in times:
        if style == "host":
            host = host + seconds
        else:
            kernels = kernels + seconds
    if isinstance(host, float) and host == 0:
        return kernels
    return (kernels**SHARPNESS + host**SHARPNESS) ** (1 / SHARPNESS)


STYLES: dict[str, Callable[[Walk, TiledPart, Hardware, Constants], bool]] = {
    "index": _climb_index, "index-paged": _climb_paged, "select": _climb_select, "sparse": _climb_sparse,
    "gemm": _climb_gemm, "chain": _climb_chain, "layout": _climb_layout, "host": _climb_host,
}  # fmt: skip
"""By the style of the part, or of the kernel that attends."""
