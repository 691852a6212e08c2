"""Perceiver: latents read the input, then each other (2103.03206)."""

from __future__ import annotations

from typing import Any

import torch

from . import Maker
from .softmax import masked_attention


def run(variant: Any, problem: Any, make: Maker) -> torch.Tensor:
    """Each block: one wide head from latents to inputs, then `layers` self-attentions of the latents."""
    b, h, d = problem.batch, problem.heads, problem.head_dim
    z, x, xv = (
        make(b, 1, variant.latents, h * d),
        make(b, 1, problem.queries, h * d),
        make(b, 1, problem.queries, h * d),
    )
    for _ in range(variant.blocks):
        z = masked_attention(z, x, xv, None)
        for _ in range(variant.layers):
            heads = z.reshape(b, variant.latents, h, d).transpose(1, 2)
            z = masked_attention(heads, heads, heads, None).transpose(1, 2).reshape(b, 1, variant.latents, h * d)
    return z
