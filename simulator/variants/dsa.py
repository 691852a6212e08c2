"""DeepSeek sparse attention (DeepSeek-V3.2, 2512.02556): a light indexer picks the keys of every query.

The indexer scores every key (inference/model.py of DeepSeek-V3.2-Exp: fp8 heads, ReLU, weighted sum over heads), the
best `top` are selected, and latent attention in its absorbed form runs over those alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..algebra import Number, minimum
from ..errors import InputError
from ..families.dense import dense_part
from ..families.softmax import attention_part, cache_bytes, dense_mask
from ..graph import Graph, Op, Part, Tensor
from ..masks import TopKeysMask
from ..problem import Problem, check_name, check_size, nbytes, output_dtype
from . import Variant

STAGES = ("index", "select", "attention")


@dataclass(frozen=True)
class DeepSeekSparse(Variant):
    """Index 2BHi P di in fp8 and 3BHi P vector FLOPs over the causal pairs P; select the best `top` of each row; attend
    2BHS(dc + dr) + 2BHS dc over the S = sum min(top, i) selected pairs; absorb 2BN dc H(d_nope + d_v). Cache:
    BM(dc + dr) and BM(di + 4 bytes).

    stage: one of its kernels alone (index | select | attention). same_keys: every query selects the same keys, as
    benchmarks of the kernels have it. Sizes: DeepSeek-V3.2 (inference/config_671B_v3.2.json).
    """

    top: int = 2048
    index_heads: int = 64
    index_dim: int = 128
    kv_rank: int = 512
    rope_dim: int = 64
    nope_dim: int = 128
    value_dim: int = 128
    stage: str | None = None
    same_keys: bool = False

    id = "dsa"
    title = "DeepSeek sparse attention"
    paper = "2512.02556"
    family = "selected-key latent"
    formula = "keys j with the `top` largest sum_h w_h relu(q_I,h . k_I,j) up to i"
    aliases = ("deepseek-sparse-attention",)
    causality = "causal"
    axes = (1,)
    backward = False

    def __post_init__(self) -> None:
        for name in ("top", "index_heads", "index_dim", "kv_rank", "rope_dim", "nope_dim", "value_dim"):
            check_size(name, getattr(self, name))
        if self.stage is not None:
            check_name("stage", self.stage, STAGES)

    def baseline(self, problem: Problem) -> Problem:
        """Multi-head attention with the expanded heads of the same model."""
        return problem.with_(head_dim=self.nope_dim + self.rope_dim, v_dim=self.value_dim)

    def graph(self, problem: Problem) -> Graph:
        if problem.documents is not None:
            raise InputError("dsa takes one sequence: documents does not apply")
        if isinstance(problem.kv_heads, int) and problem.kv_heads not in (1, problem.heads):
            raise InputError("dsa has one latent for all heads: kv_heads does not apply")
        parts = {"index": self._index(problem), "select": self._select(problem), "attention": self._attend(problem)}
        tensors = self._tensors(problem, parts["index"].pairs)
        cache = cache_bytes(problem, problem.kv_len, kv_heads=1, width=self.kv_rank + self.rope_dim)
        cache = cache + problem.batch * problem.kv_len * (nbytes(self.index_dim, "fp8") + 4)
        if self.stage is None:
            up = 2 * problem.batch * problem.heads * self.kv_rank * (self.nope_dim + self.value_dim)
            absorb = dense_part(problem, "absorb", ("q", "w_up", "o_latent"), ("q_latent", "o"),
                                matrix=up * problem.queries)  # fmt: skip
            return Graph((parts["index"], parts["select"], absorb, parts["attention"]), tensors, cache)
        part = replace(parts[self.stage], kernel="")
        read = {name for op in part.ops for name in op.inputs}
        made = {name for op in part.ops for name in op.outputs}
        alone = tuple(
            replace(t, role="input" if t.name in read else "output") for t in tensors if t.name in read | made
        )
        return Graph((part,), alone, cache)

    def _index(self, problem: Problem) -> Part:
        mask = dense_mask(problem)
        ops = (
            Op("index.qk", ("q_index", "k_index", "k_scale"), ("index.scores",), matrix=2 * self.index_dim, per="pair",
               role="scores"),
            Op("index.sum", ("index.scores", "w_index"), ("logits",), vector=3, per="pair", role="scores"),
        )  # fmt: skip
        return Part(
            "index", "index", ops, "fp8", "fp8", mask=mask, pairs=mask.pairs(), batch=problem.batch,
            heads=self.index_heads, kv_heads=1, depth=self.index_dim, shared_kv=True, tokens=problem.queries,
            keys=problem.kv_len, tile=(128, 256, self.index_heads), kernel="deepgemm-mqa-logits",
        )  # fmt: skip

    def _select(self, problem: Problem) -> Part:
        mask = dense_mask(problem)
        ops = (Op("select.bins", ("logits",), ("selection",), vector=1, per="pair", role="scores"),)
        return Part(
            "select", "select", ops, problem.dtype, "fp32", mask=mask, pairs=mask.pairs(), batch=problem.batch,
            kv_heads=1, depth=1, shared_kv=True, tokens=problem.queries, keys=problem.kv_len, selected=self.top,
            tile=(1, 1024, 1), kernel="topk-select",
        )  # fmt: skip

    def _attend(self, problem: Problem) -> Part:
        mask = TopKeysMask(problem.queries, problem.kv_len, self.top, causal=not self.same_keys)
        part = attention_part(
            problem, mask, kv_heads=1, depth=self.kv_rank + self.rope_dim, width=self.kv_rank, shared_kv=True,
            inputs=("q_latent", "latent", "latent"), output="o_latent",
        )  # fmt: skip
        first = replace(part.ops[0], inputs=(*part.ops[0].inputs, "selection"))
        return replace(part, ops=(first, *part.ops[1:]), selected=self.top)

    def _tensors(self, problem: Problem, pairs: Number) -> tuple[Tensor, ...]:
        b, h, n, m = problem.batch, problem.heads, problem.queries, problem.kv_len
        wide = output_dtype(problem.dtype)
        # At least: which keys are selected, and whether queries differ in it, is content.
        read = minimum(m, self.top)
        return (
            Tensor("q_index", b * n * self.index_heads * self.index_dim, "fp8", "input"),
            Tensor("w_index", b * n * self.index_heads, "fp32", "input"),
            Tensor("k_index", b * m * self.index_dim, "fp8", "input"),
            Tensor("k_scale", b * m, "fp32", "input"),
            Tensor("logits", b * pairs, "fp32", "intermediate"),
            Tensor("selection", b * n * self.top, "fp32", "intermediate"),
            Tensor("q", b * h * n * (self.nope_dim + self.rope_dim), problem.dtype, "input"),
            Tensor("w_up", h * self.kv_rank * (self.nope_dim + self.value_dim), problem.dtype, "weight"),
            Tensor("q_latent", b * h * n * (self.kv_rank + self.rope_dim), problem.dtype, "intermediate"),
            Tensor("latent", b * read * (self.kv_rank + self.rope_dim), problem.kv_dtype, "input"),
            Tensor("o_latent", b * h * n * self.kv_rank, wide, "intermediate"),
            Tensor("o", b * h * n * self.value_dim, wide, "output"),
        )


VARIANT = DeepSeekSparse
