"""A kernel small enough to be counted by hand, and its compilation in a process that interprets nothing."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from attnsim.kernels.launch import Launch
from attnsim.kernels.resources import CompileError, Resources, compile_launch

M, N, K, WARPS = 128, 64, 32, 4


@triton.jit
def products(a, b, out, steps, stride, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """out [M, N] = sum over steps of 2 ** (A_step B_step): one product and M N exponentials an iteration."""
    rows, columns, depth = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    total = tl.zeros([M, N], tl.float32)
    for step in range(steps):
        left = tl.load(a + step * M * stride + rows[:, None] * stride + depth[None, :])
        right = tl.load(b + step * N * stride + columns[:, None] * stride + depth[None, :])
        total += tl.math.exp2(tl.dot(left, right.T))
    tl.store(out + rows[:, None] * N + columns[None, :], total)


@triton.jit
def illegal(a, b, out, steps, stride, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    """A product of shapes that do not fit."""
    left = tl.zeros([M, K], tl.bfloat16)
    tl.store(out + tl.arange(0, M)[:, None], tl.dot(left, left))


def compile_small(target: str, name: str = "products") -> Resources | str:
    """What the kernel takes on a chip, or the sentence why it does not compile."""
    a, b = (torch.empty(side * 8, K, dtype=torch.bfloat16, device="meta") for side in (M, N))
    out = torch.empty(M, N, device="meta")
    arguments = {"a": a, "b": b, "out": out, "steps": 8, "stride": K}
    launch = Launch(globals()[name], (1,), arguments, {"M": M, "N": N, "K": K}, warps=WARPS, stages=2)
    try:
        return compile_launch(launch, target)
    except CompileError as error:
        return str(error)
