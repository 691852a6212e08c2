"""attention(): the one call picks a kernel, runs it with gradients, and says why where it cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import attnsim.kernels as kernels
from attnsim import variants
from attnsim.kernels import call, records
from attnsim.kernels.interpret import Counted
from attnsim.simulator import api
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError

from .attention_cases import case
from .budget import assert_within_budget


def operands(*shape: int, keys: int | None = None, kv_heads: int | None = None, dtype: torch.dtype = torch.bfloat16,
             grad: bool = False) -> tuple[torch.Tensor, ...]:  # fmt: skip
    """q [B, H, N, d] of the given shape, and k, v like it."""
    b, h, n, d = shape
    generator = torch.Generator().manual_seed(0)
    kv = (b, kv_heads or h, keys or n, d)
    made = [torch.randn(*s, generator=generator).to(dtype) for s in ((b, h, n, d), kv, kv)]
    return tuple(t.requires_grad_(grad) for t in made)


def check(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> None:
    """The kernel's result against the reference in fp32, within twice the error of the reference in its own precision.

    Kernels are held against float64 in their own tests; here the call is tested.
    """
    out = kernels.attention(q, k, v, **options)
    truth = kernels.attention(q.float(), k.float(), v.float(), reference=True, **options)
    low = kernels.attention(q, k, v, reference=True, **options)
    assert_within_budget("o", out.detach(), truth.detach().double(), low.detach())


@pytest.mark.parametrize(
    "options",
    [
        {}, {"causal": True}, {"variant": "sliding-window", "window": 20, "causal": True}, {"scale": 0.3},
        {"variant": "sink-window", "window": 10, "sinks": 4, "causal": True},
        {"documents": [30, 1, 69], "causal": True},
        {"variant": "gna", "shape": (5, 4, 5), "window": 3}, {"variant": "power-attention", "block": 16},
        {"variant": "moba", "block": 64, "top": 2}, {"variant": "swin", "shape": (10, 10), "window": 5},
    ],
    ids=str,
)  # fmt: skip
def test_softmax_variants(options: dict[str, Any], counted: Counted) -> None:
    check(*operands(1, 2, 100, 32), **options)


def test_grouped_heads_and_decode(counted: Counted) -> None:
    check(*operands(2, 4, 40, 32, kv_heads=2), causal=True)
    check(*operands(2, 4, 1, 32, keys=100, kv_heads=1), causal=True)


@pytest.mark.parametrize("variant", ["linear-attention", "lightning", "gated-deltanet", "log-linear", "simplicial-2"])
def test_other_families(variant: str, counted: Counted) -> None:
    made, problem = case(variant, {"window1": 20, "window2": 4} if variant == "simplicial-2" else None, seq=70, heads=2,
                         head_dim=16, causal=True, dtype="fp16")  # fmt: skip
    family = kernels.for_variant(call.choose(made, problem, api.load_hardware("h100"))[0].name, variant)
    t = family.inputs(made, problem)
    extra = {name: tensor for name, tensor in t.items() if name not in ("q", "k", "v")}
    parameters = {n: v for n, v in made.parameters().items() if n in ("window1", "window2")}
    check(t["q"], t["k"], t["v"], variant=variant, causal=True, **extra, **parameters)


@pytest.mark.parametrize(
    "options",
    [{"causal": True}, {"variant": "gna", "shape": (8, 8), "window": 5}, {"variant": "power-attention", "block": 16}],
    ids=str,
)
def test_gradients_flow(options: dict[str, Any], counted: Counted) -> None:
    found = []
    for reference in (False, True):
        q, k, v = operands(1, 4, 64, 32, kv_heads=2, grad=True)
        if reference:
            q, k, v = (t.detach().float().requires_grad_() for t in (q, k, v))
        out = kernels.attention(q, k, v, reference=reference, **options)
        (out.float() * torch.linspace(-1, 1, 32)).sum().backward()
        found.append([q.grad, k.grad, v.grad])
    low = operands(1, 4, 64, 32, kv_heads=2, grad=True)
    (kernels.attention(*low, reference=True, **options).float() * torch.linspace(-1, 1, 32)).sum().backward()
    for name, ours, truth, rough in zip("qkv", *found, low, strict=True):
        assert ours is not None
        assert truth is not None
        assert rough.grad is not None
        assert_within_budget(f"d{name}", ours, truth.double(), rough.grad, 32 * 4.0)


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("float64", {}, "q is float64; allowed: "),
    ("ok", {"variant": "mah"}, "unknown variant 'mah'; did you mean"),
    ("ok", {"windw": 3}, "unknown argument 'windw'"),
    ("ok", {"variant": "gna", "shape": (4, 4)}, "shape 4x4 has 16 tokens; q has 20"),
    ("ok", {"scale": -1.0}, "scale is -1.0; it must not be negative"),
    ("ok", {"implementation": "fa3"}, "fa3 is not one of our kernels"),
    ("ok", {"config": Config((48,), (16,))}, "query tile 48: Triton's blocks need sides that are powers of two"),
    ("ok", {"variant": "padre"}, "no kernel for padre"),
    ("ok", {"variant": "gated-attention"}, "no kernel for gated-attention: it is more than attention over q, k and v"),
    ("ok", {"tile": (64, 64)}, "tile is chosen by the kernel"),
    ("meta", {}, "device meta: kernels run on cuda devices"),
    ("wide", {}, "takes head_dim"),
    ("empty", {}, "0 tokens: there is nothing to attend to"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "options", "message"), BAD, ids=lambda x: str(x)[:40])
def test_what_no_kernel_takes_is_said(kind: str, options: dict[str, Any], message: str) -> None:
    size = {"wide": (1, 2, 100, 640), "empty": (1, 2, 0, 16)}.get(kind, (1, 2, 20, 16))
    q, k, v = (torch.zeros(size, dtype=torch.float64 if kind == "float64" else torch.bfloat16) for _ in range(3))
    if kind == "meta":
        q, k, v = (t.to("meta") for t in (q, k, v))
    with pytest.raises(InputError, match=re.escape(message)):
        kernels.attention(q, k, v, **options)


def test_shapes_that_do_not_fit_are_said() -> None:
    q, k, v = operands(1, 4, 20, 16)
    for bad, message in (
        ((q[0], k, v), "q has 3 axes; allowed: 4"), ((q, k[:, :3], v[:, :3]), "kv_heads 3 does not divide heads 4"),
        ((q, k, v[:, :, :3]), "k has 4 heads of 20 tokens and v 4 of 3"), ((q, k, v.half()), "k is bf16 and v fp16"),
        ((q, k[..., :8], v), "q has head_dim 16 and k 8"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=re.escape(message)):
            kernels.attention(*bad)


def test_a_tuned_config_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATTNSIM_RECORDS", str(tmp_path / "records.json"))
    made, problem = case("sliding-window", {"window": 64}, seq=4096, causal=True)
    h100 = api.load_hardware("h100")
    kernel, predicted = call.choose(made, problem, h100)
    tuned = Config((64,), (32,), warps=4, stages=3)
    assert predicted != tuned
    assert kernel.refuses(made.graph(problem).main, h100, predicted) is None
    records.save(kernel.name, "h100", made, problem, tuned)
    assert call.choose(made, problem, h100) == (kernel, tuned)
    assert call.choose(variants.make("sliding-window", {"window": 65}), problem, h100)[1] == predicted
    (tmp_path / "records.json").write_text("{")
    with pytest.raises(InputError, match="cannot read the tuned configs"):
        call.choose(made, problem, h100)
