"""PADRe: products of mixed copies of the input (2407.11306), mixing channels, then tokens by a depthwise filter."""

from __future__ import annotations

from typing import Any

import torch

from . import Maker

CONVOLUTIONS = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}


def run(variant: Any, problem: Any, make: Maker) -> torch.Tensor:
    """x [B, tokens..., D]; 2 p - 1 mixes, p - 1 products."""
    width, axes = problem.heads * problem.head_dim, len(problem.shape)
    x = make(problem.batch, *problem.shape, width)

    def mix(t: torch.Tensor) -> torch.Tensor:
        t = t @ make(width, width)
        filters = make(width, 1, *[variant.kernel] * axes)
        moved = CONVOLUTIONS[axes](t.movedim(-1, 1), filters, padding="same", groups=width)
        return moved.movedim(1, -1)

    z = mix(x)
    for _ in range(variant.degree - 1):
        z = mix(z) * mix(x)
    return z
