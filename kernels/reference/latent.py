"""Multi-head latent attention, expanded and absorbed: two orders of the same products."""

from __future__ import annotations

from typing import Any

import torch

from . import Maker
from .softmax import masked_attention, pair_matrix


def run(variant: Any, problem: Any, make: Maker) -> torch.Tensor:
    """q [B, H, N, d_nope + d_rope], latent [B, M, dc + dr], up-projections [H, dc, d_nope] and [H, dc, d_v]."""
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
