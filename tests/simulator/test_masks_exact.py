"""Masks against brute force: pairs, tiles and rows equal what the pair rule says, on small random problems."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attnsim.simulator.errors import InputError
from attnsim.simulator.masks import (
    BandMask,
    ChunkedMask,
    DilatedMask,
    DocumentsMask,
    GlobalLocalMask,
    Mask,
    NeighbourhoodMask,
    StridedMask,
    TileSummary,
    WindowsMask,
)
from attnsim.simulator.masks.band import linear_floored_sum

settings.register_profile("masks", max_examples=150, deadline=None, print_blob=False)
settings.load_profile("masks")

FIELDS = ("query_tiles", "visited", "full", "partial", "skipped", "longest_row", "shortest_row")
sizes = st.integers(1, 40)
sides = st.none() | st.integers(0, 50)
tile_sides = st.integers(1, 12)


def matrix(mask: Mask) -> Any:
    """Which pairs attend, all of them."""
    return np.asarray(mask.attends(np.arange(mask.queries)[:, None], np.arange(mask.keys)[None, :]))


def pieces(tokens: Any, side: int) -> list[Any]:
    return [tokens[k : k + side] for k in range(0, len(tokens), side)]


def counted(attends: Any, grids: Iterable[tuple[list[Any], list[Any], int, int]]) -> tuple[TileSummary, list[Any]]:
    """Brute force. grids: (query tiles, key tiles, nominal query side, nominal key side), tiles as token indices."""
    visited, full, skipped = [], [], 0
    for query_tiles, key_tiles, bm, bn in grids:
        for q in query_tiles:
            inside = [attends[np.ix_(q, k)] for k in key_tiles]
            visited.append(sum(bool(x.any()) for x in inside))
            full.append(sum(bool(x.all()) and x.shape == (bm, bn) for x in inside))
            skipped += len(key_tiles) - visited[-1]
    summary = TileSummary(
        len(visited), sum(visited), sum(full), sum(visited) - sum(full), skipped,
        max(visited, default=0), min(visited, default=0),
    )  # fmt: skip
    return summary, [sorted(zip(visited, full, strict=True)), visited, full]


def check(mask: Mask, bm: Any, bn: Any, grids: Any = None, ordered: bool = True) -> None:
    """pairs, tiles and rows of the mask equal brute force over its grids (default: one grid of flattened tokens)."""
    attends = matrix(mask)
    query_tile = bm if isinstance(bm, tuple) else (bm,)
    key_tile = bn if isinstance(bn, tuple) else (bn,)
    if grids is None:
        grids = [(pieces(np.arange(mask.queries), bm), pieces(np.arange(mask.keys), bn), bm, bn)]
    expected, (in_any_order, visited, full) = counted(attends, grids)
    assert mask.pairs() == attends.sum()
    assert mask.tiles(query_tile, key_tile) == expected
    rows = mask.rows(query_tile, key_tile)
    assert all(np.issubdtype(x.dtype, np.integer) for x in rows)
    if ordered:
        assert rows[0].tolist() == visited
        assert rows[1].tolist() == full
    assert sorted(zip(rows[0].tolist(), rows[1].tolist(), strict=True)) == in_any_order


class TestBand:
    @settings(max_examples=600)
    @given(sizes, sizes, sides, sides, st.just(0) | st.integers(0, 45), tile_sides, tile_sides)
    @example(1, 1, 0, 0, 0, 1, 1)
    @example(7, 7, 100, 100, 0, 3, 2)
    def test_equals_brute_force(self, n: int, m: int, left: Any, right: Any, sinks: int, bm: int, bn: int) -> None:
        check(BandMask(n, m, left, right, sinks), bm, bn)

    @given(st.integers(0, 3), st.integers(0, 3), sides, sides, st.integers(0, 2))
    def test_empty_sides(self, n: int, m: int, left: Any, right: Any, sinks: int) -> None:
        check(BandMask(n, m, left, right, sinks), 2, 2)

    @given(
        st.lists(st.tuples(sizes, sizes, st.integers(0, 50), st.integers(0, 50), st.integers(0, 45)), min_size=1),
        st.tuples(*[st.booleans()] * 4), tile_sides, tile_sides,
    )  # fmt: skip
    def test_arrays_equal_ints(self, points: Any, free: Any, bm: int, bn: int) -> None:
        fix_left, fix_right, no_sinks, square = free
        columns = [np.array(c, dtype=float) for c in zip(*points, strict=True)]
        n, m, left, right, sinks = columns
        arrays = BandMask(
            n, n if square else m, None if fix_left else left, None if fix_right else right, 0 if no_sinks else sinks
        )
        summary, pairs = arrays.tiles((bm,), (bn,)), arrays.pairs()
        for k, (a, b, c, d, e) in enumerate(points):
            one = BandMask(
                a, a if square else b, None if fix_left else c, None if fix_right else d, 0 if no_sinks else e
            )
            assert np.broadcast_to(pairs, n.shape)[k] == one.pairs()
            expected = one.tiles((bm,), (bn,))
            for field in FIELDS:
                assert np.broadcast_to(getattr(summary, field), n.shape)[k] == getattr(expected, field), field

    def test_many_points_in_pieces(self) -> None:
        rng = np.random.default_rng(0)
        n = rng.integers(1, 300_000, (5000, 1)).astype(float)
        left = rng.integers(0, 5000, 5).astype(float)
        summary = BandMask(n, n, left, 0, sinks=4).tiles((64,), (176,))
        for a, b in ((0, 0), (4999, 4), (1234, 2), (3276, 3)):
            one = BandMask(int(n[a, 0]), int(n[a, 0]), int(left[b]), 0, sinks=4).tiles((64,), (176,))
            for field in FIELDS:
                assert getattr(summary, field).shape == (5000, 5)
                assert getattr(summary, field)[a, b] == getattr(one, field), field

    @given(sizes, sizes, st.integers(0, 50), st.integers(0, 50), st.integers(0, 45))
    @settings(max_examples=40)
    def test_symbols_equal_ints(self, n: int, m: int, left: int, right: int, sinks: int) -> None:
        import sympy

        names = sympy.symbols("n m left right sinks", integer=True, nonnegative=True)
        values = dict(zip(names, (n, m, left, right, sinks), strict=True))
        assert BandMask(*names).pairs().subs(values) == BandMask(n, m, left, right, sinks).pairs()
        assert BandMask(*names[:2], right=0).pairs().subs(values) == BandMask(n, m, right=0).pairs()

    @given(sizes, sizes, tile_sides, tile_sides)
    def test_a_window_over_everything_is_dense(self, n: int, m: int, bm: int, bn: int) -> None:
        wide, dense = BandMask(n, m, n + m, n + m), BandMask(n, m)
        assert wide.pairs() == dense.pairs()
        assert wide.tiles((bm,), (bn,)) == dense.tiles((bm,), (bn,))

    def test_textbook_totals(self) -> None:
        n, w, s = 4096, 512, 4
        assert BandMask(n, n, right=0).pairs() == n * (n + 1) // 2
        assert BandMask(n, n, left=w - 1, right=0).pairs() == n * w - w * (w - 1) // 2
        extra = sum(min(s, max(i + 1 - w, 0)) for i in range(n))
        assert BandMask(n, n, w - 1, 0, sinks=s).pairs() == n * w - w * (w - 1) // 2 + extra
        assert BandMask(n, n, right=0).tiles((128,), (128,)) == TileSummary(32, 528, 496, 32, 496, 32, 1)

    def test_a_million_tokens_take_no_memory(self) -> None:
        tracemalloc.start()
        BandMask(2**20, 2**20, 4095, 0, sinks=4).tiles((128,), (176,))
        BandMask(2**20, 2**20, right=0).tiles((128,), (128,))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000

    @given(st.integers(0, 200), st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
    def test_sums_of_floors(self, start: int, step: int, count: int, tile: int) -> None:
        expected = sum((start + t * step) // tile for t in range(count))
        assert linear_floored_sum(start, step, count, tile) == expected
        assert linear_floored_sum(np.array([float(start)]), step, np.array([float(count)]), tile)[0] == expected

    @pytest.mark.parametrize("field", ["queries", "keys", "left", "right", "sinks"])
    def test_negative_sizes_are_refused(self, field: str) -> None:
        with pytest.raises(InputError, match=field):
            BandMask(**{"queries": 4, "keys": 4, field: -1})

    def test_tiles_of_several_axes_are_refused(self) -> None:
        with pytest.raises(InputError, match="flattened"):
            BandMask(64, 64).tiles((4, 4), (4, 4))


@st.composite
def neighbourhoods(draw: Any) -> NeighbourhoodMask:
    """A small neighbourhood of 1 to 3 axes; windows may exceed the dilation groups."""
    axes = draw(st.integers(1, 3))
    limit = {1: 40, 2: 9, 3: 6}[axes]
    shape, window, stride, dilation = [], [], [], []
    for _ in range(axes):
        shape.append(draw(st.integers(1, limit)))
        window.append(draw(st.integers(1, shape[-1])))
        stride.append(draw(st.integers(1, window[-1])))
        dilation.append(draw(st.integers(1, 3)))
    causal = draw(st.tuples(*[st.booleans()] * axes))
    return NeighbourhoodMask(tuple(shape), tuple(window), tuple(stride), tuple(dilation), causal)


def groups(shape: tuple[int, ...], dilation: tuple[int, ...]) -> Iterable[Any]:
    """Token indices of every dilation group, as arrays of the group's shape."""
    tokens = np.arange(math.prod(shape)).reshape(shape)
    for rest in itertools.product(*(range(min(d, n)) for d, n in zip(dilation, shape, strict=True))):
        yield tokens[tuple(slice(r, None, d) for r, d in zip(rest, dilation, strict=True))]


def boxes(tokens: Any, tile: tuple[int, ...]) -> list[Any]:
    """The tiles of several axes of a group."""
    starts = itertools.product(*(range(0, n, t) for n, t in zip(tokens.shape, tile, strict=True)))
    return [tokens[tuple(slice(a, a + t) for a, t in zip(s, tile, strict=True))].ravel() for s in starts]


def natten_reference(mask: NeighbourhoodMask) -> Any:
    """Which pairs attend by the scalar rule of NATTEN's reference kernel
    (csrc/include/natten/cuda/reference/mask.hpp at 8c8729f: get_win_start, get_win_end, qkv_fix_dilation)."""
    n = mask.queries
    result = np.zeros((n, n), dtype=bool)
    for i, j in itertools.product(range(n), repeat=2):
        near = True
        for q, k, size, w, s, d, causal in zip(
            np.unravel_index(i, mask.shape), np.unravel_index(j, mask.shape),
            mask.shape, mask.window, mask.stride, mask.dilation, mask.causal, strict=True,
        ):  # fmt: skip
            length = size // d + 1 - (q % d + d - size % d) // d
            left, right, index = w // 2, w // 2 + w % 2 - 1, q // d
            if causal:
                leader = min(index // s * s + s - 1, length - 1)
                start = max(leader - left - right, 0)
                end = min(index + 1, length)
            else:
                leader = min(index // s * s + s // 2, length - 1)
                start = max(leader - left, 0)
                start += (leader + right >= length) * (length - right - leader - 1)
                end = start + w
            near &= bool(q % d == k % d and start <= k // d < end)
        result[i, j] = near
    return result


class TestNeighbourhood:
    @settings(max_examples=300)
    @given(neighbourhoods(), st.data())
    def test_tiles_of_several_axes(self, mask: NeighbourhoodMask, data: Any) -> None:
        side = st.tuples(*[st.integers(1, 5)] * len(mask.shape))
        bm, bn = data.draw(side), data.draw(side)
        grids = [(boxes(g, bm), boxes(g, bn), math.prod(bm), math.prod(bn)) for g in groups(mask.shape, mask.dilation)]
        check(mask, bm, bn, grids, ordered=False)

    @settings(max_examples=400)
    @given(neighbourhoods(), st.integers(1, 20), st.integers(1, 20))
    def test_flattened_tiles(self, mask: NeighbourhoodMask, bm: int, bn: int) -> None:
        grids = [(pieces(g.ravel(), bm), pieces(g.ravel(), bn), bm, bn) for g in groups(mask.shape, mask.dilation)]
        check(mask, bm, bn, grids, ordered=False)

    @settings(max_examples=40)
    @given(neighbourhoods())
    def test_the_rule_is_that_of_natten(self, mask: NeighbourhoodMask) -> None:
        shape = [w * d for w, d in zip(mask.window, mask.dilation, strict=True)]
        shape = [max(n, least) for n, least in zip(mask.shape, shape, strict=True)]  # NATTEN's own condition
        if math.prod(shape) > 120:
            return
        mask = NeighbourhoodMask(tuple(shape), mask.window, mask.stride, mask.dilation, mask.causal)
        assert np.array_equal(matrix(mask), natten_reference(mask))

    @pytest.mark.parametrize(
        ("shape", "window", "sparsity"),
        [((16, 44, 80), (16, 32, 48), 56.4), ((30, 48, 80), (18, 24, 24), 91.0), ((256, 256), (80, 80), 90.2)],
    )
    def test_sparsity_of_the_paper(self, shape: Any, window: Any, sparsity: float) -> None:
        ones = (1,) * len(shape)
        mask = NeighbourhoodMask(shape, window, ones, ones, (False,) * len(shape))
        assert mask.pairs() == math.prod(shape) * math.prod(window)
        assert round(100 * (1 - mask.pairs() / mask.queries**2), 1) == sparsity

    def test_a_stride_that_fits_the_tiles_leaves_no_partial_tile(self) -> None:
        mask = NeighbourhoodMask((256, 256), (80, 80), (16, 16), (1, 1), (False, False))
        summary = mask.tiles((16, 16), (16, 16))
        assert summary.partial == 0
        assert summary.full == 256 * 25

    def test_flattened_in_bounded_memory(self) -> None:
        mask = NeighbourhoodMask((30, 48, 80), (18, 24, 24), (1, 1, 1), (1, 1, 1), (False,) * 3)
        tracemalloc.start()
        summary = mask.tiles((128,), (128,))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 200e6
        assert summary.query_tiles == 900
        assert summary.visited + summary.skipped == 900**2

    def test_illegal_parameters_are_refused(self) -> None:
        good: dict[str, Any] = {
            "shape": (8, 8), "window": (3, 3), "stride": (1, 1), "dilation": (1, 1), "causal": (False, False),
        }  # fmt: skip
        for bad in ({"window": (3,)}, {"window": (0, 3)}, {"stride": (4, 1)}, {"dilation": (0, 1)}, {"shape": (8, 0)}):
            with pytest.raises(InputError):
                NeighbourhoodMask(**{**good, **bad})
        with pytest.raises(InputError, match="axes"):
            NeighbourhoodMask(**good).tiles((2, 2, 2), (2, 2, 2))


class TestPatterns:
    @given(sizes, sizes, st.integers(1, 15), st.booleans(), tile_sides, tile_sides)
    def test_chunks(self, n: int, m: int, chunk: int, causal: bool, bm: int, bn: int) -> None:
        check(ChunkedMask(n, m, chunk, causal), bm, bn)

    @given(sizes, st.integers(0, 12), st.integers(0, 12), st.integers(0, 45), tile_sides, tile_sides)
    def test_global_tokens(self, n: int, left: int, right: int, tokens: int, bm: int, bn: int) -> None:
        check(GlobalLocalMask(n, left, right, tokens), bm, bn)

    @given(sizes, sizes, st.integers(1, 20), st.integers(1, 12), tile_sides, tile_sides)
    def test_strides(self, n: int, m: int, window: int, stride: int, bm: int, bn: int) -> None:
        check(StridedMask(n, m, window, stride), bm, bn)

    @settings(max_examples=30)
    @given(sizes, sizes, st.integers(1, 15), st.integers(1, 9), st.booleans())
    def test_pairs_of_arrays_and_symbols(self, n: int, m: int, w: int, s: int, causal: bool) -> None:
        import sympy

        names = sympy.symbols("n m w", integer=True, positive=True)
        arrays = [np.array([float(x)]) for x in (n, m, w)]
        values = dict(zip(names, (n, m, w), strict=True))
        for make in (lambda a, b, c: ChunkedMask(a, b, c, causal), lambda a, b, c: StridedMask(a, b, c, s)):
            expected = make(n, m, w).pairs()
            assert make(*arrays).pairs()[0] == expected
            assert sympy.sympify(make(*names).pairs()).subs(values) == expected

    def test_a_chunk_keeps_half_a_chunk(self) -> None:
        n, c = 4096, 512
        assert ChunkedMask(n, n, c).pairs() == n * (c + 1) // 2
        assert ChunkedMask(n, n, c).tiles((128,), (128,)).visited == n // c * 10

    def test_illegal_parameters_are_refused(self) -> None:
        with pytest.raises(InputError, match="chunk"):
            ChunkedMask(8, 8, 0)
        with pytest.raises(InputError, match="stride"):
            StridedMask(8, 8, 2, 0)
        with pytest.raises(InputError, match="negative"):
            GlobalLocalMask(8, -1, 0, 0)


class TestRegrouped:
    @given(sizes, st.integers(0, 20), st.integers(0, 9), st.integers(0, 9), st.integers(1, 6), tile_sides, tile_sides)
    def test_dilated(self, n: int, more: int, left: int, right: int, d: int, bm: int, bn: int) -> None:
        keys = [np.arange(r, n + more, d) for r in range(d)]
        queries = [k[k >= more] - more for k in keys]
        grids = [(pieces(q, bm), pieces(k, bn), bm, bn) for q, k in zip(queries, keys, strict=True) if len(q)]
        check(DilatedMask(n, n + more, left, right, d), bm, bn, grids, ordered=False)

    @given(st.lists(sizes, min_size=1, max_size=4), st.booleans(), tile_sides, tile_sides)
    def test_documents(self, lengths: list[int], causal: bool, bm: int, bn: int) -> None:
        ends = np.cumsum(lengths)
        tokens = [np.arange(end - n, end) for end, n in zip(ends, lengths, strict=True)]
        grids = [(pieces(t, bm), pieces(t, bn), bm, bn) for t in tokens]
        mask = DocumentsMask(tuple(lengths), lambda n: BandMask(n, n, 5, 0 if causal else 3))
        check(mask, bm, bn, grids, ordered=False)

    @given(st.data(), tile_sides, tile_sides)
    def test_shifted_windows(self, data: Any, bm: int, bn: int) -> None:
        shape = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=2).map(tuple))
        window = tuple(data.draw(st.integers(1, n)) for n in shape)
        shift = tuple(data.draw(st.integers(0, w - 1)) for w in window)
        tokens = np.roll(np.arange(math.prod(shape)).reshape(shape), [-s for s in shift], tuple(range(len(shape))))
        grids = [(pieces(t, bm), pieces(t, bn), bm, bn) for t in boxes(tokens, window)]
        check(WindowsMask(shape, window, shift), bm, bn, grids, ordered=False)
