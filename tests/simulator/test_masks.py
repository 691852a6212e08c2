"""Masks against brute force over their pair rule, and against torch's create_block_mask."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim.simulator.masks import (
    BandMask,
    BlockMask,
    DilatedMask,
    DocumentsMask,
    NeighbourhoodMask,
    SelectedBlocksMask,
    TopKeysMask,
    WindowsMask,
    from_flex,
    from_rule,
    power_blocks,
    radial_blocks,
)

FAST = settings(max_examples=150, deadline=None)
SIDE = st.integers(1, 20)


def pairs_of(mask: Any) -> np.ndarray:
    """All pairs of a small mask, by its rule."""
    i, j = np.arange(mask.queries)[:, None], np.arange(mask.keys)[None, :]
    return np.broadcast_to(mask.attends(i, j), (mask.queries, mask.keys))


def tiles_of(pairs: np.ndarray, bm: int, bn: int) -> tuple[np.ndarray, np.ndarray]:
    """(visited, full) of every tile, one by one."""
    n, m = pairs.shape
    visited = np.zeros((-(-n // bm), -(-m // bn)), dtype=bool)
    full = np.zeros_like(visited)
    for r, c in itertools.product(range(visited.shape[0]), range(visited.shape[1])):
        tile = pairs[r * bm : (r + 1) * bm, c * bn : (c + 1) * bn]
        visited[r, c], full[r, c] = tile.any(), tile.shape == (bm, bn) and tile.all()
    return visited, full


def check(mask: Any, bm: int, bn: int) -> None:
    """Pairs, tiles and rows of a mask on one token grid equal brute force."""
    pairs = pairs_of(mask)
    visited, full = tiles_of(pairs, bm, bn)
    assert mask.pairs() == pairs.sum(), mask
    s = mask.tiles((bm,), (bn,))
    found = (s.query_tiles, s.visited, s.full, s.partial, s.skipped, s.longest_row, s.shortest_row)
    rows = visited.sum(axis=1)
    assert found == (
        len(visited), visited.sum(), full.sum(), visited.sum() - full.sum(), (~visited).sum(), rows.max(), rows.min(),
    ), (mask, bm, bn)  # fmt: skip
    row_visited, row_full = mask.rows((bm,), (bn,))
    assert (row_visited == rows).all(), (mask, bm, bn)
    assert (row_full == full.sum(axis=1)).all(), (mask, bm, bn)


@st.composite
def bands(draw: Any) -> BandMask:
    """Dense, causal, windowed bands, with and without sinks, queries and keys unequal."""
    n = draw(st.integers(1, 50))
    m = draw(st.one_of(st.just(n), st.integers(1, 50)))
    left = draw(st.one_of(st.none(), st.integers(0, 60)))
    right = draw(st.one_of(st.none(), st.just(0), st.integers(0, 20)))
    sinks = draw(st.one_of(st.just(0), st.integers(0, 20))) if left is not None else 0
    return BandMask(n, m, left, right, sinks)


@FAST
@given(bands(), SIDE, SIDE)
def test_bands_equal_brute_force(mask: BandMask, bm: int, bn: int) -> None:
    check(mask, bm, bn)


@FAST
@given(bands(), SIDE, SIDE)
def test_bands_count_arrays_as_they_count_ints(mask: BandMask, bm: int, bn: int) -> None:
    def array(x: int | None) -> Any:
        return None if x is None else np.full(3, float(x))

    many = BandMask(array(mask.queries), array(mask.keys), array(mask.left), array(mask.right), array(mask.sinks))
    one, all_of_them = mask.tiles((bm,), (bn,)), many.tiles((bm,), (bn,))
    assert (np.asarray(many.pairs()) == mask.pairs()).all()
    for name in ("query_tiles", "visited", "full", "partial", "skipped", "longest_row", "shortest_row"):
        assert (np.asarray(getattr(all_of_them, name)) == getattr(one, name)).all(), (name, mask, bm, bn)


@FAST
@given(bands())
def test_bands_count_symbols_as_they_count_ints(mask: BandMask) -> None:
    import sympy

    symbols = {
        name: sympy.Symbol(name, integer=True, nonnegative=True)
        for name in ("queries", "keys", "left", "right", "sinks")
        if getattr(mask, name) is not None
    }
    formula = sympy.sympify(BandMask(*(symbols.get(f) for f in ("queries", "keys", "left", "right")),
                                     symbols["sinks"]).pairs())  # fmt: skip
    assert formula.subs({s: getattr(mask, name) for name, s in symbols.items()}) == mask.pairs()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 40), st.booleans(), st.sampled_from([8, 16, 24]),
       st.sampled_from([8, 16, 40]))  # fmt: skip
def test_bands_equal_create_block_mask(n: int, m: int, left: int, causal: bool, bm: int, bn: int) -> None:
    from torch.nn.attention.flex_attention import create_block_mask

    mask = BandMask(n, m, left, 0 if causal else left)

    def rule(b: Any, h: Any, i: Any, j: Any) -> Any:
        p = i + m - n
        return (j >= p - left) & (j <= p + (0 if causal else left))

    theirs = create_block_mask(rule, None, None, n, m, device="cpu", BLOCK_SIZE=(bm, bn))
    ours = mask.tiles((bm,), (bn,))
    full = int(theirs.full_kv_num_blocks.sum()) if theirs.full_kv_num_blocks is not None else 0
    assert ours.visited == int(theirs.kv_num_blocks.sum()) + full
    assert ours.full == full
    again = from_flex(theirs)
    assert again.pairs() == mask.pairs()
    assert again.tiles((bm,), (bn,)) == ours


@st.composite
def neighbourhoods(draw: Any) -> NeighbourhoodMask:
    """Small neighbourhoods in one to three dimensions with every parameter drawn."""
    axes = draw(st.integers(1, 3))
    top = {1: 30, 2: 8, 3: 5}[axes]
    shape = tuple(draw(st.integers(1, top)) for _ in range(axes))
    dilation = tuple(draw(st.integers(1, min(3, n))) for n in shape)
    window = tuple(draw(st.integers(1, max(1, n // d))) for n, d in zip(shape, dilation, strict=True))
    stride = tuple(draw(st.integers(1, w)) for w in window)
    causal = tuple(draw(st.booleans()) for _ in shape)
    return NeighbourhoodMask(shape, window, stride, dilation, causal)


def paper_window(i: int, length: int, w: int, s: int, causal: bool) -> tuple[int, int]:
    """Keys of query i along an axis, as the papers define it, in scalar Python."""
    if causal:
        lead = min((i // s) * s + s - 1, length - 1)
        return max(lead - w + 1, 0), i + 1
    lead = min((i // s) * s + s // 2, length - 1)
    start = min(max(lead - w // 2, 0), length - w)
    return start, start + w


@FAST
@given(neighbourhoods(), st.data())
def test_neighbourhoods_equal_brute_force(mask: NeighbourhoodMask, data: Any) -> None:
    axes = len(mask.shape)
    flat = axes > 1 and data.draw(st.booleans())
    sides = st.tuples(*[st.integers(1, 12 if flat else 4)] * (1 if flat else axes))
    query, key = data.draw(sides), data.draw(sides)
    pairs = pairs_of(mask)
    index = np.arange(mask.queries).reshape(mask.shape)
    total = np.zeros(6, dtype=int)
    for residue in itertools.product(*(range(min(d, n)) for d, n in zip(mask.dilation, mask.shape, strict=True))):
        group = index[tuple(slice(r, None, d) for r, d in zip(residue, mask.dilation, strict=True))]
        for where in np.ndindex(group.shape):
            expected = itertools.product(*(
                range(*paper_window(i, n, min(w, n), s, c))
                for i, n, w, s, c in zip(where, group.shape, mask.window, mask.stride, mask.causal, strict=True)
            ))  # fmt: skip
            keys = {int(group[k]) for k in expected}
            assert set(np.flatnonzero(pairs[group[where]]).tolist()) == keys, (mask, where)
        if flat:
            order = group.ravel()
            visited, full = tiles_of(pairs[np.ix_(order, order)], query[0], key[0])
            longest = int(visited.sum(axis=1).max())
            total += [len(visited), visited.sum(), full.sum(), visited.size, 0, 0]
        else:
            longest = _count_blocks(pairs, group, query, key, total)
        total[5] = max(total[5], longest)
    s = mask.tiles(query, key)
    assert mask.pairs() == pairs.sum()
    assert (s.query_tiles, s.visited, s.full, s.visited + s.skipped, s.longest_row) == (
        total[0], total[1], total[2], total[3], total[5],
    ), (mask, query, key)  # fmt: skip
    row_visited, row_full = mask.rows(query, key)
    assert (row_visited.sum(), row_full.sum()) == (s.visited, s.full)


def _count_blocks(pairs: np.ndarray, group: np.ndarray, query: tuple[int, ...], key: tuple[int, ...],
                  total: np.ndarray) -> int:  # fmt: skip
    """Tiles along the axes of one dilation group, one by one; returns the longest row."""
    longest = 0

    def blocks(tile: tuple[int, ...]) -> list[np.ndarray]:
        corners = itertools.product(*(range(0, n, t) for n, t in zip(group.shape, tile, strict=True)))
        return [group[tuple(slice(a, a + t) for a, t in zip(c, tile, strict=True))].ravel() for c in corners]

    keys = blocks(key)
    for q in blocks(query):
        row = 0
        for k in keys:
            tile = pairs[np.ix_(q, k)]
            row += bool(tile.any())
            total[2] += tile.all() and tile.shape == (math.prod(query), math.prod(key))
        longest = max(longest, row)
        total[0], total[1], total[3] = total[0] + 1, total[1] + row, total[3] + len(keys)
    return longest


@FAST
@given(st.integers(1, 30), st.integers(0, 20), st.integers(0, 8), st.integers(0, 5), st.integers(1, 4), SIDE, SIDE)
def test_dilated_groups_equal_brute_force(n: int, more: int, left: int, right: int, d: int, bm: int, bn: int) -> None:
    mask = DilatedMask(n, n + more, left, right, d)
    pairs = pairs_of(mask)
    assert mask.pairs() == pairs.sum()
    visited = full = 0
    for residue in range(d):
        q = [i for i in range(n) if (i + more) % d == residue]
        k = [j for j in range(n + more) if j % d == residue]
        if q:
            v, f = tiles_of(pairs[np.ix_(q, k)], bm, bn)
            visited, full = visited + v.sum(), full + f.sum()
    s = mask.tiles((bm,), (bn,))
    assert (s.visited, s.full) == (visited, full)


@FAST
@given(st.lists(st.integers(1, 15), min_size=1, max_size=4), SIDE, SIDE)
def test_documents_equal_brute_force(lengths: list[int], bm: int, bn: int) -> None:
    mask = DocumentsMask(tuple(lengths), lambda n: BandMask(n, n, right=0))
    pairs, start, visited, full = pairs_of(mask), 0, 0, 0
    for length in lengths:
        v, f = tiles_of(pairs[start : start + length, start : start + length], bm, bn)
        visited, full, start = visited + v.sum(), full + f.sum(), start + length
    s = mask.tiles((bm,), (bn,))
    assert (mask.pairs(), s.visited, s.full) == (pairs.sum(), visited, full)
    assert pairs.sum() == sum(n * (n + 1) // 2 for n in lengths)


@FAST
@given(st.data())
def test_shifted_windows_equal_brute_force(data: Any) -> None:
    shape = data.draw(st.lists(st.integers(2, 8), min_size=1, max_size=2).map(tuple))
    window = tuple(data.draw(st.integers(1, n)) for n in shape)
    shift = tuple(data.draw(st.integers(0, w - 1)) for w in window)
    mask = WindowsMask(shape, window, shift)
    assert mask.pairs() == pairs_of(mask).sum()
    if not any(shift) and all(n % w == 0 for n, w in zip(shape, window, strict=True)):
        assert mask.pairs() == math.prod(shape) * math.prod(window)
    one = mask.tiles((1,), (1,))
    assert (one.visited, one.full) == (mask.pairs(), mask.pairs())


@FAST
@given(st.integers(1, 40), st.integers(1, 40), SIDE, SIDE, st.integers(1, 7), st.integers(1, 7), st.booleans(),
       st.integers(0, 2**31))  # fmt: skip
def test_block_masks_equal_brute_force(
    n: int, m: int, bm: int, bn: int, bq: int, bk: int, causal: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    # Few kept blocks are counted one by one.
    blocks = rng.random((-(-n // bq), -(-m // bk))) < rng.choice([0.02, 0.5])
    mask = BlockMask(blocks, (bq, bk), n, m, causal)
    check(mask, bm, bn)
    check(from_rule(mask.attends, n, m), bm, bn)


@FAST
@given(st.integers(1, 60), st.integers(0, 30), st.integers(1, 9), st.integers(1, 5))
def test_selected_blocks_count_pairs(n: int, more: int, block: int, top: int) -> None:
    mask = SelectedBlocksMask(n, n + more, block, top)
    assert mask.pairs() == pairs_of(mask).sum()
    s = mask.tiles((1,), (1,))
    assert s.visited >= mask.pairs() - 1e-6


@FAST
@given(st.integers(1, 40), st.integers(0, 30), st.integers(1, 50), st.integers(1, 9), st.booleans())
def test_selected_keys_are_gathered_query_by_query(n: int, more: int, top: int, columns: int, causal: bool) -> None:
    mask = TopKeysMask(n, n + more, top, causal)
    selected = pairs_of(mask).sum(axis=1)
    s = mask.tiles((4,), (columns,))
    assert mask.pairs() == selected.sum()
    assert (s.query_tiles, s.visited, s.full) == (n, np.ceil(selected / columns).sum(), (selected // columns).sum())
    assert (s.longest_row, s.shortest_row) == (np.ceil(selected[-1] / columns), np.ceil(selected[0] / columns))
    assert mask.missing((4,), (columns,)) == (s.visited * columns - selected.sum(), 0)


@pytest.mark.parametrize(("count", "window"), [(40, 5), (33, 2), (128, 3)])
def test_power_blocks_have_the_papers_count(count: int, window: int) -> None:
    late = power_blocks(count, window=window, sinks=1)[-1].sum()
    expected = 1 + window + math.floor(math.log2(count - 1)) - math.floor(math.log2(window - 1))
    # The oldest power-of-two block and the sink may be the same block.
    assert late in (expected, expected - 1)


def test_radial_blocks_keep_neighbouring_frames_and_the_papers_sparsity() -> None:
    blocks = radial_blocks(30, 3840, decay=0.95, sink=False, block=128)
    assert blocks[:30, :60].all()
    # 74.1 % before blocks are formed (coverage table); whole blocks keep a little more.
    assert 0.70 < 1 - blocks.mean() < 0.76


@pytest.mark.parametrize("tiles", [((4, 8, 8), (2, 8, 8)), ((128,), (128,)), ((256,), (128,))])
def test_a_video_needs_little_memory(tiles: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    mask = NeighbourhoodMask((30, 48, 80), (18, 24, 24), (1, 1, 1), (1, 1, 1), (False,) * 3)
    tracemalloc.start()
    summary = mask.tiles(*tiles)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert summary.visited * math.prod(tiles[0]) * math.prod(tiles[1]) >= mask.pairs()
    assert peak < 200e6


def test_a_million_tokens_need_no_memory() -> None:
    tracemalloc.start()
    BandMask(2**20, 2**20, 4095, 0).tiles((128,), (64,))
    NeighbourhoodMask((2**20,), (4096,), (1,), (1,), (False,)).tiles((128,), (64,))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6


def test_a_full_window_is_dense() -> None:
    dense = BandMask(777, 777).tiles((64,), (48,))
    assert BandMask(777, 777, 776, 776).tiles((64,), (48,)) == dense
    shape = (7, 9)
    full = NeighbourhoodMask(shape, shape, (1, 1), (1, 1), (False, False))
    assert full.pairs() == 63 * 63
    assert full.tiles((16,), (8,)) == BandMask(63, 63).tiles((16,), (8,))
