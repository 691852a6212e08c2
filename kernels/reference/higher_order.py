"""2-simplicial attention over all triples, windows masked (2507.02754)."""

from __future__ import annotations

from typing import Any

import torch

from . import Maker


def run(variant: Any, problem: Any, make: Maker) -> torch.Tensor:
    """softmax over (j, k) of sum_d q_id k_jd k'_kd, times v_j o v'_k."""
    b, h, g, n, m = problem.batch, problem.heads, problem.kv_heads, problem.queries, problem.kv_len
    d, dv = problem.head_dim, problem.v_dim
    q, k, k2 = make(b, h, n, d), make(b, g, m, d), make(b, g, m, d)
    v, v2 = make(b, g, m, dv), make(b, g, m, dv)
    k, k2, v, v2 = (t.repeat_interleave(h // g, dim=1) for t in (k, k2, v, v2))
    pairs = (q[:, :, :, None] * k2[:, :, None]).reshape(b, h, n * m, d)
    scores = (pairs @ k.transpose(-1, -2)).reshape(b, h, n, m, m) / d**0.5
    i = torch.arange(n, device=make.device)[:, None] + m - n
    j = torch.arange(m, device=make.device)[None, :]
    first, second = ((j <= i) & (j > i - w) for w in (variant.window1, variant.window2))
    inside = second[:, :, None] & first[:, None, :]
    weights = torch.softmax(scores.masked_fill(~inside, float("-inf")).flatten(-2), dim=-1)
    values = (v2[:, :, :, None] * v[:, :, None]).reshape(b, h, m * m, dv)
    return weights @ values
