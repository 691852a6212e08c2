"""What a chip's units do alone: kernels that only exponentiate, or only read what the last-level cache holds."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .launch import Launch

CHAINS = 8
"""Independent exponentials that a thread has under way."""
WARPS = 4
BLOCK = 1024
"""Elements of fp32 that a program exponentiates, or reads at once: CHAINS a thread of 4 warps."""


@triton.jit
def exp_kernel(o, rounds, ELEMENTS: tl.constexpr):
    """x <- 2^-x, so many times, of numbers between 0 and 1, which stay there."""
    offs = tl.program_id(0) * ELEMENTS + tl.arange(0, ELEMENTS)
    x = 1.0 / (1.0 + offs.to(tl.float32))
    for _ in tl.range(0, rounds, loop_unroll_factor=8):
        x = tl.math.exp2(-x)
    tl.store(o + offs, x)


@triton.jit
def read_kernel(x, o, blocks, each, step, ELEMENTS: tl.constexpr):
    """Sums of `each` of the blocks of x: every program reads other ones at a time, past the first-level cache."""
    program = tl.program_id(0)
    offs = tl.arange(0, ELEMENTS)
    total = tl.zeros([ELEMENTS], tl.float32)
    for i in tl.range(0, each, loop_unroll_factor=8):
        block = (program + i * step) % blocks
        total += tl.load(x + block * ELEMENTS + offs, cache_modifier=".cg")
    tl.store(o + program * ELEMENTS + offs, total)


def exp_launch(programs: int, rounds: int, device: str) -> tuple[Launch, float]:
    """(a start, exponentials that it takes); o holds the results."""
    o = torch.empty(programs * BLOCK, dtype=torch.float32, device=device)
    launch = Launch(exp_kernel, (programs,), {"o": o, "rounds": rounds}, {"ELEMENTS": BLOCK}, WARPS, 1, main=True)
    return launch, float(programs * BLOCK * rounds)


def read_launch(x: torch.Tensor, programs: int, each: int) -> tuple[Launch, float]:
    """(a start, bytes that it reads) over fp32 x, of which each program reads `each` blocks."""
    o = torch.empty(programs * BLOCK, dtype=torch.float32, device=x.device)
    blocks = x.numel() // BLOCK
    arguments = {"x": x, "o": o, "blocks": blocks, "each": each, "step": programs}
    launch = Launch(read_kernel, (programs,), arguments, {"ELEMENTS": BLOCK}, WARPS, 1, main=True)
    return launch, 4.0 * BLOCK * programs * each
