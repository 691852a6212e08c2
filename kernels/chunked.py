"""What the chunked kernels share: the decay inside a chunk, random operands, what every launcher checks and passes."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from ..simulator.config import Config
from ..simulator.errors import InputError
from ..simulator.implementations.triton_linear import IMPLEMENTATION
from ..simulator.problem import Problem
from ..simulator.variants import Variant
from .launch import strides
from .operands import DTYPES, check_operands, contiguous, normal

LOG2E = tl.constexpr(1.4426950408889634)


@triton.jit
def chunk_decay(log_decay, CHUNK: tl.constexpr, REVERSE: tl.constexpr):
    """(D [C, C], e [C], kept [C], whole decay) of a chunk from its log decays (to base 2, zero past the end)."""
    offs = tl.arange(0, CHUNK)
    total = tl.cumsum(log_decay, 0)
    whole = tl.sum(log_decay, 0)
    if REVERSE:
        apart = tl.where(offs[:, None] <= offs[None, :], total[None, :] - total[:, None], -float("inf"))
    else:
        apart = tl.where(offs[:, None] >= offs[None, :], total[:, None] - total[None, :], -float("inf"))
    return tl.exp2(apart), tl.exp2(total), tl.exp2(whole - total), tl.exp2(whole)


def places(**tensors: torch.Tensor) -> tuple[dict[str, Any], dict[str, Any]]:
    """(arguments, constants) of [B, H, N, d] tensors: they and the distances of their heads; the distances of tokens.

    A distance of tokens known to the compiler keeps the addresses of a tile out of registers (16 to 28 fewer of 245
    on sm_90 and sm_100 at d = 128).
    """
    arguments: dict[str, Any] = dict(tensors)
    constants: dict[str, Any] = {}
    for name, tensor in tensors.items():
        apart = strides(name, tensor)
        constants[f"{name}_stride_n"] = apart.pop(f"{name}_stride_n")
        arguments |= apart
    return arguments, constants


def precision(dtype: str) -> str | None:
    """How fp32 operands are multiplied: exactly for fp32, as the chip prefers (tf32 where it has it) otherwise."""
    return "ieee" if dtype == "fp32" else None


def generator(device: str, seed: int) -> torch.Generator | None:
    """A generator of random inputs; none on the meta device."""
    return None if device == "meta" else torch.Generator(device).manual_seed(seed)


def random_operands(problem: Problem, device: str, seed: int) -> dict[str, torch.Tensor]:
    """q, k [B, H, N, d], v [B, H, N, dv] and, where earlier tokens exist, an fp32 state [B, H, d, dv].

    Entries shrink with the head dimension so that deep products stay of order one. Nothing is computed on the meta
    device: arithmetic there loads a part of torch's compiler, which takes a second.
    """
    made_by = generator(device, seed)
    b, h, n, d, dv = (int(x) for x in (problem.batch, problem.heads, problem.queries, problem.head_dim, problem.v_dim))

    def make(*shape: int, dtype: torch.dtype = DTYPES[problem.dtype]) -> torch.Tensor:
        if device == "meta":
            return normal(*shape, dtype=dtype, device=device, generator=None)
        wide = normal(*shape, dtype=torch.float32, device=device, generator=made_by)
        scaled: torch.Tensor = wide / float(shape[-1]) ** 0.25
        return scaled.to(dtype)

    made = {"q": make(b, h, n, d), "k": make(b, h, n, d), "v": make(b, h, n, dv)}
    if not problem.causal:  # the form without causality takes kv_len keys of kv_heads heads
        keys = (b, int(problem.kv_heads), int(problem.kv_len))
        made.update(k=make(*keys, d), v=make(*keys, dv))
    elif problem.kv_len > n:
        made["initial_state"] = make(b, h, d, dv, dtype=torch.float32)
    if problem.direction == "backward":
        made["do"] = make(b, h, n, dv)
    return made


def random_log_decay(problem: Problem, device: str, seed: int) -> torch.Tensor:
    """fp32 log decays [B, H, N], all below zero."""
    shape = (int(problem.batch), int(problem.heads), int(problem.queries))
    made = normal(*shape, dtype=torch.float32, device=device, generator=generator(device, seed + 1))
    return made if device == "meta" else -torch.nn.functional.softplus(made)


def random_shares(*shape: int, device: str, seed: int) -> torch.Tensor:
    """fp32 numbers between 0 and 1."""
    made = normal(*shape, dtype=torch.float32, device=device, generator=generator(device, seed + 2))
    return made if device == "meta" else torch.sigmoid(made)


def checked_block(variant: Variant, problem: Problem, config: Config) -> int:
    """Columns of v that a program takes. Raises InputError where the kernels cannot run the config."""
    refusal = IMPLEMENTATION.refuses_sides(variant.graph(problem).main, config)
    if refusal is not None:
        raise InputError(refusal)
    return int(config.value_block)  # type: ignore[attr-defined]


def checked_operands(tensors: dict[str, torch.Tensor], *, causal: bool = True) -> tuple[torch.Tensor, ...]:
    """q, k, v with contiguous last axes. Raises InputError where they do not fit together."""
    q, k, v = (tensors[name] for name in ("q", "k", "v"))
    check_operands(q, k, v)
    if causal and k.shape[1:3] != q.shape[1:3]:
        raise InputError(f"k has {k.shape[1]} heads of {k.shape[2]} tokens and q {q.shape[1]} of {q.shape[2]}: a "
                         "recurrence takes as many")  # fmt: skip
    return contiguous(q, k, v)


def checked_fp32(tensors: dict[str, torch.Tensor], name: str, *shapes: tuple[int, ...]) -> torch.Tensor:
    """A gate or state: fp32, contiguous, of one of these shapes. Raises InputError."""
    if name not in tensors:
        raise InputError(f"this variant needs the tensor {name}")
    tensor = tensors[name]
    if tuple(tensor.shape) not in shapes or tensor.dtype != torch.float32:
        allowed = " or ".join("x".join(map(str, shape)) for shape in shapes)
        raise InputError(f"{name} is {str(tensor.dtype).removeprefix('torch.')} of {'x'.join(map(str, tensor.shape))}; "
                         f"allowed: float32 of {allowed}")  # fmt: skip
    return tensor.contiguous()


def state_like(q: torch.Tensor, v: torch.Tensor, before: torch.Tensor | None) -> torch.Tensor:
    """Room for a state fp32 [B, H, d, dv]; without tokens nothing is launched, and it is the state before."""
    shape = (*q.shape[:2], q.shape[-1], v.shape[-1])
    if q.shape[2]:
        return torch.empty(shape, dtype=torch.float32, device=q.device)
    return torch.zeros(shape, dtype=torch.float32, device=q.device) if before is None else before.clone()
