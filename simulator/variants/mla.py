"""Multi-head latent attention (DeepSeek-V2, 2405.04434; analysed in 2507.15465).

Keys and values come from a latent of width dc and a shared rotary key of width dr, which is all the cache
holds. Expanded: up-project the latents, then attention with head size d_nope + d_rope and values d_v.
Absorbed: fold the up-projections into the queries and the output and attend to the latents themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..algebra import is_symbol
from ..errors import InputError
from ..families.dense import dense_part
from ..families.softmax import attention_part, cache_bytes, dense_mask
from ..graph import Graph, Tensor
from ..problem import Problem, check_name, check_size, output_dtype
from . import Claim, Variant


@dataclass(frozen=True)
class MultiHeadLatent(Variant):
    """Expanded: 2BHP(d_nope + d_rope) + 2BHP d_v and the up-projection 2BM dc H(d_nope + d_v). Absorbed:
    2BHP(dc + dr) + 2BHP dc and 2BN dc H(d_nope + d_v) to absorb. Cache: BM(dc + dr) for all heads together.

    kv_rank dc, rope_dim dr, nope_dim, value_dim: sizes (DeepSeek-V2/V3). form: expanded | absorbed; None: by
    head_dim (d_nope + d_rope means expanded, dc + dr absorbed), otherwise the one with fewer FLOPs.
    """

    form: str | None = None
    kv_rank: int = 512
    rope_dim: int = 64
    nope_dim: int = 128
    value_dim: int = 128

    id = "mla"
    title = "Multi-head latent attention"
    paper = "2405.04434"
    family = "latent"
    formula = "mha over k = [W_uk c, k_rope], v = W_uv c"
    axes = (1,)
    vectorised = False
    claims = (
        Claim("decode intensity about 242 FLOP/byte, mha 1.0", "absorbed, H=128, dc=512, dr=64, bf16", "2507.15465"),
        Claim("KV cache 93.3 % smaller, 5.76x generation throughput", "DeepSeek-V2 against DeepSeek 67B",
              "2405.04434, abstract"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        if self.form is not None:
            check_name("form", self.form, ("expanded", "absorbed"))
        for name in ("kv_rank", "rope_dim", "nope_dim", "value_dim"):
            check_size(name, getattr(self, name))

    def baseline(self, problem: Problem) -> Problem:
        """Multi-head attention with the same expanded heads."""
        return problem.with_(head_dim=self.nope_dim + self.rope_dim, v_dim=self.value_dim)

    def chosen_form(self, problem: Problem) -> str:
        """expanded or absorbed, as `form`, head_dim or the FLOP count says."""
        if self.form is not None:
            return self.form
        if is_symbol(problem.queries):
            return "expanded"
        if np.all(problem.head_dim == self.nope_dim + self.rope_dim):
            return "expanded"
        if np.all(problem.head_dim == self.kv_rank + self.rope_dim):
            return "absorbed"
        up = self.kv_rank * (self.nope_dim + self.value_dim)
        pairs = dense_mask(problem).pairs()
        expanded = pairs * (self.nope_dim + self.rope_dim + self.value_dim) + problem.kv_len * up
        absorbed = pairs * (2 * self.kv_rank + self.rope_dim) + problem.queries * up
        return "expanded" if expanded <= absorbed else "absorbed"

    def settled(self, problem: Problem) -> MultiHeadLatent:
        return replace(self, form=self.chosen_form(problem))

    def graph(self, problem: Problem) -> Graph:
        if problem.kv_heads != problem.heads and problem.kv_heads != 1:
            raise InputError("mla has one latent for all heads: kv_heads does not apply")
        absorbed = self.chosen_form(problem) == "absorbed"
        b, h, n, m = problem.batch, problem.heads, problem.queries, problem.kv_len
        up = 2 * b * h * self.kv_rank * (self.nope_dim + self.value_dim)
        weights = h * self.kv_rank * (self.nope_dim + self.value_dim)
        latent = b * m * (self.kv_rank + self.rope_dim)
        depth = self.nope_dim + self.rope_dim
        q, o = b * h * n * depth, b * h * n * self.value_dim
        wide = output_dtype(problem.dtype)
        tensors = [
            Tensor("q", q, problem.dtype, "input"),
            Tensor("latent", latent, problem.kv_dtype, "input"),
            Tensor("w_up", weights, problem.dtype, "weight"),
            Tensor("o", o, wide, "output"),
        ]
        if absorbed:
            dense = dense_part(problem, "absorb", ("q", "w_up", "o_latent"), ("q_latent", "o"), matrix=up * n)
            part = attention_part(
                problem, dense_mask(problem), kv_heads=1, depth=self.kv_rank + self.rope_dim, width=self.kv_rank,
                shared_kv=True, inputs=("q_latent", "latent", "latent"), output="o_latent",
            )  # fmt: skip
            tensors += [
                Tensor("q_latent", b * h * n * (self.kv_rank + self.rope_dim), problem.dtype, "intermediate"),
                Tensor("o_latent", b * h * n * self.kv_rank, wide, "intermediate"),
            ]
        else:
            dense = dense_part(problem, "up_project", ("latent", "w_up"), ("k", "v"), matrix=up * m)
            part = attention_part(
                problem, dense_mask(problem), kv_heads=h, depth=depth, width=self.value_dim, inputs=("q", "k", "v")
            )
            tensors += [
                Tensor("k", b * h * m * depth, problem.dtype, "intermediate"),
                Tensor("v", b * h * m * self.value_dim, problem.dtype, "intermediate"),
            ]
        if problem.direction == "backward":
            tensors += [
                Tensor("do", o, wide, "input"),
                Tensor("dq", q, wide, "output"),
                Tensor("dlatent", latent, wide, "output"),
                Tensor("dw_up", weights, wide, "output"),
            ]
        width = self.kv_rank + self.rope_dim
        return Graph((dense, part), tuple(tensors), cache_bytes(problem, m, kv_heads=1, width=width))


VARIANT = MultiHeadLatent
