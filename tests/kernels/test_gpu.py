"""On a GPU: `attention` at real sizes against exact rows, SDPA and compiled flex_attention, forward and backward.

`TRITON_INTERPRET=0 pytest tests/kernels/test_gpu.py`; skipped where there is no GPU or kernels are interpreted.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from attnsim.kernels.interpret import interpreting
from attnsim.kernels.operands import DTYPES

from .attention_cases import case
from .budget import assert_within_budget

if not torch.cuda.is_available():
    pytest.skip("no GPU here", allow_module_level=True)
if interpreting():
    pytest.skip("kernels are interpreted: set TRITON_INTERPRET=0", allow_module_level=True)

from attnsim.kernels import attention
from attnsim.kernels.reference import baselines

HEADS = {"batch": 2, "heads": 8, "head_dim": 128}
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("mha", {}, {**HEADS, "seq": 4096, "causal": True}),
    ("mha", {}, {**HEADS, "seq": 4000}),
    ("mha", {}, {**HEADS, "seq": 2048, "head_dim": 64, "causal": True}),
    ("mha", {}, {**HEADS, "seq": 1024, "head_dim": 256, "causal": True}),
    ("gqa", {}, {**HEADS, "kv_heads": 2, "seq": 4096, "causal": True}),
    ("sliding-window", {"window": 1024}, {**HEADS, "seq": 8192, "causal": True}),
    ("sink-window", {"window": 1000, "sinks": 4}, {**HEADS, "seq": 4096, "causal": True}),
    ("gna", {"window": 511}, {**HEADS, "seq": 8192}),
    ("gna", {"window": (40, 24), "stride": (8, 8)}, {**HEADS, "shape": (64, 96)}),
    ("gna", {"window": (18, 24, 24)}, {"batch": 1, "heads": 2, "head_dim": 128, "shape": (30, 48, 80)}),
    ("gna", {"window": (18, 24, 24), "stride": (16, 8, 8)},
     {"batch": 1, "heads": 2, "head_dim": 128, "shape": (30, 48, 80)}),
    ("gna", {"window": (4, 5, 7), "dilation": (2, 1, 3), "causal": (True, False, False)},
     {"batch": 1, "heads": 2, "head_dim": 64, "shape": (8, 20, 30)}),
]  # fmt: skip
DECODES: list[dict[str, Any]] = [
    {"batch": 32, "heads": 64, "kv_heads": 8, "head_dim": 128, "seq": 1, "kv_len": 32768},
    {"batch": 3, "heads": 8, "kv_heads": 8, "head_dim": 128, "seq": 1, "kv_len": 5001},
]
NAMES = ("q", "k", "v")
pytestmark = pytest.mark.filterwarnings("default")  # torch's compiler warns of its own doings


def operands(variant: str, parameters: dict[str, Any], sizes: dict[str, Any], dtype: str) -> tuple[Any, Any]:
    """(mask, (q, k, v)) on the GPU."""
    made, problem = case(variant, parameters, **sizes, dtype=dtype)
    generator = torch.Generator("cuda").manual_seed(0)
    shapes = ((problem.heads, problem.queries), (problem.kv_heads, problem.kv_len), (problem.kv_heads, problem.kv_len))
    tensors = tuple(
        torch.randn(problem.batch, *shape, problem.head_dim, device="cuda", generator=generator).to(DTYPES[dtype])
        for shape in shapes
    )
    return made.graph(problem).main.mask, tensors


def ours(variant: str, parameters: dict[str, Any], sizes: dict[str, Any], *tensors: torch.Tensor) -> torch.Tensor:
    """The call under test."""
    layout = {"shape": sizes["shape"]} if "shape" in sizes else {}
    return attention(*tensors, variant=variant, causal=bool(sizes.get("causal", False)), **parameters, **layout)


def check_rows(mask: Any, output: torch.Tensor, tensors: tuple[torch.Tensor, ...]) -> None:
    """Sampled rows of the first batch element, within the budget around exact ones."""
    n = tensors[0].shape[2]
    rows = torch.linspace(0, n - 1, min(24, n)).long().cuda()
    one = [t[:1] for t in tensors]
    truth = baselines.sampled(*one, mask, rows, torch.float64)
    low = baselines.sampled(*one, mask, rows, tensors[0].dtype)
    assert_within_budget("o", output[:1, :, rows], truth, low)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize(("variant", "parameters", "sizes"), CASES)
def test_forward(variant: str, parameters: dict[str, Any], sizes: dict[str, Any], dtype: str) -> None:
    """Sampled rows beside exact ones, and every row beside flex_attention: right to twice what that errs."""
    mask, tensors = operands(variant, parameters, sizes, dtype)
    output = ours(variant, parameters, sizes, *tensors)
    check_rows(mask, output, tensors)
    if sizes["head_dim"] > 128:
        return  # flex_attention's tiles of fp32 operands do not fit the shared memory
    torch._dynamo.reset()
    attend = baselines.flex(mask, "cuda")
    truth, low = attend(*(t.float() for t in tensors)), attend(*tensors)
    assert_within_budget("o beside flex_attention", output, truth.double(), low)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("backend", ["flash", "cudnn"])
def test_dense_beside_sdpa(backend: str, causal: bool) -> None:
    _, tensors = operands("mha", {}, {**HEADS, "seq": 4096, "causal": causal}, "bf16")
    try:
        low = baselines.sdpa(*tensors, causal, backend)
    except RuntimeError as error:
        pytest.skip(f"SDPA has no {backend} backend for this GPU: {error}".splitlines()[0])
    truth = baselines.sdpa(*(t.float() for t in tensors), causal, "math")
    assert_within_budget(f"o beside {backend}", attention(*tensors, causal=causal), truth.double(), low)


@pytest.mark.parametrize("sizes", DECODES)
def test_decode(sizes: dict[str, Any]) -> None:
    mask, tensors = operands("gqa", {}, sizes, "bf16")
    output = ours("gqa", {}, sizes, *tensors)
    check_rows(mask, output, tensors)
    truth = torch.cat([baselines.sdpa(*(t[i : i + 1].float() for t in tensors), False, "math")
                       for i in range(sizes["batch"])])  # fmt: skip
    assert_within_budget("o beside flash", output, truth.double(), baselines.sdpa(*tensors, False, "flash"))


@pytest.mark.parametrize(("variant", "parameters", "sizes"), CASES)
def test_backward(variant: str, parameters: dict[str, Any], sizes: dict[str, Any]) -> None:
    """dq, dk, dv of a sum over sampled query rows: exact ones need those rows alone, and only keys they see."""
    mask, tensors = operands(variant, parameters, sizes, "bf16")
    n = tensors[0].shape[2]
    rows = torch.linspace(0, n - 1, min(24, n)).long().cuda()
    weight = torch.zeros_like(tensors[0][..., : tensors[2].shape[-1]])
    weight[:1, :, rows] = torch.randn(
        1, tensors[0].shape[1], len(rows), tensors[2].shape[-1], device="cuda", generator=torch.Generator("cuda")
    ).to(weight.dtype)
    leaves = [t.clone().requires_grad_() for t in tensors]
    ours(variant, parameters, sizes, *leaves).backward(weight)
    exact, low = (sampled_gradients(mask, tensors, weight, rows, kind) for kind in (torch.float64, torch.bfloat16))
    dp = float(weight.abs().max() * tensors[2].abs().max()) * tensors[2].shape[-1]
    for name, leaf, truth, rough in zip(NAMES, leaves, exact, low, strict=True):
        assert leaf.grad is not None
        found = leaf.grad[:1, :, rows] if name == "q" else leaf.grad[:1]
        others = {"q": tensors[1], "k": tensors[0]}.get(name)
        terms = 0.0 if others is None else dp * float(others.abs().max()) / math.sqrt(tensors[0].shape[-1])
        assert_within_budget(f"d{name}", found, truth, rough, terms)
        assert (leaf.grad[1:] == 0).all(), "other sequences have gradients 0"


def sampled_gradients(
    mask: Any, tensors: tuple[torch.Tensor, ...], weight: torch.Tensor, rows: torch.Tensor, dtype: torch.dtype
) -> list[torch.Tensor]:
    """dq of the sampled rows and whole dk, dv of the first sequence, computed in `dtype`."""
    q, k, v = (t[:1].to(dtype).requires_grad_() for t in tensors)
    baselines.sampled(q, k, v, mask, rows, dtype).backward(weight[:1, :, rows].to(dtype))
    assert q.grad is not None
    assert k.grad is not None
    assert v.grad is not None
    return [q.grad[:, :, rows], k.grad, v.grad]


def test_simplicial() -> None:
    """2-simplicial attention at the paper's windows (2507.02754), a few query rows computed over all their triples."""
    generator = torch.Generator("cuda").manual_seed(0)
    q = torch.randn(1, 64, 1024, 128, device="cuda", generator=generator).bfloat16()
    k, v, k2, v2 = (torch.randn(1, 1, 1024, 128, device="cuda", generator=generator).bfloat16() for _ in range(4))
    output = attention(q, k, v, variant="simplicial-2", causal=True, window1=512, window2=32, k2=k2, v2=v2)
    for row in (0, 40, 600, 1023):
        first, second = (slice(max(row - window + 1, 0), row + 1) for window in (512, 32))
        found = []
        for kind in (torch.float64, torch.bfloat16):
            one = (q, slice(row, row + 1))
            query, keys, values, keys2, values2 = (
                t[0, :, chosen].to(kind) for t, chosen in (one, (k, first), (v, first), (k2, second), (v2, second))
            )
            scores = (query * keys2) @ keys[0].T / math.sqrt(128)
            weights = torch.softmax(scores.flatten(1), dim=1).view_as(scores)
            found.append(((weights @ values[0]) * values2).sum(1))
        assert_within_budget(f"row {row}", output[0, :, row], *found)
