"""Block-sparse and neighbourhood attention, interpreted: any mask, and blocks and tokens chosen at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim import Problem, variants
from attnsim.kernels import block_sparse, lists, neighbourhood
from attnsim.kernels.interpret import Counted, counting
from attnsim.simulator import api, masks
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError
from attnsim.simulator.families.softmax import softmax_graph
from attnsim.simulator.tiling import tile_parts

from .attention_cases import case, check_backward, check_forward

STATIC = sorted(
    name for name in variants.names()
    if variants.get_class(name).family in ("softmax", "selected-block softmax") and name != "moba"
)  # fmt: skip
PARAMETERS = {
    "sliding-window": {"window": 20}, "sink-window": {"window": 15, "sinks": 3}, "swin": {"window": 4},
    "radial": {"block": 8}, "power-attention": {"block": 8}, "gqa": {"kv_groups": 2}, "gna": {"window": 3},
    "dilated": {"window": 5, "dilation": 2},
}  # fmt: skip
MASKS: dict[str, Any] = {
    "chunked": masks.ChunkedMask(50, 70, 16), "global": masks.GlobalLocalMask(60, 5, 9, 20),
    "strided": masks.StridedMask(50, 60, 7, 5), "swin, shifted": masks.WindowsMask((8, 9), (4, 3), (2, 1)),
    "dilated": masks.DilatedMask(40, 70, 4, 0, 3), "rule": masks.from_rule(lambda i, j: (i * j) % 7 < 3, 40, 50),
    "documents": masks.DocumentsMask((20, 3, 41), lambda n: masks.BandMask(n, n, right=0)),
    "flattened neighbourhood": masks.NeighbourhoodMask((7, 9), (3, 5), (1, 2), (1, 1), (False, True)),
    "no key at all": masks.BandMask(40, 20, left=3, right=0),
}  # fmt: skip


class WithMask:
    """A stand-in for a variant: dense attention under any mask."""

    id = "block-mask"

    def __init__(self, mask: Any) -> None:
        self.mask = mask

    def graph(self, problem: Any) -> Any:
        return softmax_graph(problem, self.mask)


def with_mask(mask: Any, direction: str = "forward", **sizes: Any) -> tuple[Any, Any]:
    """A variant that has the mask, and its problem."""
    return WithMask(mask), Problem.make(seq=mask.queries, kv_len=mask.keys, direction=direction, **sizes)


@pytest.mark.parametrize("variant", STATIC)
def test_every_static_mask_of_the_registry_runs(variant: str, counted: Counted) -> None:
    shape = (6, 12) if 1 not in variants.get_class(variant).axes else (72,)
    made, problem = case(variant, PARAMETERS.get(variant), shape=shape, heads=4, head_dim=16,
                         kv_heads=2 if variant != "sqa" else None)  # fmt: skip
    t = block_sparse.inputs(made, problem)
    t["q"] = t["q"][:, : int(made.graph(problem).main.heads)]
    out = block_sparse.plan(made, problem, t, Config((16,), (32,)), lse=True).run()
    check_forward(made.graph(problem).main.mask, t, out, torch.bfloat16)


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_every_kind(name: str, counted: Counted) -> None:
    mask = MASKS[name]
    made, problem = with_mask(mask, "backward", heads=4, kv_heads=2, head_dim=24, v_dim=16)
    t = block_sparse.inputs(made, problem)
    config = Config((16,), (32,))
    t |= block_sparse.plan(made, problem, t, config, lse=True).run()
    check_forward(mask, t, t, torch.bfloat16)
    check_backward(mask, t, block_sparse.plan_backward(made, problem, t, config).run())


NEIGHBOURHOODS = [
    ((40,), (7,), (1,), (1,), (False,), (16,), (16,)),
    ((45,), (9,), (3,), (2,), (True,), (16,), (32,)),
    ((9, 11), (5, 3), (2, 1), (1, 2), (False, False), (4, 4), (4, 4)),
    ((8, 16), (8, 4), (4, 4), (1, 1), (True, False), (2, 8), (4, 8)),
    ((5, 6, 7), (3, 3, 5), (1, 3, 2), (1, 1, 1), (False, True, False), (2, 2, 4), (2, 4, 4)),
    ((6, 6, 6), (3, 2, 3), (3, 2, 1), (2, 1, 2), (False, False, False), (2, 2, 4), (1, 4, 4)),
]


@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize(("shape", "window", "stride", "dilation", "causal", "query", "key"), NEIGHBOURHOODS)
def test_neighbourhoods_in_tiles_along_the_axes(
    shape: Any, window: Any, stride: Any, dilation: Any, causal: Any, query: Any, key: Any, permuted: bool,
    counted: Counted,
) -> None:  # fmt: skip
    mask = masks.NeighbourhoodMask(shape, window, stride, dilation, causal)
    made, problem = with_mask(mask, "backward", heads=2, head_dim=16)
    t = neighbourhood.inputs(made, problem)
    config = Config(query, key, permuted=permuted)
    t |= neighbourhood.plan(made, problem, t, config, lse=True).run()
    check_forward(mask, t, t, torch.bfloat16)
    check_backward(mask, t, neighbourhood.plan_backward(made, problem, t, config).run())


@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data(), axes=st.integers(1, 3), permuted=st.booleans())
def test_any_neighbourhood(data: st.DataObject, axes: int, permuted: bool) -> None:
    def draw(low: int, high: int) -> tuple[int, ...]:
        return tuple(data.draw(st.integers(low, high)) for _ in range(axes))

    dilation = draw(1, 2)
    shape = tuple(n + d for n, d in zip(draw(1, {1: 60, 2: 9, 3: 5}[axes]), dilation, strict=True))
    window = tuple(data.draw(st.integers(1, n // d)) for n, d in zip(shape, dilation, strict=True))
    stride = tuple(data.draw(st.integers(1, w)) for w in window)
    causal = tuple(data.draw(st.booleans()) for _ in range(axes))
    mask = masks.NeighbourhoodMask(shape, window, stride, dilation, causal)
    tiles = {1: [(16,), (32,)], 2: [(4, 4), (2, 8), (8, 4)], 3: [(2, 2, 4), (4, 4, 1), (2, 4, 4)]}[axes]
    config = Config(data.draw(st.sampled_from(tiles)), data.draw(st.sampled_from(tiles)), permuted=permuted)
    made, problem = with_mask(mask, "backward", heads=1, head_dim=16, dtype="fp16")
    t = neighbourhood.inputs(made, problem)
    with counting():
        t |= neighbourhood.plan(made, problem, t, config, lse=True).run()
        check_forward(mask, t, t, torch.float16)
        gradients = neighbourhood.plan_backward(made, problem, t, config).run()
    check_backward(mask, t, gradients)


def test_packed_heads(counted: Counted) -> None:
    mask = masks.StridedMask(50, 60, 7, 5)
    made, problem = with_mask(mask, heads=6, kv_heads=2, head_dim=16)
    t = block_sparse.inputs(made, problem)
    out = block_sparse.plan(made, problem, t, Config((32,), (16,), packed_heads=3), lse=True).run()
    check_forward(mask, t, out, torch.bfloat16)


LISTED = [
    (masks.StridedMask(64, 96, 7, 5), (32,), (16,)),
    (masks.BlockMask(np.random.default_rng(0).random((4, 6)) < 0.5, (16, 16), 64, 96), (16,), (32,)),
    (masks.NeighbourhoodMask((8, 16), (3, 9), (1, 1), (1, 1), (False, False)), (4, 8), (2, 8)),
    (masks.NeighbourhoodMask((4, 8, 8), (3, 4, 5), (1, 2, 1), (1, 1, 1), (False, False, True)), (2, 4, 4), (4, 2, 4)),
    (masks.NeighbourhoodMask((8, 16), (4, 8), (4, 8), (1, 1), (False, False)), (4, 8), (4, 8)),
]  # fmt: skip


@pytest.mark.parametrize(("mask", "query", "key"), LISTED)
def test_the_kernels_do_the_work_of_the_model(mask: Any, query: Any, key: Any) -> None:
    """Sizes that tiles divide: bytes of operands and results, matrix FLOPs and exponentials equal the tiled counts.

    What the model leaves out: forward an exponential a row and visited tile, and of the lists (int32) 12 bytes a
    visited tile, 4 * rows * words a partial one, 16 a query tile (backward: a key tile). Where tiles do not divide the
    sizes, the model counts at most what is loaded, a tile over the edge being cut in the kernel.
    """
    tile = Config(query, key)
    for direction in ("forward", "backward"):
        made, problem = with_mask(mask, direction, heads=4, kv_heads=2, head_dim=16)
        t = block_sparse.inputs(made, problem)
        with counting():
            t |= block_sparse.plan(made, problem, t, tile, lse=True).run()
            plan = (block_sparse.plan if direction == "forward" else block_sparse.plan_backward)(made, problem, t, tile)
        with counting() as counted:
            plan.launches[-1].run()
        (tiled,) = tile_parts(made.graph(problem), tile, api.load_hardware("h100"))
        summary: Any = tiled.summary
        visits, partial = summary.visited * tiled.instances, summary.partial * tiled.instances
        backward = direction == "backward"
        words = max(1, -(-tiled.columns // 32))
        starts = tiled.instances * summary.query_tiles if not backward else 2 * -(-mask.keys // tiled.columns)
        assert sum(counted.dot_flops.values()) == tiled.counts.matrix_flops
        assert counted.exp == tiled.counts.special + (0 if backward else visits * tiled.rows)
        assert counted.load_bytes["int32"] == 12 * visits + 4 * tiled.rows * words * partial + 16 * starts
        if summary.visited * tiled.columns and tiled.counts.l2_bytes > tiled.counts.hbm_bytes:
            assert counted.bytes("bf16", "fp32") == tiled.counts.l2_bytes


def chosen_blocks(b: int, h: int, n: int, m: int, block: tuple[int, int]) -> torch.Tensor:
    """A random choice of blocks."""
    return torch.rand(b, h, -(-n // block[0]), -(-m // block[1]), generator=torch.Generator().manual_seed(0)) < 0.5


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shared", [True, False])
def test_blocks_chosen_at_run_time(causal: bool, shared: bool, counted: Counted) -> None:
    n, m, block = 70, 100, (32, 64)
    made, problem = case("block-mask", None, batch=2, heads=4, kv_heads=2, seq=n, kv_len=m, head_dim=16,
                         direction="backward")  # fmt: skip
    kept = chosen_blocks(*((1, 1) if shared else (2, 2)), n, m, block)
    found = lists.from_blocks(kept, block, n, m, 16, 32, causal=causal)
    attends = kept.repeat_interleave(32, 2)[:, :, :n].repeat_interleave(64, 3)[..., :m]
    if causal:
        attends = attends & (torch.arange(m) <= torch.arange(n)[:, None] + m - n)
    attends = attends.expand(2, kept.shape[1], n, m).repeat_interleave(4 // kept.shape[1], 1)
    t = block_sparse.inputs(made, problem)
    t |= block_sparse.plan(made, problem, t, Config((16,), (32,)), lists=found, lse=True).run()
    gradients = block_sparse.plan_backward(made, problem, t, Config((16,), (32,)), lists=found).run()
    check_forward(attends, t, t, torch.bfloat16)
    check_backward(attends, t, gradients)


def test_tokens_chosen_at_run_time(counted: Counted) -> None:
    b, h, n, m, k = 2, 4, 30, 90, 40
    made, problem = case("mqa", None, batch=b, heads=h, seq=n, kv_len=m, head_dim=32, v_dim=16)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.stack([torch.randperm(m, generator=generator)[:k] for _ in range(b * n)]).reshape(b, 1, n, k).int()
    chosen[:, :, 5, 10:], chosen[:, :, 6] = -1, -1
    attends = torch.zeros(b, 1, n, m + 1, dtype=torch.bool)
    attends = attends.scatter_(3, chosen.long().masked_fill(chosen < 0, m), True)[..., :m].expand(b, h, n, m)
    t = block_sparse.inputs(made, problem)
    found = lists.from_tokens(chosen, 16)
    out = block_sparse.plan(made, problem, t, Config((16,), (16,), packed_heads=4), lists=found, lse=True).run()
    check_forward(attends, t, out, torch.bfloat16)


def test_blocks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="need \\[batch, heads, 3, 2\\] of bool"):
        lists.from_blocks(torch.ones(1, 1, 2, 2, dtype=torch.bool), (32, 64), 70, 100, 16, 32)
    with pytest.raises(InputError, match="tiles of 48x32 do not divide blocks of 32x64"):
        lists.from_blocks(torch.ones(1, 1, 3, 2, dtype=torch.bool), (32, 64), 70, 100, 48, 32)
