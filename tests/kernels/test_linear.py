"""kernels/linear.py against the recurrence, and what it does against the model's counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim import InputError
from attnsim.kernels import linear
from attnsim.kernels.chunked import random_log_decay
from attnsim.kernels.interpret import Counted, counting
from attnsim.kernels.reference import linear as reference
from attnsim.simulator.hardware import Hardware
from attnsim.simulator.implementations.triton_linear import IMPLEMENTATION
from attnsim.simulator.problem import Problem
from attnsim.simulator.resources import padded
from attnsim.simulator.variants import Variant

from .linear_cases import Tensors, bytes_of, case, check, config, rounded, tiled

DECAYS = ("none", "fixed", "token")
NAMES = {"none": "linear-attention", "fixed": "lightning", "token": "lightning"}


def operands(decay: str, variant: Variant, problem: Problem) -> Tensors:
    """Inputs with no decay (and the feature maps of linear attention), one rate a head, or one a token."""
    made = linear.inputs(variant, problem)
    if decay == "token":
        made["log_decay"] = random_log_decay(problem, "cpu", 0)
    return rounded(made, problem)


def recurrence(variant: Variant, t: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """(output, final state) step by step; in fp32 by chunks: both then sum the logarithms before they exponentiate."""
    x = {name: t[name] for name in ("q", "k", "v")}
    if variant.id == "linear-attention":
        x["q"], x["k"] = (torch.nn.functional.elu(x[name]) + 1 for name in ("q", "k"))
    decay = t.get("log_decay", torch.zeros(x["q"].shape[:3], dtype=x["q"].dtype))
    x["log_decay"] = decay if decay.dim() == 3 else decay[None, :, None].expand(x["q"].shape[:3])
    if "initial_state" in t:
        x["state"] = t["initial_state"]
    by_chunks = x["q"].dtype == torch.float32
    return (reference.chunked_states if by_chunks else reference.recurrence)(variant, x)


def forward(variant: Variant) -> Any:
    return lambda t: dict(zip(("o", "final_state"), recurrence(variant, t), strict=True))


def backward(variant: Variant) -> Any:
    """Gradients of sum(o * do) + sum(final_state * dfinal_state) by autograd.

    In low precision the decay's is the kernel's formula on them: sums of q . dq - k . dk over the tokens that follow.
    """

    def run(t: Tensors) -> Tensors:
        wanted = [name for name in ("q", "k", "v", "log_decay", "initial_state") if name in t]
        leaves = {name: t[name].clone().requires_grad_() for name in wanted}
        out, state = recurrence(variant, leaves)
        loss = (out * t["do"]).sum()
        if "dfinal_state" in t:
            loss = loss + (state * t["dfinal_state"]).sum()
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        made = {f"d{n}": torch.zeros_like(leaves[n]) if g is None else g for n, g in zip(wanted, found, strict=True)}
        if "log_decay" in t and t["q"].dtype != torch.float64:
            each = (t["q"].double() * made["dq"]).sum(-1) - (t["k"].double() * made["dk"]).sum(-1)
            if "dfinal_state" in t:
                each[..., -1] += (state.double() * t["dfinal_state"]).sum((-1, -2))
            suffix = each.flip(-1).cumsum(-1).flip(-1).detach()
            made["dlog_decay"] = suffix if t["log_decay"].dim() == 3 else suffix.sum((0, 2))
        return made

    return run


def both(decay: str, dtype: str, seq: int, head_dim: int, v_dim: int, chunk: int, block: int, carried: bool) -> None:
    """Forward and backward of one problem, with a state carried in and out or without."""
    variant, problem = case(
        NAMES[decay], chunk, seq=seq, kv_len=seq + (3 if carried else 0), head_dim=head_dim, v_dim=v_dim, dtype=dtype,
        direction="backward",
    )  # fmt: skip
    t = operands(decay, variant, problem)
    out = linear.plan(variant, problem, t, config(chunk, block), final_state=carried).run()
    check(forward(variant), t, out, problem, chunk)
    if carried:
        t["final_state"] = out["final_state"]
        t["dfinal_state"] = rounded({"x": torch.randn_like(out["final_state"])}, problem)["x"]
    gradients = linear.plan_backward(variant, problem, t, config(chunk, block)).run()
    check(backward(variant), t, gradients, problem, chunk)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize(("seq", "chunk"), [(1, 16), (37, 16), (70, 32)])
def test_equals_the_recurrence(decay: str, dtype: str, seq: int, chunk: int) -> None:
    with counting():
        both(decay, dtype, seq, 16, 24, chunk, 32, carried=seq == 37)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    st.sampled_from(DECAYS), st.sampled_from(["bf16", "fp16", "fp32", "tf32"]), st.integers(1, 50), st.integers(8, 40),
    st.integers(1, 40), st.sampled_from([16, 32]), st.sampled_from([16, 32]), st.booleans(),
)  # fmt: skip
def test_any_sizes(
    decay: str, dtype: str, seq: int, head_dim: int, v_dim: int, chunk: int, block: int, carried: bool
) -> None:
    with counting():
        both(decay, dtype, seq, head_dim, v_dim, chunk, block, carried)


def test_wide_heads_and_long_chunks() -> None:
    with counting():
        both("token", "bf16", 130, 96, 256, 128, 64, carried=True)


def test_strided_operands() -> None:
    """[B, N, H, d] tensors seen as [B, H, N, d] are read in place."""
    variant, problem = case("lightning", 16, seq=37, head_dim=16, dtype="fp32")
    t = operands("token", variant, problem)
    expected = linear.plan(variant, problem, t, config(16)).run()["o"]
    moved = {n: x.transpose(1, 2).contiguous().transpose(1, 2) if n in ("q", "k", "v") else x for n, x in t.items()}
    torch.testing.assert_close(linear.plan(variant, problem, moved, config(16)).run()["o"], expected)


def test_no_tokens() -> None:
    variant, problem = case("lightning", 16, seq=4, kv_len=8, head_dim=16, direction="backward")
    t = operands("token", variant, problem)
    empty = {n: x[:, :, :0] if n != "initial_state" else x for n, x in t.items()}
    out = linear.plan(variant, problem, empty, config(16), final_state=True).run()
    assert out["o"].shape == (2, 2, 0, 16)
    assert torch.equal(out["final_state"], t["initial_state"])
    gradients = linear.plan_backward(
        variant, problem, {**empty, **out, "dfinal_state": torch.ones_like(out["final_state"])}, config(16)
    ).run()
    assert torch.equal(gradients["dinitial_state"], torch.ones_like(out["final_state"]))
    assert gradients["dq"].numel() == gradients["dlog_decay"].numel() == 0


@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize(("seq", "keys", "kv_heads"), [(37, 50, 2), (16, 1, 4), (33, 33, 1)])
def test_without_causality(dtype: str, seq: int, keys: int, kv_heads: int) -> None:
    variant, problem = case("linear-attention", 16, seq=seq, kv_len=keys, heads=4, kv_heads=kv_heads, head_dim=20,
                            v_dim=40, dtype=dtype, causal=False)  # fmt: skip
    t = linear.inputs(variant, problem)

    def run(x: Tensors) -> Tensors:
        q, k = (torch.nn.functional.elu(x[name]) + 1 for name in ("q", "k"))
        k, v = (y.repeat_interleave(4 // kv_heads, dim=1) for y in (k, x["v"]))
        scores = q @ k.transpose(-1, -2)
        return {"o": scores @ v / scores.sum(-1, keepdim=True)}

    with counting():
        check(run, t, linear.plan(variant, problem, t, config(16)).run(), problem, 16)


def heads_and_chunks(problem: Problem, chunk: int) -> tuple[int, int]:
    return int(problem.batch * problem.heads), -(-int(problem.queries) // chunk)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("carried", [False, True])
@pytest.mark.parametrize("block", [16, 32])
def test_counts_are_the_models(decay: str, carried: bool, block: int, counted: Counted) -> None:
    """Exact where sizes are whole; a second block of value columns repeats the scores, q, k and the decays."""
    c, n, f, dv = 16, 64, 16, 32
    variant, problem = case(NAMES[decay], c, seq=n, kv_len=n * (2 if carried else 1), head_dim=f, v_dim=dv)
    model = tiled(variant, problem).counts
    t = operands(decay, variant, problem)
    linear.plan(variant, problem, t, config(c, block), final_state=carried).run()
    heads, chunks = heads_and_chunks(problem, c)
    again = dv // block - 1
    assert sum(counted.dot_flops.values()) == model.matrix["bf16"] + again * heads * chunks * 2 * c * c * f
    # The model has no tensor for lightning's rates: four bytes a program, or four a token.
    rates = {"none": 0, "fixed": 4, "token": 4 * n}[decay] * heads * (again + 1)
    assert counted.bytes() == model.hbm_bytes + again * bytes_of(variant, problem, "q", "k") + rates
    programs = heads * (again + 1)
    if decay == "token":  # one more exponential a chunk: the decay of the state
        assert counted.exp == programs * (n * (c + 2) + chunks)
    elif decay == "fixed":  # the model counts the C x C tile once a head; the vectors, kept short, once a chunk
        assert counted.exp == programs * (c * c + c + chunks * (c + 1))
        assert model.special == problem.heads * c * c
    else:  # the feature maps; again for the second block
        assert counted.exp == model.special * (again + 1)


@pytest.mark.parametrize(("seq", "head_dim", "v_dim"), [(37, 20, 40), (1, 16, 16), (64, 48, 16)])
def test_counts_of_padded_sizes(seq: int, head_dim: int, v_dim: int, counted: Counted) -> None:
    """Chunks are computed whole and head dimensions padded to powers of two; no byte is moved for the padding."""
    c, block = 16, 16
    variant, problem = case("linear-attention", c, seq=seq, head_dim=head_dim, v_dim=v_dim)
    t = operands("none", variant, problem)
    linear.plan(variant, problem, t, config(c, block)).run()
    heads, chunks = heads_and_chunks(problem, c)
    f, blocks = padded(head_dim), -(-v_dim // block)
    each = blocks * (2 * c * c * (f + block) + 4 * c * f * block)
    assert sum(counted.dot_flops.values()) == heads * chunks * each
    model = tiled(variant, problem).counts
    assert counted.bytes() == model.hbm_bytes + (blocks - 1) * bytes_of(variant, problem, "q", "k")


@pytest.mark.parametrize("block", [16, 32])
def test_counts_of_the_backward(block: int, counted: Counted) -> None:
    """Three passes of the forward kernel: dq, dk and dv. With one block they take 1.5 times the model's products:
    its four for each of scores and values, and the scores, their gradient (a second time) and the states again."""
    c, n, f, dv = 16, 64, 32, 32
    variant, problem = case("lightning", c, seq=n, head_dim=f, v_dim=dv, direction="backward")
    t = operands("token", variant, problem)
    linear.plan_backward(variant, problem, t, config(c, block)).run()
    heads, chunks = heads_and_chunks(problem, c)
    model = tiled(variant, problem).counts
    again = 32 // block - 1
    flops = 1.5 * model.matrix["bf16"] + again * heads * chunks * 2 * c * c * (2 * dv + f)
    assert sum(counted.dot_flops.values()) == flops
    # dq: do, v by block, k once; dk: v, do by block, q once; dv: k, q by block, do once; dq and dk read q and k once
    # more, for the decays' gradient, and write the sums of each block.
    tokens = heads * n
    blocks = again + 1
    narrow = 2 * tokens * (blocks * 6 * f + 3 * f + 3 * f + 2 * f)
    assert counted.bytes() == narrow + 4 * tokens * blocks * (3 + 2)
    assert counted.exp == 3 * heads * blocks * (n * (c + 2) + chunks)


def test_counts_without_causality(counted: Counted) -> None:
    """The model multiplies by ones for the normaliser and repeats keys for every query head; the kernel sums on the
    vector lanes, once a kv head, and passes the state through memory."""
    c, n, m, f, dv = 16, 32, 64, 16, 32
    variant, problem = case("linear-attention", c, seq=n, kv_len=m, heads=4, kv_heads=2, head_dim=f, v_dim=dv,
                            causal=False)  # fmt: skip
    t = linear.inputs(variant, problem)
    linear.plan(variant, problem, t, config(c, 32)).run()
    model = tiled(variant, problem).counts
    repeated = 2 * (8 - 4) * m * f * dv
    assert sum(counted.dot_flops.values()) == model.matrix["bf16"] - 2 * 8 * (m + n) * f - repeated
    states = 4 * 4 * (f * dv + f) + 8 * (n // c) * 4 * (f * dv + f)
    assert counted.bytes() == model.hbm_bytes + states
    assert counted.exp == 8 * n * f + 4 * m * f


def test_refusals() -> None:
    variant, problem = case("linear-attention", 16, seq=8, head_dim=16, causal=False, direction="backward")
    with pytest.raises(InputError, match="no backward pass"):
        linear.plan_backward(variant, problem, linear.inputs(variant, problem), config(16))
    variant, problem = case("lightning", 16, seq=8, head_dim=16)
    with pytest.raises(InputError, match="chunk"):
        linear.plan(variant, problem, linear.inputs(variant, problem), config(32))


@pytest.mark.parametrize("chip", ["a100", "h100", "b200", "rtx-5090", "mi300x"])
@pytest.mark.parametrize("name", ["linear-attention", "lightning", "gated-deltanet", "log-linear"])
@pytest.mark.parametrize("head_dim", [64, 128])
def test_every_chip_has_configs(chip: str, name: str, head_dim: int) -> None:
    """Legal ones, first choice first, each with the variant's chunk."""
    variant, problem = case(name, 64, seq=4096, head_dim=head_dim)
    hardware = Hardware.load(chip)
    found = IMPLEMENTATION.configs(variant.graph(problem).main, hardware)
    assert found
    assert all(c.query == c.key == (64,) for c in found)
    assert IMPLEMENTATION.first_config(variant.graph(problem).main, hardware) == found[0]


@pytest.mark.parametrize(
    ("changes", "sizes", "sentence"),
    [
        ({"query": (32,)}, {}, "parameter of the variant"), ({"value_block": 24}, {}, "value block 24"),
        ({"tma": True}, {}, "no packed heads"), ({"warps": 3}, {}, "3 warps"), ({"stages": 8}, {}, "shared memory"),
        ({}, {"head_dim": 512}, "up to 256"), ({}, {"dtype": "fp8"}, "16 or 32 bits"),
    ],
)  # fmt: skip
def test_says_what_it_does_not_take(changes: dict[str, Any], sizes: dict[str, Any], sentence: str) -> None:
    variant, problem = case("lightning", 64, **{"seq": 4096, "head_dim": 128, **sizes})
    refusal = IMPLEMENTATION.refuses(
        variant.graph(problem).main, Hardware.load("h100"), replace(config(64, 64), **changes)
    )
    assert refusal is not None
    assert sentence in refusal
