"""Masked softmax attention from the pair rule of its mask; grouped heads by repetition."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from . import Maker


def masked_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attends: torch.Tensor | None, scale: float | None = None
) -> torch.Tensor:
    """softmax(scale q k^T) v over the pairs that attend, scale 1 / sqrt(d) by default; rows without any give zero.

    q [B, H, N, d], k [B, G, M, d], v [B, G, M, dv], attends [N, M] -> [B, H, N, dv].
    """
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    scores = q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if attends is None:
        return torch.softmax(scores, dim=-1) @ v
    scores = scores.masked_fill(~attends, float("-inf"))
    weights = torch.softmax(scores, dim=-1).masked_fill(~attends, 0.0)
    return weights @ v


def pair_matrix(mask: Any, device: str) -> torch.Tensor:
    """[N, M] pairs that attend, by the mask's rule."""
    i, j = np.arange(mask.queries)[:, None], np.arange(mask.keys)[None, :]
    return torch.from_numpy(np.broadcast_to(mask.attends(i, j), (mask.queries, mask.keys)).copy()).to(device)


def run(variant: Any, problem: Any, make: Maker) -> torch.Tensor:
    """The attention part of the variant's graph, and what the variant does around it."""
    part = variant.graph(problem).main
    b, n, m = problem.batch, part.mask.queries, part.mask.keys
    q, k = make(b, part.heads, n, part.depth), make(b, part.kv_heads, m, part.depth)
    v = make(b, part.kv_heads, m, part.width)
    if variant.id == "moba" and n > 1:
        gate(q, k, variant.block)
    if variant.id == "chunked-softmax" and make.device != "meta":
        return chunked(q, k, v, pair_matrix(part.mask, make.device), variant.key_chunk)
    output = masked_attention(q, k, v, pair_matrix(part.mask, make.device))
    if variant.id == "gated-attention":
        width = problem.heads * problem.head_dim
        gates = part.heads * (part.width if variant.gate == "elementwise" else 1)
        x, w = make(b, n, width), make(width, gates)
        sigma = torch.sigmoid(x @ w).reshape(b, n, part.heads, -1).transpose(1, 2)
        output = output * sigma
    return output


def gate(q: torch.Tensor, k: torch.Tensor, block: int) -> torch.Tensor:
    """Scores of every query against the mean key of every block (MoBA, equation 6)."""
    means = torch.stack([part.mean(dim=2) for part in torch.split(k, block, dim=2)], dim=2)
    means = means.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
    return q @ means.transpose(-1, -2)


def chunked(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attends: torch.Tensor, chunk: int) -> torch.Tensor:
    """The same result with a running maximum and sum over key chunks (2112.05682)."""
    group = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    highest = torch.full((*q.shape[:-1], 1), -1e300, dtype=q.dtype)
    total, sums = torch.zeros_like(highest), torch.zeros((*q.shape[:-1], v.shape[-1]), dtype=q.dtype)
    for start in range(0, k.shape[2], chunk):
        part = slice(start, start + chunk)
        scores = q @ k[:, :, part].transpose(-1, -2) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(~attends[:, part], -1e300)
        new = torch.maximum(highest, scores.amax(dim=-1, keepdim=True))
        weights = torch.exp(scores - new).masked_fill(~attends[:, part], 0.0)
        rescale = torch.exp(highest - new)
        total = total * rescale + weights.sum(dim=-1, keepdim=True)
        sums = sums * rescale + weights @ v[:, :, part]
        highest = new
    return sums / total.clamp_min(1e-300)


def of_tensors(variant: Any, problem: Any, t: dict[str, torch.Tensor], scale: float | None) -> torch.Tensor:
    """o [B, H, N, dv] of q, k, v under the variant's mask; moba chooses its blocks as its paper does (equation 6)."""
    q, k, v = t["q"], t["k"], t["v"]
    mask = variant.graph(problem).main.mask
    if variant.id != "moba" or q.shape[2] == 1:
        return masked_attention(q, k, v, pair_matrix(mask, str(q.device)), scale)
    n, m, block = q.shape[2], k.shape[2], variant.block
    own, past = (torch.arange(n, device=q.device) + m - n) // block, torch.arange(-(-m // block), device=q.device)
    scores = gate(q, k, block).masked_fill(past >= own[:, None], float("-inf"))
    best = scores.topk(min(variant.top - 1, len(past)), dim=-1)
    kept = torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best.indices, torch.isfinite(best.values))
    causal = torch.arange(m, device=q.device) <= (torch.arange(n, device=q.device) + m - n)[:, None]
    attends = (kept | (past == own[:, None])).repeat_interleave(block, -1)[..., :m] & causal
    return masked_attention(q, k, v, attends, scale)
