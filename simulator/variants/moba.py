"""Mixture of block attention: every query picks the top blocks of keys (Lu et al., 2502.13189)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import InputError
from ..families.dense import dense_part
from ..families.softmax import attention_part, attention_tensors, cache_bytes, dense_mask
from ..graph import Graph, Tensor
from ..masks import SelectedBlocksMask
from ..problem import Problem, check_size
from . import Claim, Variant


@dataclass(frozen=True)
class MixtureOfBlocks(Variant):
    """Each query attends to `top` blocks of `block` keys, its own (causal) among them. Selection: block means
    BGMd adds and gate scores 2BHN(M/b)d. Decoding is dense. Defaults: the paper's scaling-law setting."""

    block: int = 512
    top: int = 3

    id = "moba"
    title = "Mixture of block attention"
    paper = "2502.13189"
    family = "selected-block softmax"
    formula = "keys of the own block up to i, and of the top - 1 past blocks by q . mean(k)"
    causality = "causal"
    axes = (1,)
    vectorised = False
    claims = (
        Claim("6.5x prefill attention", "1M tokens, block 4096, top 12, against FlashAttention", "section 3.4"),
        Claim("16x attention time", "10M tokens, 64 blocks, top 3", "section 3.4"),
    )

    def __post_init__(self) -> None:
        check_size("block", self.block)
        check_size("top", self.top)

    def graph(self, problem: Problem) -> Graph:
        n, m = problem.queries, problem.kv_len
        if problem.documents is not None:
            raise InputError("moba takes one sequence: documents does not apply")
        mask = SelectedBlocksMask(n, m, self.block, self.top) if n > 1 else dense_mask(problem)
        part = attention_part(problem, mask)
        tensors = attention_tensors(problem, part)
        cache = cache_bytes(problem, m)
        if n == 1 or problem.direction == "backward":
            # Decoding is dense in the released code; choosing the top blocks has no gradient.
            return Graph((part,), tensors, cache)
        blocks = -(-m // self.block)
        heads = problem.batch * problem.heads
        gate = dense_part(
            problem, "gate", ("q", "k"), ("selection",), matrix=2 * heads * n * blocks * problem.head_dim,
            vector=problem.batch * problem.kv_heads * m * problem.head_dim + heads * n * blocks,
        )  # fmt: skip
        selection = Tensor("selection", heads * n * self.top, "fp32", "intermediate")
        first = replace(part.ops[0], inputs=(*part.ops[0].inputs, "selection"))
        return Graph((gate, replace(part, ops=(first, *part.ops[1:]))), (*tensors, selection), cache)


VARIANT = MixtureOfBlocks
