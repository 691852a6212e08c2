"""Tile lists against brute force: decoded to every pair they equal the pair rule, and their counts `mask.tiles`."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim.simulator.errors import InputError
from attnsim.simulator.masks import (
    BandMask,
    BlockMask,
    ChunkedMask,
    DilatedMask,
    DocumentsMask,
    GlobalLocalMask,
    Mask,
    NeighbourhoodMask,
    SelectedBlocksMask,
    StridedMask,
    WindowsMask,
    from_rule,
    listing,
)
from attnsim.simulator.masks.lists import FULL, TileLists, tile_lists

FAST = settings(max_examples=120, deadline=None, print_blob=False)
sizes = st.integers(1, 40)
sides = st.none() | st.integers(0, 50)
tile_sides = st.integers(1, 12) | st.sampled_from([32, 33, 40])


def tokens_of(origin: Any, extent: Any, tile: tuple[int, int, int], step: tuple[int, int, int]) -> tuple[Any, Any]:
    """(token, whether there is one) of every slot of tiles: [tiles, slots], as a kernel computes them."""
    slot = np.arange(math.prod(tile))
    place = np.stack([slot // (tile[1] * tile[2]), slot // tile[2] % tile[1], slot % tile[2]], -1)
    return origin[:, None] + place @ np.array(step), (place[None] < extent[:, None]).all(-1)


def decoded(lists: TileLists, n: int, m: int) -> Any:
    """Which pairs attend, from lists alone; every token is in exactly one tile."""
    queries, query_in = tokens_of(lists.query_origin, lists.query_extent, lists.query_sides, lists.query_step)
    keys, key_in = tokens_of(lists.key_origin, lists.key_extent, lists.key_sides, lists.key_step)
    assert sorted(queries[query_in].tolist()) == list(range(n))
    assert sorted(keys[key_in].tolist()) == list(range(m))
    order = np.arange(max(n, m)) if lists.order is None else lists.order
    result = np.zeros((n, m), dtype=bool)
    for t in range(len(queries)):
        visited = slice(lists.row_start[t], lists.row_start[t + 1])
        assert (np.diff(lists.key[visited]) > 0).all()
        for c, pattern in zip(lists.key[visited], lists.pattern[visited], strict=True):
            both = query_in[t][:, None] & key_in[c][None, :]
            if pattern == FULL:
                attends = np.ones_like(both)
                assert both.all()
            else:
                column = np.arange(keys.shape[1])
                attends = (lists.patterns[pattern][:, column // 32] >> (column % 32).astype(np.uint32)) & 1 != 0
                assert attends.any()
                assert not attends.all()
                assert not (attends & ~both).any()
            row, column = np.nonzero(both)
            result[order[queries[t][row]], order[keys[c][column]]] = attends[row, column]
    return result


def check(mask: Mask, query_tile: tuple[int, ...], key_tile: tuple[int, ...]) -> TileLists:
    """Lists of a mask: pairs, counts, rows, patterns and the transposed lists."""
    lists = tile_lists(mask, query_tile, key_tile)
    n, m = mask.queries, mask.keys
    pairs = np.broadcast_to(mask.attends(np.arange(n)[:, None], np.arange(m)[None, :]), (n, m))
    assert np.array_equal(decoded(lists, n, m), pairs), mask
    assert lists.summary() == mask.tiles(query_tile, key_tile)
    visited, full = mask.rows(query_tile, key_tile)
    assert np.array_equal(np.diff(lists.row_start), visited)
    rows = np.repeat(np.arange(len(visited)), visited)
    assert np.array_equal(np.bincount(rows[lists.pattern == FULL], minlength=len(visited)), full)
    bm, bn = math.prod(lists.query_sides), math.prod(lists.key_sides)
    keys, queries = lists.key_extent.prod(axis=1)[lists.key], lists.query_extent.prod(axis=1)[rows]
    assert mask.missing(query_tile, key_tile) == ((bn - keys).sum(), (bm - queries).sum())
    assert lists.patterns.shape[1:] == (bm, max(1, -(-bn // 32)))
    assert len({p.tobytes() for p in lists.patterns}) == len(lists.patterns)
    assert set(range(len(lists.patterns))) == set(lists.pattern.tolist()) - {FULL}
    start, query, pattern = lists.transposed()
    columns = np.repeat(np.arange(len(lists.key_origin)), np.diff(start))
    assert list(zip(columns, query, pattern, strict=True)) == sorted(zip(lists.key, rows, lists.pattern, strict=True))
    for name in ("query_origin", "query_extent", "key_origin", "key_extent", "key", "pattern"):
        assert getattr(lists, name).dtype == np.int32, name
    assert lists.patterns.dtype == np.uint32
    assert lists.row_start.dtype == start.dtype == np.int64
    return lists


@pytest.fixture(params=[False, True], ids=["", "in pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything at once, and a few tiles and pairs at a time."""
    if request.param:
        monkeypatch.setattr(listing, "ENTRIES_AT_ONCE", 3)
        monkeypatch.setattr(listing, "PAIRS_AT_ONCE", 40)


@FAST
@given(sizes, sizes, sides, sides, st.just(0) | st.integers(0, 45), tile_sides, tile_sides)
def test_bands(n: int, m: int, left: Any, right: Any, sinks: int, bm: int, bn: int) -> None:
    check(BandMask(n, m, left, right, sinks), (bm,), (bn,))


@given(st.integers(0, 3), st.integers(0, 3), sides, sides, st.integers(0, 2))
@FAST
def test_empty_sides(n: int, m: int, left: Any, right: Any, sinks: int) -> None:
    check(BandMask(n, m, left, right, sinks), (2,), (2,))


@st.composite
def neighbourhoods(draw: Any) -> NeighbourhoodMask:
    """A small neighbourhood of 1 to 3 axes; windows may exceed the dilation groups."""
    axes = draw(st.integers(1, 3))
    limit = {1: 40, 2: 9, 3: 6}[axes]
    shape = tuple(draw(st.integers(1, limit)) for _ in range(axes))
    window = tuple(draw(st.integers(1, n)) for n in shape)
    stride = tuple(draw(st.integers(1, w)) for w in window)
    dilation = draw(st.just((1,) * axes) | st.tuples(*[st.integers(1, 3)] * axes))
    return NeighbourhoodMask(shape, window, stride, dilation, draw(st.tuples(*[st.booleans()] * axes)))


@FAST
@given(neighbourhoods(), st.data())
def test_neighbourhoods_with_tiles_along_axes(mask: NeighbourhoodMask, data: Any) -> None:
    side = st.tuples(*[st.integers(1, 5)] * len(mask.shape))
    assert check(mask, data.draw(side), data.draw(side)).order is None


@FAST
@given(neighbourhoods(), st.integers(1, 20), st.integers(1, 20) | st.just(40))
def test_neighbourhoods_with_tiles_of_flattened_tokens(mask: NeighbourhoodMask, bm: int, bn: int) -> None:
    check(mask, (bm,), (bn,))


@FAST
@given(sizes, sizes, st.integers(1, 15), st.booleans(), tile_sides, tile_sides)
def test_chunks(n: int, m: int, chunk: int, causal: bool, bm: int, bn: int) -> None:
    check(ChunkedMask(n, m, chunk, causal), (bm,), (bn,))


@FAST
@given(sizes, st.integers(0, 12), st.integers(0, 12), st.integers(0, 45), tile_sides, tile_sides)
def test_global_tokens(n: int, left: int, right: int, tokens: int, bm: int, bn: int) -> None:
    check(GlobalLocalMask(n, left, right, tokens), (bm,), (bn,))


@FAST
@given(sizes, sizes, st.integers(1, 20), st.integers(1, 12), tile_sides, tile_sides)
def test_strides(n: int, m: int, window: int, stride: int, bm: int, bn: int) -> None:
    check(StridedMask(n, m, window, stride), (bm,), (bn,))


@FAST
@given(st.data(), sizes, sizes, st.booleans(), tile_sides, tile_sides)
def test_blocks(data: Any, n: int, m: int, causal: bool, bm: int, bn: int) -> None:
    block = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    shape = -(-n // block[0]), -(-m // block[1])
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    kept = rng.random(shape) < data.draw(st.sampled_from([0.1, 0.5, 0.9]))
    check(BlockMask(kept, block, n, m, causal), (bm,), (bn,))


@FAST
@given(sizes, sizes, st.integers(1, 7), tile_sides, tile_sides)
def test_rules(n: int, m: int, every: int, bm: int, bn: int) -> None:
    check(from_rule(lambda i, j: (i * 5 + j * j) % 7 < every, n, m), (bm,), (bn,))


@FAST
@given(sizes, st.integers(0, 20), st.integers(0, 9), st.integers(0, 9), st.integers(1, 6), tile_sides, tile_sides)
def test_dilated(n: int, more: int, left: int, right: int, d: int, bm: int, bn: int) -> None:
    check(DilatedMask(n, n + more, left, right, d), (bm,), (bn,))


@FAST
@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.booleans(), tile_sides, tile_sides)
def test_documents(lengths: list[int], dilated: bool, bm: int, bn: int) -> None:
    make = (lambda n: DilatedMask(n, n, 3, 1, 2)) if dilated else (lambda n: BandMask(n, n, 5, 0, sinks=1))
    check(DocumentsMask(tuple(lengths), make), (bm,), (bn,))


@FAST
@given(st.data(), tile_sides, tile_sides)
def test_shifted_windows(data: Any, bm: int, bn: int) -> None:
    shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=2).map(tuple))
    window = tuple(data.draw(st.integers(1, n)) for n in shape)
    shift = tuple(data.draw(st.integers(0, w - 1)) for w in window)
    check(WindowsMask(shape, window, shift), (bm,), (bn,))


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    ("mask", "query", "key"),
    [
        (BandMask(90, 70, 20, 3, 5), (7,), (5,)),
        (BandMask(64, 64), (8,), (4,)),
        (ChunkedMask(80, 100, 24), (7,), (5,)),
        (GlobalLocalMask(90, 9, 4, 11), (7,), (5,)),
        (StridedMask(90, 95, 20, 9), (7,), (5,)),
        (BlockMask(np.random.default_rng(0).random((9, 11)) < 0.5, (8, 6), 70, 65, True), (5,), (7,)),
        (from_rule(lambda i, j: (i * j) % 5 < 2, 70, 66), (6,), (9,)),
        (NeighbourhoodMask((6, 9, 10), (3, 5, 4), (1, 2, 1), (1, 2, 1), (False, False, True)), (2, 3, 4), (3, 2, 2)),
        (NeighbourhoodMask((6, 9, 10), (3, 5, 4), (1, 2, 1), (1, 2, 1), (False, False, True)), (16,), (12,)),
        (WindowsMask((12, 9), (5, 4), (2, 1)), (6,), (5,)),
        (DocumentsMask((30, 17, 30, 1), lambda n: BandMask(n, n, 5, 0)), (6,), (5,)),
        (DilatedMask(60, 71, 4, 2, 3), (6,), (5,)),
    ],
)
def test_pieces_do_not_matter(mask: Mask, query: tuple[int, ...], key: tuple[int, ...]) -> None:
    check(mask, query, key)


def test_an_empty_document_has_no_tiles() -> None:
    lists = tile_lists(DocumentsMask((0, 3, 0), lambda n: BandMask(n, n)), (2,), (2,))
    assert decoded(lists, 3, 3).all()


def test_sequences_share_their_patterns() -> None:
    """Documents and windows of the same kind have one table, whatever their number."""
    documents = DocumentsMask((256,) * 50, lambda n: BandMask(n, n, right=0))
    assert len(tile_lists(documents, (64,), (64,)).patterns) == 1
    assert len(tile_lists(BandMask(4096, 4096, 511, 0), (64,), (64,)).patterns) == 2


def test_boxes_that_the_stride_fits_have_no_pattern() -> None:
    lists = tile_lists(NeighbourhoodMask((64, 64), (16, 16), (8, 8), (1, 1), (False, False)), (8, 8), (4, 4))
    assert lists.patterns.shape == (0, 64, 1)
    assert lists.query_step == (4096, 64, 1)
    assert (lists.pattern == FULL).all()


@pytest.mark.parametrize(
    ("mask", "query", "key", "limit"),
    [
        (NeighbourhoodMask((30, 48, 80), (18, 24, 24), (1, 1, 1), (1, 1, 1), (False,) * 3), (4, 8, 8), (2, 8, 8), 20e6),
        (BandMask(2**20, 2**20, 4095, 0, sinks=4), (128,), (128,), 80e6),
    ],
)
def test_long_sequences_take_little_memory(mask: Any, query: Any, key: Any, limit: float) -> None:
    tracemalloc.start()
    lists = tile_lists(mask, query, key)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < limit
    assert lists.summary() == mask.tiles(query, key)


def test_what_is_known_at_run_time_only_is_refused() -> None:
    with pytest.raises(InputError, match="run time"):
        tile_lists(SelectedBlocksMask(64, 64, 16, 2), (16,), (16,))
    with pytest.raises(InputError, match="int has no list"):
        tile_lists(3, (16,), (16,))


@pytest.mark.parametrize(
    ("mask", "query", "key"),
    [
        (BandMask(2**22, 2**22), (128,), (128,)),
        (BandMask(2**22, 2**22), (16,), (16,)),
        (StridedMask(2**20, 2**20, 2**20, 1), (4,), (4,)),
        (NeighbourhoodMask((512, 512, 512), (256, 256, 256), (1, 1, 1), (1, 1, 1), (False,) * 3), (4, 4, 4), (4, 4, 4)),
    ],
)
def test_too_many_tiles_are_refused(mask: Mask, query: Any, key: Any) -> None:
    with pytest.raises(InputError, match="allowed"):
        tile_lists(mask, query, key)


def test_illegal_tiles_are_refused() -> None:
    for mask in (BandMask(8, 8), ChunkedMask(8, 8, 4), GlobalLocalMask(8, 1, 1, 1), StridedMask(8, 8, 2, 2)):
        with pytest.raises(InputError, match="flattened"):
            tile_lists(mask, (2, 2), (2, 2))
    with pytest.raises(InputError, match="axes"):
        tile_lists(NeighbourhoodMask((8, 8), (3, 3), (1, 1), (1, 1), (False, False)), (2, 2, 2), (2, 2, 2))
    with pytest.raises(InputError, match="as many keys"):
        tile_lists(DilatedMask(8, 4, 1, 1, 2), (2,), (2,))
    mixed = DocumentsMask((4, 6), lambda n: DilatedMask(n, n, 1, 1, n // 2))
    with pytest.raises(InputError, match="laid out"):
        tile_lists(mixed, (2,), (2,))
