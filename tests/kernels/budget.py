"""How far a kernel may be from the truth: computed for each case, never chosen."""

from __future__ import annotations

import torch


def assert_within_budget(
    name: str, actual: torch.Tensor, truth: torch.Tensor, low: torch.Tensor, terms: float = 0.0
) -> None:
    """`actual` is within twice the error that a low-precision reference makes, plus one rounding step.

    truth: the float64 reference. low: the same reference computed in the operands' precision. The rounding step is
    that of `actual`'s type at the truth's largest magnitude. terms: magnitude of fp32 terms that cancel in the result
    (dP - delta in a gradient): where the truth is 0, a rounding step of those is all that remains.
    """
    assert actual.shape == truth.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(truth.shape)}"
    if truth.numel() == 0:
        return
    infinite = ~torch.isfinite(truth)
    assert torch.equal(actual.double()[infinite], truth[infinite]), f"{name}: infinities differ"
    truth, low, found = (t.double().masked_fill(infinite, 0) for t in (truth, low, actual))
    assert torch.isfinite(found).all(), f"{name}: {int((~torch.isfinite(found)).sum())} entries are not finite"
    step = torch.finfo(actual.dtype).eps * float(truth.abs().max()) + torch.finfo(torch.float32).eps * terms
    budget = 2 * float((low - truth).abs().max()) + step
    error = float((found - truth).abs().max())
    assert error <= budget, f"{name}: error {error:.3e} exceeds the budget {budget:.3e}"
