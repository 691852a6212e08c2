"""Plain torch truth: every variant computed the slow way, to count and to compare against.

One file a family. `run(variant, problem, ...)` makes random inputs and returns the output; on the meta device it
only counts. Chunked forms stand beside their step-by-step recurrence.
"""

from __future__ import annotations

import importlib
from typing import Any

import torch

FAMILIES = {
    "softmax": "softmax", "selected-block softmax": "softmax", "latent": "latent",
    "selected-key latent": "latent", "linear": "linear",
    "higher-order": "higher_order", "bottleneck": "bottleneck", "convolutional": "convolutional",
}  # fmt: skip


def run(variant: Any, problem: Any, *, device: str = "cpu", dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """The variant's output on random inputs that require gradients. `problem` is prepared and of ints."""
    module = importlib.import_module(f"{__name__}.{FAMILIES[variant.family]}")
    output: torch.Tensor = module.run(variant, problem, Maker(device, dtype))
    return output


class Maker:
    """Makes random inputs of one device and type, always the same ones."""

    def __init__(self, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.generator = None if device == "meta" else torch.Generator(device).manual_seed(0)

    def __call__(self, *shape: int) -> torch.Tensor:
        """Standard normal entries, scaled so that deep products stay of order one."""
        made = torch.randn(*shape, device=self.device, dtype=self.dtype, generator=self.generator)
        scaled: torch.Tensor = made / max(shape[-1], 1) ** 0.25
        return scaled.requires_grad_()


def of_tensors(
    variant: Any, problem: Any, tensors: dict[str, torch.Tensor], scale: float | None = None
) -> torch.Tensor:  # fmt: skip
    """o [B, H, N, dv] of given tensors, in their precision. Raises InputError for families without such a form."""
    from ...simulator.errors import InputError

    output: torch.Tensor
    if variant.family in ("softmax", "selected-block softmax"):
        softmax = importlib.import_module(f"{__name__}.softmax")
        output = softmax.of_tensors(variant, problem, tensors, scale)
    elif variant.family == "higher-order":
        output = importlib.import_module(f"{__name__}.higher_order").of_tensors(variant, tensors, scale)
    elif variant.family == "linear" and problem.causal and scale is None:
        output = importlib.import_module(f"{__name__}.linear").of_tensors(variant, tensors)
    else:
        raise InputError(f"{variant.id} has no plain form over given tensors")
    return output
