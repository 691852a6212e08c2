"""Tiles as FlashAttention lays them out, counted one by one: rows packed without gaps, keys that follow windows."""

from __future__ import annotations

import numpy as np
import pytest

from attnsim import Problem, variants
from attnsim.simulator import implementations
from attnsim.simulator.api import load_hardware
from attnsim.simulator.masks import BandMask
from attnsim.simulator.predict import Choice, evaluate
from attnsim.simulator.splitting import ragged_splits
from attnsim.simulator.tiling import FlashTile, tile_attention

RANDOM = np.random.default_rng(7)
BANDS = [tuple(int(x) for x in RANDOM.integers((1, 0, 1, 1, 0), (300, 60, 70, 90, 140))) for _ in range(60)]
"""Queries, further keys, rows and columns of a tile, keys on the left."""


@pytest.mark.parametrize(("queries", "more", "rows", "columns", "left"), BANDS)
def test_key_tiles_that_follow_the_window(queries: int, more: int, rows: int, columns: int, left: int) -> None:
    keys = queries + more
    found = BandMask(queries, keys, left, 0).following((rows,), (columns,))
    counts = []
    for first in range(0, queries, rows):
        last = min(first + rows, queries)
        begin = max(0, more + first - left)
        counts.append(-(-(more + last - begin) // columns))
    assert (found.query_tiles, found.visited, found.longest_row) == (len(counts), sum(counts), max(counts))
    assert 0 <= found.full <= found.visited


def test_arrays_of_windows_count_like_single_ones() -> None:
    queries, more, left = (np.array([band[i] for band in BANDS], dtype=float) for i in (0, 1, 4))
    together = BandMask(queries, queries + more, left, 0).following((32,), (48,))
    alone = [BandMask(q, q + m, w, 0).following((32,), (48,)) for q, m, _, _, w in BANDS]
    assert together.visited.tolist() == [one.visited for one in alone]
    assert together.full.tolist() == [one.full for one in alone]


@pytest.mark.parametrize(("heads", "tokens", "window"), [(3, 50, None), (5, 77, None), (12, 33, 9), (48, 20, None)])
def test_packed_rows_have_no_gaps(heads: int, tokens: int, window: int | None) -> None:
    name, options = ("mha", {}) if window is None else ("sliding-window", {"window": window})
    variant = variants.make(name, options)
    problem = Problem.make(batch=1, heads=heads, kv_heads=1, seq=tokens, head_dim=64, causal=True)
    part = variant.graph(variant.prepare(problem)).main
    rows, columns = 32, 16
    tiled = tile_attention(part, FlashTile((rows,), (columns,), packed_heads=heads), load_hardware("h100"))
    assert tiled.summary is not None
    visited = 0
    for first in range(0, tokens * heads, rows):
        row = np.arange(first, min(first + rows, tokens * heads)) // heads
        seen = np.zeros(tokens, dtype=bool)
        for token in row:
            seen[max(0, token - (window or tokens) + 1) : token + 1] = True
        visited += len(set(np.flatnonzero(seen) // columns))
    assert tiled.summary.query_tiles == -(-tokens * heads // rows)
    assert tiled.summary.visited == visited
    assert tiled.filled == pytest.approx(tokens * heads / tiled.summary.query_tiles)


def test_splits_of_ragged_batches() -> None:
    # 16 query tiles leave units idle: the host allows 7 splits; 128 key tiles and a tenth are 2 a unit, so 4 are made.
    assert ragged_splits(8, 2, 1, 8, 8, 132) == (4, 1)
    assert ragged_splits(8, 16, 8, 8, 8, 132) == (1, 1)
    assert ragged_splits(60, 2, 1, 8, 8, 132) == (1, 0)
    assert ragged_splits(1, 8, 8, 4, 4, 132) == (1, 0)


def test_builds_of_one_framework_are_asked_for_by_name() -> None:
    variant, hardware = variants.make("mha", {}), load_hardware("h100")
    problem = variant.prepare(Problem.make(batch=2, heads=8, kv_heads=2, seq=2048, head_dim=128, causal=True))
    offered = {c.implementation.name for c in evaluate(variant, problem, hardware).candidates if c.implementation}
    assert "fa3" in offered
    assert not offered & {"fa3-paged", "fa3-vllm-paged", "trtllm-fmha", "fa2-paged"}
    choice = Choice(kernel=implementations.get("fa3-vllm-paged"))
    alone = evaluate(variant, problem, hardware, choice).chosen
    assert alone.bound is not None
    assert alone.time_s >= alone.bound.time_s
    assert all(np.all(term.time_s >= 0) for term in alone.terms)
