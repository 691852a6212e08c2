"""What the tests of softmax kernels share: inputs, the float64 truth, the same in low precision, gradients."""

from __future__ import annotations

from typing import Any

import torch

from attnsim import Problem, variants
from attnsim.kernels.reference.softmax import pair_matrix
from attnsim.simulator.problem import Problem as ProblemType
from attnsim.simulator.variants import Variant

from .budget import assert_within_budget


def case(variant: str, parameters: dict[str, Any] | None = None, **sizes: Any) -> tuple[Variant, ProblemType]:
    """A variant and its prepared problem."""
    made = variants.make(variant, parameters)
    return made, made.prepare(Problem.make(**sizes))


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attends: torch.Tensor, rounded: torch.dtype | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(o, lse) by the definition; `rounded`: probabilities pass through this type, as a kernel's second product has it.

    Rows without keys give 0 and -inf.
    """
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~attends, float("-inf"))
    highest = scores.amax(-1, keepdim=True) if scores.shape[-1] else scores.new_full((*scores.shape[:-1], 1), 0.0)
    shift = highest.masked_fill(~torch.isfinite(highest), 0.0)
    p = torch.exp(scores - shift)
    total = p.sum(-1, keepdim=True)
    lse = (torch.log(total) + shift)[..., 0]
    if rounded is not None:
        p = p.to(rounded).to(q.dtype)
    return (p @ v) / total.masked_fill(total == 0, 1.0), lse


def attending(mask: Any, queries: int, keys: int) -> torch.Tensor:
    """[N, M] pairs that attend, of a mask or given as they are."""
    if isinstance(mask, torch.Tensor):
        return mask
    return pair_matrix(mask, "cpu") if queries and keys else torch.zeros(queries, keys, dtype=torch.bool)


def check_forward(mask: Any, t: dict[str, torch.Tensor], out: dict[str, torch.Tensor], compute: torch.dtype) -> None:
    """o and lse within twice the error of the same attention in the operands' precision. compute: that precision."""
    attends = attending(mask, t["q"].shape[2], t["k"].shape[2])
    truth, lse = attend(*(t[n].double() for n in "qkv"), attends, None)
    wide = [t[n].to(torch.float32) for n in "qkv"]
    if compute.itemsize == 1:
        # torch multiplies no 8-bit floats: fp32 products of the same operands, probabilities rounded to 8 bits.
        low, low_lse = attend(*wide, attends, compute)
    else:
        low, low_lse = attend(*(x.to(compute) for x in wide), attends, compute)
    assert_within_budget("o", out["o"], truth, low.to(out["o"].dtype))
    if "lse" in out:
        assert_within_budget("lse", out["lse"], lse, low_lse)


def gradients(t: dict[str, torch.Tensor], attends: torch.Tensor, kind: torch.dtype) -> dict[str, torch.Tensor]:
    """dq, dk, dv in a precision, by FlashAttention-2's formulas (2307.08691, algorithm 2): delta is of the stored o."""
    q, k, v, do = (t[name].detach().to(kind) for name in ("q", "k", "v", "do"))
    group, scale = q.shape[1] // k.shape[1], q.shape[-1] ** -0.5
    wide_k, wide_v = (x.repeat_interleave(group, dim=1) for x in (k, v))
    scores = (q @ wide_k.transpose(-1, -2) * scale).masked_fill(~attends, float("-inf"))
    p = torch.softmax(scores, dim=-1).masked_fill(~attends, 0.0)
    delta = (do * (p @ wide_v)).sum(-1, keepdim=True)
    ds = p * (do @ wide_v.transpose(-1, -2) - delta)

    def grouped(x: torch.Tensor) -> torch.Tensor:
        return x.reshape(x.shape[0], -1, group, *x.shape[2:]).sum(2)

    return {
        "dq": ds @ wide_k * scale, "dk": grouped(ds.transpose(-1, -2) @ q * scale),
        "dv": grouped(p.transpose(-1, -2) @ do),
    }  # fmt: skip


def check_backward(mask: Any, t: dict[str, torch.Tensor], out: dict[str, torch.Tensor]) -> None:
    """dq, dk, dv against torch's autograd, within twice the error of the formulas in the operands' precision."""
    attends = attending(mask, t["q"].shape[2], t["k"].shape[2])
    leaves = [t[n].detach().double().requires_grad_() for n in "qkv"]
    o, _ = attend(*leaves, attends, None)
    o.backward(t["do"].double())
    low = gradients(t, attends, t["q"].dtype)
    # The largest dP, times the largest factor of the product it enters.
    largest = {n: float(t[n].detach().double().abs().max()) for n in ("q", "k", "v", "do")}
    dp = largest["do"] * largest["v"] * t["v"].shape[-1]
    terms = {"dq": dp * largest["k"], "dk": dp * largest["q"], "dv": 0.0}
    for name, leaf in zip(("dq", "dk", "dv"), leaves, strict=True):
        assert leaf.grad is not None
        assert_within_budget(name, out[name], leaf.grad, low[name], terms[name])
