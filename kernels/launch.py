"""Launches: what a kernel is started with, kept apart from starting it.

A launcher builds a `Plan`: its outputs and the launches that fill them. The same plan is run on a device, run by
Triton's interpreter, or, made of tensors on the `meta` device, compiled for a chip that is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import triton


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel start.

    kernel: the `@triton.jit` function. grid: blocks along up to three axes. arguments: tensors and numbers by
    parameter name. constants: its constexpr parameters by name. warps, stages: Triton's num_warps and num_stages.
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: dict[str, Any]
    constants: dict[str, Any]
    warps: int = 4
    stages: int = 2
    main: bool = False
    """Whether this is the kernel that the model's tiled counts speak of (not a helper pass)."""

    def options(self, nvidia: bool) -> dict[str, Any]:
        """Compiler options. Sums may be fused, whatever a Triton version's default is.

        A thread may have all the registers that a block of this size leaves it: left alone, ptxas spills a few to fit a
        third block on a unit.
        """
        options = {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}
        return options | ({"maxnreg": min(255, 2048 // self.warps)} if nvidia else {})

    def run(self) -> None:
        """Start it; a grid without blocks starts nothing."""
        if self.constants.get("TMA"):
            triton.set_allocator(scratch)
        if all(side > 0 for side in self.grid):
            self.kernel[self.grid](**self.arguments, **self.constants, **self.options(torch.version.hip is None))


@dataclass(slots=True)
class Plan:
    """Launches in order, around them plain torch steps (allocation, layout), and the outputs they fill."""

    outputs: dict[str, torch.Tensor]
    launches: list[Launch] = field(default_factory=list)
    finish: Callable[[], None] | None = None
    """A last step after all launches (a cast of fp32 sums, an inverse permutation)."""

    def run(self) -> dict[str, torch.Tensor]:
        """Start every launch and return the outputs."""
        for launch in self.launches:
            launch.run()
        if self.finish is not None:
            self.finish()
        return self.outputs


def scratch(size: int, alignment: int, stream: int | None) -> torch.Tensor:
    """Memory of a launch's own, in which a kernel builds the descriptors that its operands move by; torch aligns it to
    512 bytes."""
    return torch.empty(size, dtype=torch.int8, device="cuda")


def strides(name: str, tensor: torch.Tensor) -> dict[str, int]:
    """`{name}_stride_b`, `_h`, `_n` of a [B, H, N, d] tensor whose last axis is contiguous."""
    b, h, n, d = tensor.stride()
    assert d == 1 or tensor.shape[-1] <= 1, f"{name}'s last axis is not contiguous"
    return {f"{name}_stride_b": b, f"{name}_stride_h": h, f"{name}_stride_n": n}
