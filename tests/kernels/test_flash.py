"""Flash attention under bands, interpreted: against float64, and counted against the model's tiled counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnsim.kernels import flash
from attnsim.kernels.interpret import Counted, counting
from attnsim.kernels.operands import DTYPES
from attnsim.simulator import api
from attnsim.simulator.config import Config
from attnsim.simulator.tiling import tile_parts

from .attention_cases import case, check_backward, check_forward

BANDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("mha", {}, {"seq": 50}),
    ("mha", {}, {"seq": 64, "causal": True}),
    ("mha", {}, {"seq": 33, "kv_len": 75, "causal": True}),
    ("mha", {}, {"seq": 75, "kv_len": 33, "causal": True}),  # the first rows see nothing
    ("mha", {}, {"seq": 1}),
    ("mha", {}, {"seq": 1, "kv_len": 70, "causal": True}),
    ("mha", {}, {"documents": [3, 40, 1, 17], "causal": True, "batch": 1}),
    ("sliding-window", {"window": 20}, {"seq": 90, "causal": True}),
    ("sliding-window", {"left": 3, "right": 40}, {"seq": 90}),
    ("sliding-window", {"window": 9}, {"documents": [30, 1, 33], "batch": 1}),
    ("sink-window", {"window": 10, "sinks": 4}, {"seq": 90, "causal": True}),
    ("sink-window", {"window": 10, "sinks": 37}, {"seq": 70, "kv_len": 90, "causal": True}),
]
HEADS: list[dict[str, Any]] = [
    {"heads": 2, "head_dim": 16}, {"heads": 4, "kv_heads": 2, "head_dim": 40, "v_dim": 24, "batch": 2},
]  # fmt: skip


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize(("variant", "parameters", "sizes"), BANDS)
def test_forward_equals_the_definition(
    variant: str, parameters: dict[str, Any], sizes: dict[str, Any], heads: dict[str, Any], counted: Counted
) -> None:
    made, problem = case(variant, parameters, **{**heads, **sizes})
    t = flash.inputs(made, problem)
    out = flash.plan(made, problem, t, Config((32,), (16,)), lse=True).run()
    check_forward(made.graph(problem).main.mask, t, out, torch.bfloat16)


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize(("variant", "parameters", "sizes"), BANDS)
def test_backward_equals_the_definition(
    variant: str, parameters: dict[str, Any], sizes: dict[str, Any], heads: dict[str, Any], counted: Counted
) -> None:
    made, problem = case(variant, parameters, direction="backward", **{**heads, **sizes})
    t = flash.inputs(made, problem)
    t |= flash.plan(made, problem, t, Config((32,), (16,)), lse=True).run()
    check_backward(made.graph(problem).main.mask, t, flash.plan_backward(made, problem, t, Config((16,), (32,))).run())


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "fp8", "fp8_e5m2"])
def test_operand_types(dtype: str, counted: Counted) -> None:
    made, problem = case("mha", seq=40, heads=2, head_dim=32, causal=True, dtype=dtype)
    t = flash.inputs(made, problem)
    out = flash.plan(made, problem, t, Config((16,), (32,)), lse=True).run()
    check_forward(made.graph(problem).main.mask, t, out, DTYPES[dtype])


def test_narrow_keys_meet_wide_queries(counted: Counted) -> None:
    made, problem = case("mha", seq=40, heads=2, head_dim=32, dtype="bf16", kv_dtype="fp8")
    t = flash.inputs(made, problem)
    check_forward(made.graph(problem).main.mask, t, flash.plan(made, problem, t, Config((16,), (16,))).run(),
                  torch.bfloat16)  # fmt: skip


@pytest.mark.parametrize("option", [{"persistent": True}, {"tma": True}, {"persistent": True, "tma": True},
                                    {"packed_heads": 3}, {"packed_heads": 6}])  # fmt: skip
def test_launch_options_change_nothing(option: dict[str, Any], counted: Counted) -> None:
    made, problem = case("sink-window", {"window": 20, "sinks": 3}, seq=70, heads=6, kv_heads=1, head_dim=32,
                         causal=True)  # fmt: skip
    t = flash.inputs(made, problem)
    out = flash.plan(made, problem, t, Config((32,), (16,), **option), lse=True, units=5).run()
    check_forward(made.graph(problem).main.mask, t, out, torch.bfloat16)


@pytest.mark.parametrize("sizes", [{"q": (1, 2, 0, 16), "k": (1, 2, 5, 16)}, {"q": (1, 2, 5, 16), "k": (1, 2, 0, 16)},
                                   {"q": (0, 2, 5, 16), "k": (0, 2, 5, 16)}])  # fmt: skip
def test_empty_operands(sizes: dict[str, Any], counted: Counted) -> None:
    made, problem = case("mha", seq=5, heads=2, head_dim=16)
    q, k = (torch.zeros(sizes[name], dtype=torch.bfloat16) for name in ("q", "k"))
    out = flash.plan(made, problem, {"q": q, "k": k, "v": k}, Config((16,), (16,)), lse=True).run()
    assert out["o"].shape == q.shape
    assert (out["o"] == 0).all()
    assert (out["lse"] == float("-inf")).all()


def test_strided_operands_are_read_where_they_lie(counted: Counted) -> None:
    made, problem = case("mha", seq=20, heads=2, head_dim=16)
    packed = torch.randn(1, 20, 3, 2, 16, dtype=torch.float32).bfloat16()  # [B, N, qkv, H, d]
    q, k, v = (packed[:, :, i].transpose(1, 2) for i in range(3))
    t = {"q": q, "k": k, "v": v}
    check_forward(made.graph(problem).main.mask, t, flash.plan(made, problem, t, Config((16,), (16,))).run(),
                  torch.bfloat16)  # fmt: skip


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    queries=st.integers(1, 50), keys=st.integers(1, 60), left=st.integers(0, 40) | st.none(), causal=st.booleans(),
    sinks=st.integers(0, 20), heads=st.sampled_from([(1, 1), (3, 1), (4, 2)]),
    sides=st.sampled_from([(16, 16), (16, 32), (32, 16)]),
    head_dim=st.sampled_from([16, 24]), pack=st.booleans(),
)  # fmt: skip
def test_any_band(
    queries: int, keys: int, left: int | None, causal: bool, sinks: int, heads: tuple[int, int],
    sides: tuple[int, int], head_dim: int, pack: bool,
) -> None:  # fmt: skip
    variant, parameters = ("mha", {}) if left is None else ("sink-window", {"window": left + 1, "sinks": sinks})
    made, problem = case(variant, parameters, seq=queries, kv_len=keys, heads=heads[0], kv_heads=heads[1],
                         head_dim=head_dim, causal=causal, direction="backward", dtype="fp16")  # fmt: skip
    t = flash.inputs(made, problem)
    config = Config((sides[0],), (sides[1],), packed_heads=heads[0] // heads[1] if pack else 1)
    with counting():
        out = flash.plan(made, problem, t, config, lse=True).run()
        check_forward(made.graph(problem).main.mask, t, out, torch.float16)
        gradients = flash.plan_backward(made, problem, t | out, config).run()
    check_backward(made.graph(problem).main.mask, t, gradients)


@pytest.mark.parametrize("sides", [(16, 16), (32, 16), (16, 32)])
@pytest.mark.parametrize(("variant", "parameters", "sizes"), BANDS)
@pytest.mark.parametrize("pack", [1, 2])
def test_the_kernel_does_the_work_of_the_model(
    variant: str, parameters: dict[str, Any], sizes: dict[str, Any], sides: tuple[int, int], pack: int,
    counted: Counted,
) -> None:  # fmt: skip
    """Bytes of operands and result, matrix FLOPs and exponentials of pairs equal the tiled counts. What the model
    leaves out: one exponential a row and visited tile (the rescaling of earlier sums)."""
    made, problem = case(variant, parameters, **sizes, heads=4, kv_heads=2, head_dim=32)
    t = flash.inputs(made, problem)
    config = Config((sides[0],), (sides[1],), packed_heads=pack)
    flash.plan(made, problem, t, config).run()
    (tiled,) = tile_parts(made.graph(problem), config, api.load_hardware("h100"))
    assert tiled.summary is not None
    visits = tiled.summary.visited * tiled.instances
    assert counted.bytes("bf16") == tiled.counts.l2_bytes
    assert sum(counted.dot_flops.values()) == tiled.counts.matrix_flops
    assert counted.exp == tiled.counts.special + visits * tiled.rows


@pytest.mark.parametrize("sides", [(16, 16), (32, 16), (16, 32)])
@pytest.mark.parametrize(
    ("variant", "parameters", "sizes"), [b for b in BANDS if b[2].get("seq", 0) <= 64 or "kv_len" not in b[2]]
)
def test_the_backward_kernel_does_the_work_of_the_model(
    variant: str, parameters: dict[str, Any], sizes: dict[str, Any], sides: tuple[int, int]
) -> None:
    """As forward, without its exception. The row sums of O * dO are a launch of their own, counted as compulsory bytes;
    so are queries that see no key, which the kernel never reads (more queries than keys are left out here). The bounds
    of documents (int32) are not counted.
    """
    made, problem = case(variant, parameters, **sizes, heads=4, kv_heads=2, head_dim=32, direction="backward")
    t = flash.inputs(made, problem)
    config = Config((sides[0],), (sides[1],))
    with counting():
        t |= flash.plan(made, problem, t, config, lse=True).run()
        sums, main = flash.plan_backward(made, problem, t, config).launches
        sums.run()
    with counting() as counted:
        main.run()
    (tiled,) = tile_parts(made.graph(problem), config, api.load_hardware("h100"))
    assert counted.bytes("bf16", "fp32") == tiled.counts.l2_bytes
    assert sum(counted.dot_flops.values()) == tiled.counts.matrix_flops
    assert counted.exp == tiled.counts.special
