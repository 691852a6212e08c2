"""Multi-head latent attention, expanded and absorbed: two orders of the same products. Absorbed over the keys that
an indexer selects: DeepSeek sparse attention."""

from __future__ import annotations

from typing import Any

import torch

from . import Maker
from .softmax import masked_attention, pair_matrix


def run(variant: Any, problem: Any, make: Maker) -> torch.Tensor:
    """q [B, H, N, d_nope + d_rope], latent [B, M, dc + dr], up-projections [H, dc, d_nope] and [H, dc, d_v]."""
    if variant.id == "dsa":
        return sparse(variant, problem, make)
    graph = variant.graph(problem)
    b, h, n, m = problem.batch, problem.heads, problem.queries, problem.kv_len
    dc, dr, dn, dv = variant.kv_rank, variant.rope_dim, variant.nope_dim, variant.value_dim
    q, latent = make(b, h, n, dn + dr), make(b, m, dc + dr)
    up_k, up_v = make(h, dc, dn), make(h, dc, dv)
    attends = pair_matrix(graph.main.mask, make.device)
    scale = ((dn + dr) / (dc + dr)) ** 0.5
    if graph.parts[0].name == "absorb":
        q_latent = torch.cat([q[..., :dn] @ up_k.transpose(-1, -2), q[..., dn:]], dim=-1) / scale
        keys = latent[:, None]
        return masked_attention(q_latent, keys, keys[..., :dc], attends) @ up_v
    keys = torch.cat([latent[:, None, :, :dc] @ up_k, latent[:, None, :, dc:].expand(b, h, m, dr)], dim=-1)
    return masked_attention(q, keys, latent[:, None, :, :dc] @ up_v, attends)


def sparse(variant: Any, problem: Any, make: Maker) -> torch.Tensor:
    """As `run`, absorbed, over the `top` keys of each query with the largest scores of the indexer: sum over its heads
    of w relu(q_I . k_I), q_I [B, Hi, N, di], k_I [B, 1, M, di], w [B, Hi, N, 1]."""
    b, h, n, m = problem.batch, problem.heads, problem.queries, problem.kv_len
    dc, dr, dn, dv = variant.kv_rank, variant.rope_dim, variant.nope_dim, variant.value_dim
    q, latent, up_k, up_v = make(b, h, n, dn + dr), make(b, m, dc + dr), make(h, dc, dn), make(h, dc, dv)
    q_index, k_index = make(b, variant.index_heads, n, variant.index_dim), make(b, 1, m, variant.index_dim)
    weights = make(b, variant.index_heads, n, 1)
    attends = selected(q_index @ k_index.transpose(-1, -2), weights, variant.top)
    scale = ((dn + dr) / (dc + dr)) ** 0.5
    q_latent = torch.cat([q[..., :dn] @ up_k.transpose(-1, -2), q[..., dn:]], dim=-1) / scale
    keys = latent[:, None]
    return masked_attention(q_latent, keys, keys[..., :dc], attends) @ up_v


def selected(products: torch.Tensor, weights: torch.Tensor, top: int) -> torch.Tensor:
    """[B, 1, N, M]: whether a key is among the `top` of those up to the query, by the weighted sum over index heads of
    the positive products [B, Hi, N, M]."""
    n, m = products.shape[-2:]
    future = torch.ones(n, m, dtype=torch.bool, device=products.device).triu(m - n + 1)
    scores = (weights * products.relu()).sum(dim=1, keepdim=True).masked_fill(future, float("-inf"))
    best = scores.topk(min(top, m), dim=-1)
    return torch.zeros_like(scores, dtype=torch.bool).scatter(-1, best.indices, torch.isfinite(best.values))
