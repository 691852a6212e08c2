"""2-simplicial attention over all triples, windows masked (2507.02754)."""

from __future__ import annotations

from typing import Any

import torch

from . import Maker


def run(variant: Any, problem: Any, make: Maker) -> torch.Tensor:
    """Random operands q, k, k', v, v'."""
    b, h, g, n, m = problem.batch, problem.heads, problem.kv_heads, problem.queries, problem.kv_len
    d, dv = problem.head_dim, problem.v_dim
    q, k, k2 = make(b, h, n, d), make(b, g, m, d), make(b, g, m, d)
    return of_tensors(variant, {"q": q, "k": k, "k2": k2, "v": make(b, g, m, dv), "v2": make(b, g, m, dv)})


def of_tensors(variant: Any, t: dict[str, torch.Tensor], scale: float | None = None) -> torch.Tensor:
    """softmax over (j, k) of scale sum_d q_id k_jd k'_kd, scale 1 / sqrt(d) by default, times v_j o v'_k."""
    q = t["q"]
    b, h, n, d = q.shape
    k, k2, v, v2 = (t[name].repeat_interleave(h // t[name].shape[1], dim=1) for name in ("k", "k2", "v", "v2"))
    m, dv = k.shape[2], v.shape[3]
    pairs = (q[:, :, :, None] * k2[:, :, None]).reshape(b, h, n * m, d)
    scores = (pairs @ k.transpose(-1, -2)).reshape(b, h, n, m, m) * (d**-0.5 if scale is None else scale)
    i = torch.arange(n, device=q.device)[:, None] + m - n
    j = torch.arange(m, device=q.device)[None, :]
    first, second = ((j <= i) & (j > i - w) for w in (variant.window1, variant.window2))
    inside = second[:, :, None] & first[:, None, :]
    weights = torch.softmax(scores.masked_fill(~inside, float("-inf")).flatten(-2), dim=-1)
    values = (v2[:, :, :, None] * v[:, :, None]).reshape(b, h, m * m, dv)
    return weights @ values
