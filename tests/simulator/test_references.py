"""The references compute what they say: chunked forms equal their recurrence, absorbed equals expanded."""

from __future__ import annotations

import pytest
import torch

from attnsim import Problem, variants
from attnsim.kernels import reference
from attnsim.kernels.reference import Maker, linear, softmax

RECURRENT = ("linear-attention", "lightning", "gated-deltanet", "log-linear", "kda", "mamba2")


@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("seq", [1, 3, 8, 17, 50])
def test_chunks_equal_the_recurrence(name: str, seq: int) -> None:
    variant = variants.make(name, {"chunk": 8})
    kv_heads = 2 if name == "mamba2" else 4
    sizes = {"batch": 2, "heads": 4, "kv_heads": kv_heads, "seq": seq, "head_dim": 5, "v_dim": 7}
    problem = variant.prepare(Problem.make(causal=True, **sizes))
    x = linear.inputs(variant, problem, Maker("cpu", torch.float64))
    chunked = linear.chunked_form(variant)
    torch.testing.assert_close(chunked(variant, x), linear.recurrent(variant, x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("seq", [1, 9])
def test_absorbed_equals_expanded(seq: int) -> None:
    sizes = {"kv_rank": 12, "rope_dim": 4, "nope_dim": 6, "value_dim": 10}
    problem = Problem.make(batch=2, heads=3, seq=seq, kv_len=20, causal=True)
    forms = [variants.make("mla", {**sizes, "form": form}) for form in ("expanded", "absorbed")]
    outputs = [reference.run(variant, problem) for variant in forms]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-9, atol=1e-11)


def test_chunked_softmax_equals_dense() -> None:
    problem = Problem.make(batch=2, heads=4, kv_heads=2, seq=33, head_dim=8, causal=True)
    chunked = reference.run(variants.make("chunked-softmax", {"key_chunk": 10}), problem)
    torch.testing.assert_close(chunked, reference.run(variants.make("mha"), problem), rtol=1e-9, atol=1e-11)


def test_grouped_heads_equal_repeated_ones() -> None:
    make = Maker("cpu", torch.float64)
    q, k, v = make(1, 4, 9, 8), make(1, 2, 9, 8), make(1, 2, 9, 8)
    ours = softmax.masked_attention(q, k, v, torch.ones(9, 9, dtype=torch.bool).tril())
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", variants.names())
def test_every_reference_runs_on_numbers(name: str) -> None:
    parameters = {
        "swin": {"window": 3}, "radial": {"block": 4}, "perceiver": {"latents": 5}, "moba": {"block": 8},
        "simplicial-2": {"window1": 5, "window2": 3}, "padre": {"kernel": 3}, "power-attention": {"block": 4},
        "mla": {"kv_rank": 12, "rope_dim": 4, "nope_dim": 6, "value_dim": 10}, "gqa": {"kv_groups": 2},
        "dsa": {"top": 5, "index_heads": 3, "index_dim": 8, "kv_rank": 12, "rope_dim": 4, "nope_dim": 6},
    }.get(name, {})  # fmt: skip
    variant = variants.make(name, parameters)
    shape = (4, 6) if 1 not in variant.axes else (24,)
    output = reference.run(variant, variant.prepare(Problem.make(heads=4, shape=shape, head_dim=8)))
    assert torch.isfinite(output).all()
