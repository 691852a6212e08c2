"""Linear attention and its relatives: in chunks, as counted, and step by step, as defined."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from . import Maker

Inputs = dict[str, torch.Tensor]
DELTA = ("gated-deltanet", "kda")
"""Variants that correct what the state holds for a key."""


def inputs(variant: Any, problem: Any, make: Maker) -> Inputs:
    """q, k [B, H, N, f], v [B, H, N, dv], the gates a variant needs, the state [B, H, f, dv] carried in."""
    b, h, n = problem.batch, problem.heads, problem.queries
    made = {
        "q": make(b, h, n, problem.head_dim), "k": make(b, h, n, problem.head_dim), "v": make(b, h, n, problem.v_dim),
    }  # fmt: skip
    if variant.id == "linear-attention":
        made["q"], made["k"] = (torch.nn.functional.elu(made[x]) + 1 for x in ("q", "k"))
    made["log_decay"] = -torch.nn.functional.softplus(make(b, h, n))
    if variant.id == "lightning":
        made["log_decay"] = torch.full((b, h, n), -0.1, device=make.device, dtype=make.dtype)
    if variant.id == "linear-attention":
        made["log_decay"] = torch.zeros(b, h, n, device=make.device, dtype=make.dtype)
    if variant.id == "kda":
        made["log_decay"] = -torch.nn.functional.softplus(make(b, h, n, problem.head_dim))
    if variant.id == "mamba2":  # B and C are shared by the heads of a group
        made["q"], made["k"] = (make(b, problem.kv_heads, n, problem.head_dim) for _ in ("q", "k"))
    if variant.id in DELTA:
        made["k"] = torch.nn.functional.normalize(made["k"], dim=-1)
        made["beta"] = torch.sigmoid(make(b, h, n))
    if variant.id == "log-linear":
        levels = problem.kv_len.bit_length() + 1
        made["weights"] = torch.sigmoid(make(b, h, n, levels))
    return made


def run(variant: Any, problem: Any, make: Maker) -> torch.Tensor:
    """The form whose products the graph counts."""
    if variant.id == "linear-attention" and not problem.causal:
        return parallel(problem, make)
    made = inputs(variant, problem, make)
    if problem.queries == 1:
        return step(variant, made, make(problem.batch, problem.heads, problem.head_dim, problem.v_dim), problem)
    return chunked_form(variant)(variant, made)


def chunked_form(variant: Any) -> Callable[[Any, Inputs], torch.Tensor]:
    """The function that computes a variant chunk by chunk."""
    return chunked_delta if variant.id in DELTA else chunked_log if variant.id == "log-linear" else chunked_decay


def parallel(problem: Any, make: Maker) -> torch.Tensor:
    """Without causality: one state for all queries, and a normaliser."""
    b, h, n, m = problem.batch, problem.heads, problem.queries, problem.kv_len
    q = torch.nn.functional.elu(make(b, h, n, problem.head_dim)) + 1
    k = torch.nn.functional.elu(make(b, problem.kv_heads, m, problem.head_dim)) + 1
    k, v = (t.repeat_interleave(h // problem.kv_heads, dim=1) for t in (k, make(b, problem.kv_heads, m, problem.v_dim)))
    state = k.transpose(-1, -2) @ v
    ones = torch.ones(b, h, m, 1, device=make.device, dtype=make.dtype)
    total = q @ (k.transpose(-1, -2) @ ones)
    return q @ state / total


def step(variant: Any, x: Inputs, state: torch.Tensor, problem: Any) -> torch.Tensor:
    """One token: update the state, read it."""
    v = x["v"]
    q, k = (of_heads(x[name], v) for name in ("q", "k"))
    state = state * fading(x["log_decay"][:, :, 0])
    if variant.id in DELTA:
        v = (v - k @ state) * x["beta"][..., None]
    state = state + k.transpose(-1, -2) @ v
    if variant.id == "log-linear":
        live = bin(problem.kv_len).count("1")
        return sum((q @ state * x["weights"][..., level, None] for level in range(live)), torch.zeros_like(v))
    return q @ state


def of_tensors(variant: Any, t: Inputs) -> torch.Tensor:
    """o [B, H, N, dv] of given q, k, v and gates, step by step; causal linear attention maps q and k by elu + 1."""
    return recurrent(variant, prepared(variant, t))


def in_chunks(variant: Any, t: Inputs, causal: bool) -> torch.Tensor:
    """`of_tensors` for long sequences: chunk by chunk, but for the delta rule; not causal: all keys for each query."""
    x = prepared(variant, t)
    if not causal:
        total = x["q"] @ x["k"].sum(dim=2)[..., None]
        return x["q"] @ (x["k"].transpose(-1, -2) @ x["v"]) / total
    return (recurrent if variant.id in DELTA else chunked_form(variant))(variant, x)


def prepared(variant: Any, t: Inputs) -> Inputs:
    """The inputs in the type of q: one kv head a head, q and k mapped, a log decay for each token, the first state."""
    x = {name: tensor.to(t["q"].dtype) for name, tensor in t.items()}
    b, h, n, _ = x["q"].shape
    for name in ("k", "v"):
        x[name] = x[name].repeat_interleave(h // x[name].shape[1], dim=1)
    if variant.id == "linear-attention":
        x["q"], x["k"] = (torch.nn.functional.elu(x[name]) + 1 for name in ("q", "k"))
    decay = x.get("log_decay", torch.zeros(h, device=x["q"].device, dtype=x["q"].dtype))
    x["log_decay"] = decay[None, :, None].expand(b, h, n) if decay.dim() == 1 else decay
    if "initial_state" in x:
        x["state"] = x.pop("initial_state")
    return x


def recurrent(variant: Any, x: Inputs) -> torch.Tensor:
    """Step by step, as the papers define it (decay, delta rule); log-linear from its definition over pairs."""
    return defined_log(variant, x) if variant.id == "log-linear" else recurrence(variant, x)[0]


def recurrence(variant: Any, x: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """(output, last state) of the decayed recurrence or the delta rule; x["state"] is the first one, or none: zero."""
    keys, queries = (of_heads(x[name], x["v"]) for name in ("k", "q"))
    b, h, n, f = queries.shape
    zero = torch.zeros(b, h, f, x["v"].shape[-1], dtype=x["q"].dtype, device=x["q"].device)
    state = x.get("state", zero)
    out = []
    for t in range(n):
        k, v = keys[:, :, t], x["v"][:, :, t]
        state = state * fading(x["log_decay"][:, :, t])
        if variant.id in DELTA:
            v = (v - torch.einsum("bhf,bhfv->bhv", k, state)) * x["beta"][:, :, t, None]
        state = state + k[..., None] * v[..., None, :]
        out.append(torch.einsum("bhf,bhfv->bhv", queries[:, :, t], state))
    return torch.stack(out, dim=2) if out else torch.zeros_like(x["v"]), state


def of_heads(keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """q or k of groups, repeated for the heads that the values have."""
    return keys.repeat_interleave(values.shape[1] // keys.shape[1], dim=1)


def fading(log_decay: torch.Tensor) -> torch.Tensor:
    """What the state [B, H, f, dv] is multiplied with, of one token's log decays: [B, H], or [B, H, f] of channels."""
    factor = torch.exp(log_decay)
    return factor[..., None, None] if log_decay.dim() == 2 else factor[..., None]


def chunks(x: Inputs, size: int) -> list[Inputs]:
    """The inputs cut along the tokens."""
    cut = {name: torch.split(tensor, size, dim=2) for name, tensor in x.items()}
    return [{name: parts[i] for name, parts in cut.items()} for i in range(len(cut["q"]))]


def decay_tile(log_decay: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(cumulative log decay [.., C], decay from key j to query i [.., C, C], zero above the diagonal)."""
    total = log_decay.cumsum(dim=-1)
    tile = torch.exp(total[..., :, None] - total[..., None, :])
    return total, torch.tril(tile)


def chunked_decay(variant: Any, x: Inputs) -> torch.Tensor:
    """Scores and values inside a chunk, the state between chunks."""
    return chunked_states(variant, x)[0]


def chunked_states(variant: Any, x: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
    """(output, last state) of `chunked_decay`; x["state"] is the first one, or none: zero."""
    cut = {name: tensor for name, tensor in x.items() if name != "state"}
    state, out = x.get("state"), []
    for c in chunks(cut, variant.chunk):
        total, tile = decay_tile(c["log_decay"])
        scores = of_heads(c["q"] @ c["k"].transpose(-1, -2), c["v"])
        q, k = (of_heads(c[name], c["v"]) for name in ("q", "k"))
        inside = (scores * tile) @ c["v"]
        kept = k * torch.exp(total[..., -1:] - total)[..., None]
        update = kept.transpose(-1, -2) @ c["v"]
        state = torch.zeros_like(update) if state is None else state
        out.append(inside + q * torch.exp(total)[..., None] @ state)
        state = state * torch.exp(total[..., -1])[..., None, None] + update
    assert state is not None
    return torch.cat(out, dim=2), state


def chunked_delta(variant: Any, x: Inputs) -> torch.Tensor:
    """The gated delta rule in WY form (2412.06464, section 3): a triangular solve a chunk. Decays of channels are taken
    into q and k (2510.26692, section 3), so that pairs need none of their own."""
    state, out = None, []
    for c in chunks(x, variant.chunk):
        q, k, beta = c["q"], c["k"], c["beta"][..., None]
        if variant.id == "kda":
            total = c["log_decay"].cumsum(dim=-2)
            grown, last = torch.exp(total), total[..., -1, :]
            tile = torch.ones(q.shape[-2], q.shape[-2], device=q.device, dtype=q.dtype).tril()
            rows, queries, columns = k * grown, q * grown, k / grown
        else:
            total, tile = decay_tile(c["log_decay"])
            total, last = total[..., None], total[..., -1]
            grown, rows, queries, columns = torch.exp(total), k, q, k
        lower = torch.tril(rows @ columns.transpose(-1, -2) * tile, diagonal=-1) * beta
        eye = torch.eye(lower.shape[-1], device=lower.device, dtype=lower.dtype)
        t = torch.linalg.solve_triangular(eye + lower, eye.expand_as(lower), upper=False, unitriangular=True)
        w = t @ (k * beta * grown)
        u = t @ (c["v"] * beta)
        if state is None:
            state = torch.zeros(*u.shape[:2], w.shape[-1], u.shape[-1], device=u.device, dtype=u.dtype)
        new = u - w @ state
        inside = (queries @ columns.transpose(-1, -2) * tile) @ new
        out.append(inside + (q * grown) @ state)
        kept = k * torch.exp(total[..., -1:, :] - total)
        state = state * fading(last) + kept.transpose(-1, -2) @ new
    return torch.cat(out, dim=2)


def level_of(chunk: int, key_chunk: int) -> int:
    """Level of a past chunk: the power-of-two segment of [0, chunk) that holds it, largest first from the start."""
    position, rest = 0, chunk
    while rest:
        size = 1 << (rest.bit_length() - 1)
        if key_chunk < position + size:
            return size.bit_length()
        position, rest = position + size, rest - size
    return 0


def chunked_log(variant: Any, x: Inputs) -> torch.Tensor:
    """Whole chunks inside; one state for each power-of-two segment of past chunks, each with its weight."""
    states: list[tuple[int, int, torch.Tensor]] = []
    out = []
    for index, c in enumerate(chunks(x, variant.chunk)):
        total, tile = decay_tile(c["log_decay"])
        inside = (c["q"] @ c["k"].transpose(-1, -2) * tile * c["weights"][..., 0, None]) @ c["v"]
        reads = [
            (c["q"] * (torch.exp(total) * c["weights"][..., size.bit_length()])[..., None]) @ state
            for size, _, state in states
        ]
        out.append(inside + sum(reads, torch.zeros_like(inside)))
        kept = c["k"] * torch.exp(total[..., -1:] - total)[..., None]
        faded = torch.exp(total[..., -1])[..., None, None]
        states = [(size, start, state * faded) for size, start, state in states]
        states.append((1, index, kept.transpose(-1, -2) @ c["v"]))
        while len(states) > 1 and states[-1][0] == states[-2][0]:
            (size, _, late), (_, start, early) = states.pop(), states.pop()
            states.append((2 * size, start, early + late))
    return torch.cat(out, dim=2)


def defined_log(variant: Any, x: Inputs) -> torch.Tensor:
    """Every pair with its decay and the weight of the level its key's chunk belongs to."""
    n, size = x["q"].shape[2], variant.chunk
    _, tile = decay_tile(x["log_decay"])
    level = torch.tensor([[level_of(i // size, j // size) if j // size < i // size else 0 for j in range(n)]
                          for i in range(n)])  # fmt: skip
    weights = torch.gather(x["weights"], 3, level.expand(*x["q"].shape[:2], n, n))
    return (x["q"] @ x["k"].transpose(-1, -2) * tile * weights) @ x["v"]
