"""Operands of softmax attention kernels: torch types by name, random inputs of a problem, what launchers check."""

from __future__ import annotations

from typing import Any

import torch

from ..simulator import problem as problems
from ..simulator.errors import InputError
from ..simulator.problem import Problem
from ..simulator.variants import Variant

DTYPES = {
    "fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16,
    "fp8": torch.float8_e4m3fn, "fp8_e4m3": torch.float8_e4m3fn, "fp8_e5m2": torch.float8_e5m2,
}  # fmt: skip
NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.float8_e4m3fn: "fp8_e4m3",
         torch.float8_e5m2: "fp8_e5m2"}  # fmt: skip
"""The dtype a tensor's type is called by."""


def precision(dtype: str) -> str:
    """How a dot takes fp32 operands: as they are, or rounded to tf32."""
    return "tf32" if dtype == "tf32" else "ieee"


def output_dtype(dtype: str) -> torch.dtype:
    """The type a result is written in: that of the operands, bf16 for 8-bit ones."""
    return DTYPES[problems.output_dtype(dtype)]


def normal(*shape: int, dtype: torch.dtype, device: str, generator: torch.Generator | None) -> torch.Tensor:
    """Standard normal entries in a type that torch may not draw itself."""
    if device == "meta":
        return torch.empty(shape, dtype=dtype, device=device)
    return torch.randn(*shape, generator=generator, device=device).to(dtype)


def attention_inputs(variant: Variant, problem: Problem, device: str = "cpu", seed: int = 0) -> dict[str, torch.Tensor]:
    """q [B, H, N, d], k [B, G, M, d], v [B, G, M, dv] of the variant's attention part; backward also do [B, H, N, dv].

    With documents, N and M are the sums of their lengths and cu [documents + 1] int32 holds their first tokens.
    """
    part: Any = variant.graph(problem).main
    generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)
    b, h, g, n, m = (int(x) for x in (part.batch, problem.heads, part.kv_heads, problem.queries, problem.kv_len))
    narrow, stored = DTYPES[problem.dtype], DTYPES[problem.kv_dtype]

    def make(*shape: int, dtype: torch.dtype) -> torch.Tensor:
        return normal(*shape, dtype=dtype, device=device, generator=generator)

    tensors = {
        "q": make(b, h, n, int(part.depth), dtype=narrow), "k": make(b, g, m, int(part.depth), dtype=stored),
        "v": make(b, g, m, int(part.width), dtype=stored),
    }  # fmt: skip
    if problem.direction == "backward":
        tensors["do"] = make(b, h, n, int(part.width), dtype=output_dtype(problem.dtype))
    if problem.documents is not None:
        lengths = torch.tensor(problem.documents, dtype=torch.int32)
        tensors["cu"] = torch.nn.functional.pad(lengths.cumsum(0), (1, 0)).to(torch.int32).to(device)
    return tensors


def check_operands(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> None:
    """Raises InputError where q [B, H, N, d], k [B, G, M, d], v [B, G, M, dv] do not fit together."""
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.dim() != 4:
            raise InputError(f"{name} has {tensor.dim()} axes; allowed: 4, [batch, heads, tokens, head_dim]")
        if tensor.dtype not in NAMES:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(f"{name} is {kind}; allowed: {', '.join(sorted(NAMES.values()))}")
        if tensor.device != q.device:
            raise InputError(f"{name} is on {tensor.device} and q on {q.device}; all operands must be on one device")
    if k.dtype != v.dtype:
        raise InputError(f"k is {NAMES[k.dtype]} and v {NAMES[v.dtype]}; both must have one type")
    for name, tensor in (("k", k), ("v", v)):
        if tensor.shape[0] != q.shape[0]:
            raise InputError(f"{name} has batch {tensor.shape[0]} and q {q.shape[0]}")
    if k.shape[1:3] != v.shape[1:3]:
        raise InputError(f"k has {k.shape[1]} heads of {k.shape[2]} tokens and v {v.shape[1]} of {v.shape[2]}")
    if q.shape[3] != k.shape[3]:
        raise InputError(f"q has head_dim {q.shape[3]} and k {k.shape[3]}")
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise InputError(f"kv_heads {k.shape[1]} does not divide heads {q.shape[1]}")


def contiguous(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The tensors with a contiguous last axis (any strides before it are taken as they are)."""
    return tuple(t if t.stride(-1) == 1 or t.shape[-1] <= 1 else t.contiguous() for t in tensors)
