"""What kernels are compared with: torch's own attention under the same mask, and exact rows of large problems.

SDPA knows dense and causal masks. flex_attention takes any rule; here are bands and neighbourhoods, the rules of
simulator.masks in torch's operations.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...simulator.errors import InputError
from ...simulator.masks import BandMask, NeighbourhoodMask
from .softmax import masked_attention, pair_matrix

Rule = Callable[[Any, Any, torch.Tensor, torch.Tensor], torch.Tensor]
HELD_PAIRS = 2**26
"""Pairs of a mask that are held as a matrix of bytes."""


def fastest_rule(mask: Any, device: str) -> Rule:
    """The rule of any mask that compiled flex_attention evaluates fastest: a matrix of its pairs, or, where that is too
    large to hold, `mask_mod`. On the CPU a load costs less than the divisions that coordinates of tokens take: with
    16x16 of 64x64 tokens a call takes 68 ms in place of 240.

    Raises InputError for large masks without a written rule.
    """
    if int(mask.queries) * int(mask.keys) > HELD_PAIRS:
        return mask_mod(mask)
    pairs = pair_matrix(mask, device)

    def rule(_b: Any, _h: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        seen: torch.Tensor = pairs[query, key]
        return seen

    return rule


def mask_mod(mask: Any) -> Rule:
    """flex_attention's rule (batch, head, query, key) -> bool of a mask. Raises InputError for other masks."""
    if isinstance(mask, BandMask):
        return _band(mask)
    if isinstance(mask, NeighbourhoodMask):
        return _neighbourhood(mask)
    raise InputError(f"flex_attention's rule is not written for {type(mask).__name__}")


def _band(mask: BandMask) -> Rule:
    shift, left, right, sinks = int(mask.keys - mask.queries), mask.left, mask.right, mask.sinks

    def rule(_b: Any, _h: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        seen = key >= 0
        if left is not None:
            seen = seen & ((key >= query + (shift - left)) | (key < sinks))
        if right is not None:
            seen = seen & (key <= query + (shift + right))
        return seen

    return rule


def _neighbourhood(mask: NeighbourhoodMask) -> Rule:
    def rule(_b: Any, _h: Any, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        seen = key >= 0
        for axis in reversed(range(len(mask.shape))):
            length, window, stride, dilation = (
                t[axis] for t in (mask.shape, mask.window, mask.stride, mask.dilation)
            )  # fmt: skip
            q, k = query % length, key % length
            query, key = query // length, key // length
            size = (length - q % dilation + dilation - 1) // dilation
            i, j, width = q // dilation, k // dilation, torch.clamp(size, max=window)
            if mask.causal[axis]:
                lead = torch.minimum(i // stride * stride + (stride - 1), size - 1)
                seen = seen & (j >= lead - width + 1) & (j <= i)
            else:
                lead = torch.minimum(i // stride * stride + stride // 2, size - 1)
                first = torch.minimum(torch.clamp(lead - width // 2, min=0), size - width)
                seen = seen & (j >= first) & (j < first + width)
            seen = seen & (q % dilation == k % dilation)
        return seen

    return rule


def sdpa(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, causal: bool, backend: str) -> torch.Tensor:
    """torch's scaled_dot_product_attention by one backend: "flash", "cudnn" or "math". Raises RuntimeError where the
    backend refuses the operands. Causality is bottom-right aligned only where queries equal keys or are one."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    kinds = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION, "math": SDPBackend.MATH}
    with sdpa_kernel(kinds[backend]):
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=causal and q.shape[2] > 1, enable_gqa=q.shape[1] != k.shape[1]
        )


def flex(mask: Any, device: str) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """flex_attention compiled for a mask: a function of q, k, v. The block mask is made once, by a compiled
    create_block_mask, which holds no N x M matrix."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    make = torch.compile(create_block_mask, dynamic=False)
    blocks = make(mask_mod(mask), None, None, mask.queries, mask.keys, device=device)
    run = torch.compile(flex_attention, dynamic=False)

    def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = run(q, k, v, block_mask=blocks, enable_gqa=q.shape[1] != k.shape[1])
        return output

    return attend


def sampled(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, rows: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Output [B, H, R, dv] of the query rows [R] alone, computed in `dtype`, by the pair rule of the mask."""
    attends = mask.attends(rows.cpu().numpy()[:, None], np.arange(mask.keys)[None, :])
    chosen = torch.from_numpy(np.broadcast_to(attends, (len(rows), mask.keys)).copy()).to(q.device)
    heads = q.shape[1] // k.shape[1]
    found = []
    for head in range(q.shape[1]):  # one head at a time: float64 copies of all keys and values would be large
        one = slice(head, head + 1)
        kv = slice(head // heads, head // heads + 1)
        found.append(masked_attention(q[:, one, rows].to(dtype), k[:, kv].to(dtype), v[:, kv].to(dtype), chosen))
    return torch.cat(found, dim=1)
