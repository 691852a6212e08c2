"""Attention in chunks of queries and keys with a running softmax (Rabe and Staats, 2112.05682)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..algebra import ceil_div
from ..families.softmax import attention_part, attention_tensors, cache_bytes, dense_mask
from ..graph import Graph, Op
from ..problem import Problem, check_size
from . import Claim, Variant


@dataclass(frozen=True)
class ChunkedSoftmax(Variant):
    """Matrix work and exponentials as mha, and one rescaling of the running numerator for each key chunk:
    BHNd ceil(M/kc) FMA and BHN ceil(M/kc) exponentials."""

    query_chunk: int = 1024
    key_chunk: int = 4096

    id = "chunked-softmax"
    title = "Self-attention does not need O(n^2) memory"
    paper = "2112.05682"
    aliases = ("mea",)
    family = "softmax"
    formula = "mha, scores of query_chunk x key_chunk alive at a time"
    claims = (
        Claim("memory overhead 59x smaller (inference), 32x (differentiation)", "N = 16384", "abstract"),
        Claim("runtime within a few percent of standard attention", "TPU", "section 4"),
    )

    def __post_init__(self) -> None:
        check_size("query_chunk", self.query_chunk)
        check_size("key_chunk", self.key_chunk)

    def graph(self, problem: Problem) -> Graph:
        part = attention_part(problem, dense_mask(problem))
        rows = problem.batch * problem.heads * problem.queries
        chunks = ceil_div(problem.kv_len, self.key_chunk)
        rescale = Op(
            "attention.rescale", ("o",), ("o",), vector=2 * rows * chunks * problem.v_dim, special=rows * chunks
        )
        part = replace(part, ops=(*part.ops, rescale))
        return Graph((part,), attention_tensors(problem, part), cache_bytes(problem, problem.kv_len))


VARIANT = ChunkedSoftmax
