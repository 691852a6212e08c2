"""Counts against torch's own FLOP counter over plain references; ints, arrays and symbols against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from attnsim import InputError, Problem, variants
from attnsim.kernels import reference
from attnsim.simulator.counts import counts, part_work

SIZES: list[dict[str, Any]] = [
    {"batch": 2, "heads": 4, "seq": 37, "head_dim": 8},
    {"batch": 1, "heads": 8, "kv_heads": 2, "seq": 65, "head_dim": 16, "v_dim": 24, "causal": True},
    {"batch": 3, "heads": 4, "seq": 1, "kv_len": 50, "head_dim": 8, "causal": True},
    {"batch": 1, "heads": 4, "kv_heads": 1, "seq": 20, "kv_len": 33, "head_dim": 8},
    {"batch": 1, "heads": 4, "shape": (6, 9), "head_dim": 8},
    {"batch": 1, "heads": 4, "shape": (4, 6, 5), "head_dim": 8},
    {"batch": 2, "heads": 4, "seq": 41, "head_dim": 8, "direction": "backward"},
    {"batch": 1, "heads": 4, "kv_heads": 2, "seq": 33, "head_dim": 8, "direction": "backward", "causal": True},
]
SMALL = {
    "sliding-window": {"window": 9}, "sink-window": {"window": 7, "sinks": 3}, "dilated": {"window": 5, "dilation": 3},
    "gna": {"window": 3}, "swin": {"window": 3}, "moba": {"block": 8, "top": 3}, "chunked-softmax": {"key_chunk": 16},
    "power-attention": {"block": 4, "window_blocks": 2}, "simplicial-2": {"window1": 9, "window2": 4},
    "linear-attention": {"chunk": 8}, "lightning": {"chunk": 8}, "gated-deltanet": {"chunk": 8},
    "log-linear": {"chunk": 8}, "kda": {"chunk": 8}, "mamba2": {"chunk": 8},
    "perceiver": {"latents": 5, "layers": 2, "blocks": 2}, "padre": {"kernel": 3},
    "gqa": {"kv_groups": 2}, "radial": {"block": 4}, "block-mask": {},
    "mla": {"kv_rank": 12, "rope_dim": 4, "nope_dim": 6, "value_dim": 10},
    "dsa": {"top": 7, "index_heads": 3, "index_dim": 8, "kv_rank": 12, "rope_dim": 4, "nope_dim": 6, "value_dim": 10},
}  # fmt: skip
NO_ATTENTION = ("chunked", "dense")


def cases() -> list[tuple[str, dict[str, Any]]]:
    """Every variant with every size it takes."""
    found = []
    for name in variants.names():
        for size in SIZES:
            variant = variants.make(name, SMALL.get(name, {}))
            try:
                variant.graph(variant.prepare(Problem.make(**size)))
            except InputError:
                continue
            found.append((name, size))
    return found


CASES = cases()


def test_every_variant_is_counted() -> None:
    assert {name for name, _ in CASES} == set(variants.names())


def counted_by_torch(variant: Any, problem: Problem) -> int:
    """FLOPs of the forward reference, or of its backward pass alone."""
    forward = FlopCounterMode(display=False)
    with forward:
        output = reference.run(variant, problem, device="meta", dtype=torch.float32)
    if problem.direction == "forward":
        return forward.get_total_flops()
    backward = FlopCounterMode(display=False)
    with backward:
        output.sum().backward()
    return backward.get_total_flops()


def expected_of_torch(variant: Any, problem: Problem) -> float:
    """What the counter must see for our counts to be right.

    It computes all N x M pairs of a masked softmax, and sees no triangular solve.
    """
    graph = variant.graph(problem)
    total = 0.0
    for part in graph.parts:
        if part.mask is None:
            unseen = 0 if part.backward else sum(op.matrix for op in part.ops if op.name == "solve")
            total += part_work(part).matrix_flops - unseen
            continue
        pairs = sum(op.matrix for op in part.ops if op.per == "pair" and not op.recomputed)
        everything = part.mask.queries * part.mask.keys
        if variant.id == "simplicial-2":
            # Instances of the first window's band stand for triples; the reference scores every triple.
            scale = problem.batch * problem.heads * problem.queries * problem.kv_len**2
        else:
            scale = part.instances * everything
        total += pairs * scale + sum(op.matrix for op in part.ops if op.per == "total")
    return total


@pytest.mark.parametrize(("name", "size"), CASES, ids=lambda x: x if isinstance(x, str) else "")
def test_matrix_flops_equal_torchs_counter(name: str, size: dict[str, Any]) -> None:
    variant = variants.make(name, SMALL.get(name, {}))
    problem = variant.prepare(Problem.make(**size))
    if name == "padre" and problem.direction == "backward":
        pytest.skip("torch's formula for the weight gradient of a convolution leaves out its groups")
    if name == "log-linear" and 1 < problem.queries < problem.kv_len:
        pytest.skip("the reference starts without a past")
    seen, expected = counted_by_torch(variant, problem), expected_of_torch(variant, problem)
    if variant.family == "linear" and problem.direction == "backward":
        # No gradient flows into the empty first state, out of the last one, or into a vector of ones.
        assert 0.75 * expected < seen <= expected
    else:
        assert seen == pytest.approx(expected, rel=1e-12)


def test_triangular_solves_are_counted_by_hand() -> None:
    """Inverting a unit lower triangle of C rows by substitution: sum over rows and columns of 2 x inner length."""
    size = 12
    flops = sum(2 * (row - column) for row in range(size) for column in range(row))
    variant = variants.make("gated-deltanet", {"chunk": size})
    problem = variant.prepare(Problem.make(seq=size, heads=1, head_dim=4))
    solve = sum(op.matrix for op in variant.graph(problem).parts[0].ops if op.name == "solve")
    assert solve == pytest.approx(flops, rel=0.05)
    assert solve == pytest.approx(size**3 / 3)


@pytest.mark.parametrize("name", [n for n in variants.names() if variants.get_class(n).vectorised])
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"direction": "backward"}])
def test_ints_and_arrays_agree(name: str, options: dict[str, Any]) -> None:
    variant = variants.make(name)
    seq, batch, heads = [5, 64, 1000], [1, 2, 7], [8, 16, 24]

    def of(**sizes: Any) -> Any:
        return counts(variant.graph(variant.prepare(Problem.make(head_dim=64, **sizes, **options))))

    try:
        ints = [of(seq=n, batch=b, heads=h) for n, b, h in zip(seq, batch, heads, strict=True)]
    except InputError:
        pytest.skip("the variant has no such form")
    arrays = of(seq=np.array(seq, float), batch=np.array(batch, float), heads=np.array(heads, float))
    for field in ("matrix_flops", "vector", "special", "hbm_bytes"):
        expected = [getattr(one, field) for one in ints]
        assert np.allclose(np.broadcast_to(getattr(arrays, field), 3), np.array(expected, float), rtol=1e-12), field


@pytest.mark.parametrize("name", [n for n in variants.names() if variants.get_class(n).vectorised])
@pytest.mark.parametrize("causal", [False, True])
def test_ints_and_symbols_agree(name: str, causal: bool) -> None:
    import sympy

    variant = variants.make(name)
    values = {"batch": 3, "heads": 16, "seq": 4096, "head_dim": 64}
    symbols = {n: sympy.Symbol(n, integer=True, positive=True) for n in values}
    try:
        ints = variant.graph(variant.prepare(Problem.make(**values, causal=causal)))
    except InputError:
        pytest.skip("the variant has no such form")
    graph = variant.graph(variant.prepare(Problem.make(**symbols, causal=causal)))
    whole = {symbols[n]: value for n, value in values.items()}
    for field in ("matrix_flops", "vector", "special", "hbm_bytes"):
        expected = float(getattr(counts(ints), field))
        if name == "log-linear" and field == "matrix_flops":
            # The symbol is the mean over lengths of the number of live levels.
            assert float(sympy.sympify(getattr(counts(graph), field)).subs(whole)) == pytest.approx(expected, rel=0.1)
        elif name != "log-linear":
            formula = sympy.sympify(getattr(counts(graph), field))
            assert float(formula.subs(whole)) == pytest.approx(expected, rel=1e-12), field
    if name != "log-linear":
        assert float(sympy.sympify(graph.cache_bytes).subs(whole)) == pytest.approx(float(ints.cache_bytes))


@pytest.mark.parametrize(
    ("name", "options", "matrix", "special", "cache"),
    [
        ("mha", {}, 4 * 2 * 8 * 256 * 256 * 64, 2 * 8 * 256 * 256, 2 * 2 * 8 * 256 * 64 * 2),
        ("mqa", {}, 4 * 2 * 8 * 256 * 256 * 64, 2 * 8 * 256 * 256, 2 * 2 * 1 * 256 * 64 * 2),
        ("mha", {"causal": True}, 4 * 2 * 8 * 64 * 256 * 257 // 2, 2 * 8 * 256 * 257 // 2, 2 * 2 * 8 * 256 * 64 * 2),
        ("sliding-window", {"causal": True, "window": 32}, 4 * 2 * 8 * 64 * (256 * 32 - 32 * 31 // 2),
         2 * 8 * (256 * 32 - 32 * 31 // 2), 2 * 2 * 8 * 32 * 64 * 2),
        ("lightning", {"chunk": 64}, 2 * 8 * 256 * (2 * 64 * (64 + 64) + 4 * 64 * 64), 8 * 64 * 64,
         2 * 8 * 64 * 64 * 4),
    ],
)  # fmt: skip
def test_counts_are_the_papers_formulas(
    name: str, options: dict[str, Any], matrix: int, special: int, cache: int
) -> None:
    from attnsim import predict

    d = predict(name, seq=256, batch=2, heads=8, head_dim=64, **options).to_dict()
    assert (d["flops"]["matrix"], d["flops"]["special"], d["cache_bytes"]) == (matrix, special, cache)
