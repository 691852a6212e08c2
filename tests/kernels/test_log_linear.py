"""kernels/log_linear.py against its definition over pairs, and what it does against the model's counts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim import InputError
from attnsim.kernels import log_linear
from attnsim.kernels.interpret import Counted, counting
from attnsim.kernels.reference import linear as reference

from .linear_cases import Tensors, bytes_of, case, check, config, rounded, tiled


def forward(dtype: str, seq: int, head_dim: int, v_dim: int, chunk: int, block: int, slowness: float) -> None:
    """slowness divides the log decays, so that far segments still weigh something."""
    variant, problem = case("log-linear", chunk, seq=seq, head_dim=head_dim, v_dim=v_dim, dtype=dtype)
    t = log_linear.inputs(variant, problem)
    t["log_decay"] = t["log_decay"] / slowness
    t = rounded(t, problem)
    out = log_linear.plan(variant, problem, t, config(chunk, block)).run()

    def run(x: Tensors) -> Tensors:
        return {"o": reference.defined_log(variant, x)}

    check(run, t, out, problem, chunk)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize(("seq", "chunk"), [(1, 16), (16, 16), (37, 16), (150, 16), (70, 32)])
def test_equals_the_definition(dtype: str, seq: int, chunk: int) -> None:
    with counting():
        forward(dtype, seq, 16, 24, chunk, 16, slowness=64.0)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    st.sampled_from(["bf16", "fp16", "fp32", "tf32"]), st.integers(1, 120), st.integers(8, 40), st.integers(1, 40),
    st.sampled_from([16, 32, 64]), st.sampled_from([16, 32]), st.sampled_from([1.0, 64.0]),
)  # fmt: skip
def test_any_sizes(dtype: str, seq: int, head_dim: int, v_dim: int, chunk: int, block: int, slowness: float) -> None:
    with counting():
        forward(dtype, seq, head_dim, v_dim, chunk, block, slowness)


def test_no_tokens() -> None:
    variant, problem = case("log-linear", 16, seq=4, head_dim=16)
    t = {n: x[:, :, :0] for n, x in log_linear.inputs(variant, problem).items()}
    assert log_linear.plan(variant, problem, t, config(16)).run()["o"].shape == (2, 2, 0, 16)


@pytest.mark.parametrize("chunks", [1, 2, 7, 8])
@pytest.mark.parametrize("block", [16, 32])
def test_counts_are_the_models(chunks: int, block: int, counted: Counted) -> None:
    """All products but the last chunk's state, which no later chunk reads; scores again for each further block of
    value columns. The segments' states pass through memory: each chunk but the last writes one, merges as many as its
    index has trailing ones, and each chunk reads as many as its index has ones."""
    c, f, dv, heads = 16, 16, 32, 4
    n = chunks * c
    variant, problem = case("log-linear", c, seq=n, head_dim=f, v_dim=dv)
    t = log_linear.inputs(variant, problem)
    log_linear.plan(variant, problem, t, config(c, block)).run()
    model = tiled(variant, problem).counts
    blocks = dv // block
    scores = (blocks - 1) * heads * chunks * 2 * c * c * f
    assert sum(counted.dot_flops.values()) == model.matrix["bf16"] - heads * 2 * c * f * dv + scores
    read = sum(i.bit_count() for i in range(chunks))
    merged = sum((~i & (i + 1)).bit_length() - 1 for i in range(chunks - 1))
    states = heads * (chunks - 1 + merged + read) * 4 * (f * dv + blocks)  # with the decay across each
    early = heads * (chunks - 1) * c  # tokens of chunks but the last
    narrow = bytes_of(variant, problem, "q", "v", "o") + (blocks - 1) * bytes_of(variant, problem, "q")
    narrow += blocks * bytes_of(variant, problem, "k") + early * 2 * (blocks * f + dv)
    # The model's gates are all the levels of all the tokens: the kernel reads those that are live, and the log decays.
    gates = 4 * blocks * (heads * n + heads * c * read + heads * n + early)
    assert counted.bytes() == narrow + states + gates
    assert counted.bytes() - states - gates == (
        model.hbm_bytes - bytes_of(variant, problem, "gates") + (blocks - 1) * bytes_of(variant, problem, "q", "k")
        + early * 2 * (blocks * f + dv)
    )  # fmt: skip
    assert counted.exp == heads * blocks * (n * c + c * read + early // heads + merged)


def test_refusals() -> None:
    variant, problem = case("log-linear", 16, seq=8, kv_len=24, head_dim=16)
    with pytest.raises(InputError, match="kv_len"):
        log_linear.plan(variant, problem, log_linear.inputs(variant, problem), config(16))
    variant, problem = case("log-linear", 16, seq=64, head_dim=16)
    few = log_linear.inputs(variant, problem)
    few["weights"] = few["weights"][..., :2]
    with pytest.raises(InputError, match="weights"):
        log_linear.plan(variant, problem, few, config(16))
