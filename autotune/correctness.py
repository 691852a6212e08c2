"""Whether a kernel's output is right: sampled rows beside exact ones, within an error that is computed, not chosen.

The truth is plain torch in float64. A kernel may miss it by twice the error that plain torch makes in the operands' own
type, and a rounding step of the output's. Only the first and the last sequence are looked at, of masks only some query
rows: enough to find a wrong tile, and cheap beside the kernel at any size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..kernels.operands import DTYPES
from ..kernels.reference import linear
from ..kernels.reference.baselines import sampled
from .task import Task

SAMPLED_ROWS = 16
Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Expected:
    """Of one output: which part of it is known, its truth, and how far from it a kernel may be."""

    part: Callable[[torch.Tensor], torch.Tensor]
    truth: torch.Tensor
    budget: float

    def error(self, output: torch.Tensor) -> float:
        """The largest error; infinite where the output is not a number, or infinities differ."""
        found = self.part(output).double()
        finite = torch.isfinite(self.truth)
        if not torch.equal(torch.isfinite(found), finite):
            return float("inf")
        return float((found - self.truth).abs().masked_fill(~finite, 0.0).amax()) if found.numel() else 0.0


def budget(truth: torch.Tensor, low: torch.Tensor, dtype: torch.dtype, terms: float = 0.0) -> float:
    """Twice the error of a low-precision reference, plus a rounding step of `dtype` at the largest magnitude.

    terms: magnitude of fp32 terms that cancel in the result: a rounding step of those is left where the truth is 0.
    """
    if not truth.numel():
        return 0.0
    finite = torch.isfinite(truth)
    truth, low = truth.masked_fill(~finite, 0.0), low.double().masked_fill(~finite, 0.0)
    step = torch.finfo(dtype).eps * float(truth.abs().amax()) + torch.finfo(torch.float32).eps * terms
    return 2 * float((low - truth).abs().amax()) + step


def expected(task: Task, tensors: Tensors) -> tuple[Tensors, dict[str, list[Expected]]]:
    """(inputs to run a task's kernel on, what its outputs must be then, by name), from the family's own inputs.

    Backward, dO is zero but in the rows that are looked at: the truth needs those rows alone.
    """
    found: dict[str, list[Expected]] = {}
    if task.problem.direction == "backward" and task.made.family != "linear":
        kept = torch.zeros_like(tensors["do"])
        rows = sampled_rows(kept.shape[2], kept.device)
        kept[:1, :, rows] = tensors["do"][:1, :, rows]
        tensors = {**tensors, "do": kept}
    backward = task.problem.direction == "backward"
    for sequence in sorted({0, 0 if backward else int(tensors["q"].shape[0]) - 1}):
        one = sequence_of(task, tensors, sequence)
        if task.made.family == "linear":
            made = of_linear(task, one, sequence)
        elif task.made.family == "higher-order":
            made = of_simplicial(task, one, sequence)
        elif task.made.id == "moba" and task.problem.queries > 1:
            made = of_chosen_blocks(task, one, sequence)
        elif backward:
            made = of_mask_backward(task, one)
        else:
            made = {"o": of_mask(task, one, sequence)}
        for name, each in made.items():
            found.setdefault(name, []).append(each)
    return tensors, found


def wrong(expected: Mapping[str, list[Expected]], outputs: Mapping[str, torch.Tensor]) -> str | None:
    """A sentence where an output is further from the truth than it may be, None where all are right."""
    for name, checks in expected.items():
        for check in checks:
            error = check.error(outputs[name])
            if not error <= check.budget:
                return f"{name}: error {error:.2e}, allowed {check.budget:.2e}"
    return None


def sequence_of(task: Task, tensors: Tensors, sequence: int) -> Tensors:
    """The inputs of one sequence of a batch; pages of a cache are put in a row."""
    one = slice(sequence, sequence + 1)
    if "block_table" in tensors:
        pages = tensors["block_table"][sequence].long()
        keys = int(task.problem.kv_len)
        rows = {name: tensors[name][pages].flatten(0, 1)[:keys].transpose(0, 1)[None] for name in "kv" & tensors.keys()}
        return {"q": tensors["q"][one], **rows}
    whole = {"cu", "log_decay"} if tensors.get("log_decay", tensors["q"]).dim() == 1 else {"cu"}
    return {name: t if name in whole else t[one] for name, t in tensors.items()}


def sampled_rows(tokens: int, device: torch.device) -> torch.Tensor:
    """Query rows that are looked at, the first and the last among them."""
    return torch.linspace(0, tokens - 1, min(SAMPLED_ROWS, tokens)).round().long().to(device)


def keys_and_values(task: Task, t: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    """k and v; of a latent both are the same columns."""
    part = task.part
    return t["k"], t["k"][..., : int(part.width)] if part.shared_kv else t["v"]


def of_mask(task: Task, t: Tensors, sequence: int) -> Expected:
    """o of sampled rows under the mask's own rule."""
    q, (k, v) = t["q"], keys_and_values(task, t)
    truth, allowed = mask_rows(q, k, v, task.part.mask, rows := sampled_rows(q.shape[2], q.device))
    return Expected(lambda o: o[sequence : sequence + 1, :, rows], truth, allowed)


def mask_rows(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, rows: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """(exact rows [1, H, R, dv], what a kernel's may differ by) of a sequence [1, H, N, d] under a mask."""
    truth = sampled(q, k, v, mask, rows, torch.float64)
    if q.dtype.itemsize == 1:
        return truth, budget(truth, rounded_rows(q, k, v, mask, rows), torch.bfloat16)
    return truth, budget(truth, sampled(q, k, v, mask, rows, q.dtype), q.dtype)


def rounded_rows(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: Any, rows: torch.Tensor
) -> torch.Tensor:  # fmt: skip
    """Rows of 8-bit operands, which torch does not multiply: products in fp32, probabilities rounded to 8 bits."""
    seen = torch.from_numpy(mask.attends(rows.cpu().numpy()[:, None], np.arange(mask.keys)[None, :])).to(q.device)
    group = q.shape[1] // k.shape[1]
    k, v = (x.float().repeat_interleave(group, dim=1) for x in (k, v))
    scores = (q[:, :, rows].float() @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~seen, float("-inf"))
    p = torch.exp(scores - scores.amax(-1, keepdim=True)).nan_to_num(0.0)
    total = p.sum(-1, keepdim=True).clamp_min(1e-30)
    return (p.to(q.dtype).float() @ v / total).to(torch.bfloat16)


def of_mask_backward(task: Task, t: Tensors) -> dict[str, Expected]:
    """dq of sampled rows of the first sequence, and its dk and dv, where dO is zero but in those rows."""
    q, (k, v) = t["q"], keys_and_values(task, t)
    rows = sampled_rows(q.shape[2], q.device)
    do = t["do"][:, :, rows]

    def gradients(kind: torch.dtype) -> list[torch.Tensor]:
        a, b, c = (x.to(kind).requires_grad_() for x in (q, k, v))
        return list(torch.autograd.grad(sampled(a, b, c, task.part.mask, rows, kind), (a, b, c), do.to(kind)))

    size = {name: float(x.double().abs().amax()) for name, x in (("do", do), ("q", q), ("k", k), ("v", v))}
    dp = size["do"] * size["v"] * v.shape[-1] / q.shape[-1] ** 0.5
    terms = {"dq": dp * size["k"], "dk": dp * size["q"], "dv": 0.0}
    found = {}
    for name, exact, low in zip(terms, gradients(torch.float64), gradients(q.dtype), strict=True):
        places = rows if name == "dq" else torch.arange(exact.shape[2], device=q.device)
        exact, low = exact[:, :, places], low[:, :, places]
        found[name] = Expected(functools.partial(first_rows, places), exact, budget(exact, low, q.dtype, terms[name]))
    return found


def first_rows(places: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Rows [1, H, R, d] of the first sequence."""
    return x[:1, :, places]


def of_chosen_blocks(task: Task, t: Tensors, sequence: int) -> dict[str, Expected]:
    """o of a variant whose mask follows from q and k: whole, of one head."""
    from ..kernels.reference import of_tensors

    head = {name: x[:, :1] for name, x in t.items()}
    problem = replace(task.problem, batch=1)
    truth, low = (
        of_tensors(task.made, problem, {n: x.to(kind) for n, x in head.items()})
        for kind in (torch.float64, t["q"].dtype)
    )
    part = Expected(lambda o: o[sequence : sequence + 1, :1], truth, budget(truth, low, t["q"].dtype))
    return {"o": part}


def of_linear(task: Task, t: Tensors, sequence: int) -> dict[str, Expected]:
    """o of one head, all of its tokens; backward dq, dk and dv of that head."""
    narrow = DTYPES[task.problem.dtype]
    head = {name: x[:1] if x.dim() == 1 else x[:, :1] for name, x in t.items()}
    backward = task.problem.direction == "backward"

    def run(kind: torch.dtype) -> Tensors:
        # Gates of fp32 are rounded too: the reference starts from the numbers that a kernel in that type would have.
        x = {name: tensor.to(kind).requires_grad_(backward) for name, tensor in head.items()}
        do = x.pop("do", None)
        o = linear.in_chunks(task.made, x, task.problem.causal or task.problem.queries == 1)
        if do is None:
            return {"o": o}
        found = torch.autograd.grad(o, [x[name] for name in ("q", "k", "v")], do)
        return dict(zip(("dq", "dk", "dv"), found, strict=True))

    summed = float(t["log_decay"].abs().amax()) * int(task.part.chunk or 1) if "log_decay" in t else 0.0
    truth, low = run(torch.float64), run(narrow)
    return {
        name: Expected(
            lambda x: x[sequence : sequence + 1, :1], exact,
            budget(exact, low[name], narrow, float(exact.abs().amax()) * (1 + summed)),
        )
        for name, exact in truth.items()
    }  # fmt: skip


def of_simplicial(task: Task, t: Tensors, sequence: int) -> dict[str, Expected]:
    """o of sampled rows over the triples in their windows."""
    n, m = t["q"].shape[2], t["k"].shape[2]
    rows, one = sampled_rows(n, t["q"].device), slice(sequence, sequence + 1)
    truth, low = (
        torch.stack([simplicial_row(task.made, t, int(row), int(row) + m - n, kind) for row in rows], dim=2)
        for kind in (torch.float64, t["q"].dtype)
    )
    return {"o": Expected(lambda o: o[one][:, :, rows], truth, budget(truth, low, t["q"].dtype))}


def simplicial_row(variant: Any, t: Tensors, row: int, position: int, kind: torch.dtype) -> torch.Tensor:
    """o [1, H, dv] of a query at a position: softmax over pairs (j, k) in its two windows of sum_d q k_j k'_k."""
    q = t["q"][:, :, row].to(kind)
    first, second = (slice(max(position - w + 1, 0), position + 1) for w in (variant.window1, variant.window2))
    group = q.shape[1] // t["k"].shape[1]
    k, v, k2, v2 = (
        t[name][:, :, chosen].to(kind).repeat_interleave(group, dim=1)
        for name, chosen in (("k", first), ("v", first), ("k2", second), ("v2", second))
    )
    scores = (q[:, :, None] * k2) @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    weights = torch.softmax(scores.flatten(2), dim=-1).view_as(scores)
    return ((weights @ v) * v2).sum(2)
