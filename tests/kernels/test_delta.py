"""kernels/delta.py against the recurrence, and what it does against the model's counts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim import InputError
from attnsim.kernels import delta
from attnsim.kernels.interpret import Counted, counting
from attnsim.kernels.reference import linear as reference
from attnsim.simulator.problem import Problem
from attnsim.simulator.variants import Variant

from .linear_cases import Tensors, bytes_of, case, check, config, rounded, tiled


def recurrence(variant: Variant, t: Tensors) -> Tensors:
    """Step by step, from the state carried in."""
    x = {("state" if name == "initial_state" else name): tensor for name, tensor in t.items()}
    return dict(zip(("o", "final_state"), reference.recurrence(variant, x), strict=True))


def forward(dtype: str, seq: int, head_dim: int, v_dim: int, chunk: int, block: int, carried: bool) -> None:
    variant, problem = case("gated-deltanet", chunk, seq=seq, kv_len=seq + (3 if carried else 0), head_dim=head_dim,
                            v_dim=v_dim, dtype=dtype)  # fmt: skip
    t = rounded(delta.inputs(variant, problem), problem)
    out = delta.plan(variant, problem, t, config(chunk, block), final_state=carried).run()
    check(lambda x: recurrence(variant, x), t, out, problem, chunk)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize(("seq", "chunk"), [(1, 16), (37, 16), (70, 32), (70, 64)])
def test_equals_the_recurrence(dtype: str, seq: int, chunk: int) -> None:
    with counting():
        forward(dtype, seq, 16, 24, chunk, 16, carried=seq != 37)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.sampled_from(["bf16", "fp16", "fp32", "tf32"]), st.integers(1, 80), st.integers(8, 40), st.integers(1, 40),
    st.sampled_from([16, 32, 64]), st.sampled_from([16, 32]), st.booleans(),
)  # fmt: skip
def test_any_sizes(dtype: str, seq: int, head_dim: int, v_dim: int, chunk: int, block: int, carried: bool) -> None:
    with counting():
        forward(dtype, seq, head_dim, v_dim, chunk, block, carried)


def test_wide_heads_and_long_chunks() -> None:
    with counting():
        forward("bf16", 130, 96, 256, 128, 64, carried=True)


def test_no_tokens() -> None:
    variant, problem = case("gated-deltanet", 16, seq=4, kv_len=8, head_dim=16)
    t = delta.inputs(variant, problem)
    empty = {n: x[:, :, :0] if n != "initial_state" else x for n, x in t.items()}
    out = delta.plan(variant, problem, empty, config(16), final_state=True).run()
    assert out["o"].shape == (2, 2, 0, 16)
    assert torch.equal(out["final_state"], t["initial_state"])


def solve_flops(chunk: int) -> int:
    """Products of the inverse: at every level half the blocks' pairs, two products of s x s x s."""
    sides = [16 << i for i in range(8) if 16 << i < chunk]
    return sum(chunk // (2 * s) * 2 * 2 * s**3 for s in sides)


def model_without_solve(variant: Variant, problem: Problem) -> int:
    (part,) = variant.graph(problem).parts
    solve = next(op.matrix for op in part.ops if op.name == "solve")
    return round(tiled(variant, problem).counts.matrix["bf16"] - solve)


@pytest.mark.parametrize("chunk", [16, 32, 64])
@pytest.mark.parametrize("block", [16, 32])
def test_counts_are_the_models(chunk: int, block: int, counted: Counted) -> None:
    """All products but those of the triangular inverse, which the model takes as C^3 / 3 of substitution: blocks of 16
    are solved on the vector lanes, and joining them takes 2 C (16^2 + 32^2 + ... + (C / 2)^2). Further blocks of
    value columns repeat the scores. W and U pass through memory, and k and the log decays are read by both kernels."""
    n, f, dv = 128, 16, 32
    variant, problem = case("gated-deltanet", chunk, seq=n, head_dim=f, v_dim=dv)
    t = delta.inputs(variant, problem)
    delta.plan(variant, problem, t, config(chunk, block)).run()
    heads, chunks = 4, n // chunk
    blocks = dv // block
    scores = (blocks - 1) * heads * chunks * 2 * chunk * chunk * f
    expected = model_without_solve(variant, problem) + heads * chunks * solve_flops(chunk) + scores
    assert sum(counted.dot_flops.values()) == expected
    model = tiled(variant, problem).counts
    w, u = bytes_of(variant, problem, "k"), bytes_of(variant, problem, "v")
    passed = (1 + blocks) * w + 2 * u  # written once; W is read by every block
    again = (blocks - 1) * bytes_of(variant, problem, "q", "k") + bytes_of(variant, problem, "k")
    assert counted.bytes() == model.hbm_bytes + passed + again + blocks * heads * n * 4
    assert counted.exp == heads * (n * (chunk + 1) + blocks * (n * (chunk + 2) + chunks))


def test_counts_of_a_carried_state(counted: Counted) -> None:
    variant, problem = case("gated-deltanet", 16, seq=32, kv_len=64, head_dim=16, v_dim=32)
    t = delta.inputs(variant, problem)
    delta.plan(variant, problem, t, config(16, 32), final_state=True).run()
    model = tiled(variant, problem).counts
    again = 2 * (bytes_of(variant, problem, "k") + bytes_of(variant, problem, "v"))
    assert counted.bytes() == model.hbm_bytes + again + bytes_of(variant, problem, "k") + 4 * 32 * 4


def test_refuses_backward() -> None:
    variant, problem = case("gated-deltanet", 16, seq=32, head_dim=16, direction="backward")
    with pytest.raises(InputError, match="forward only"):
        delta.plan(variant, problem, delta.inputs(variant, problem), config(16))
