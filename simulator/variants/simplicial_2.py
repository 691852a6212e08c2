"""2-simplicial attention: a query and two keys in one score (Roy et al., 2507.02754)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..algebra import Number
from ..errors import InputError
from ..families.softmax import attention_part, attention_tensors, cache_bytes
from ..graph import Graph, Op, Tensor
from ..masks import BandMask
from ..problem import Problem, check_size
from . import Claim, Variant


def triples(n: Number, w1: int, w2: int) -> Number:
    """sum over queries of min(i + 1, w1) min(i + 1, w2): causal windows of two keys."""
    low, high = min(w1, w2), max(w1, w2)
    if type(n) is not int:
        raise InputError("simplicial-2 counts whole sequences one at a time")
    a = min(n, low)
    b = min(n, high)
    squares = a * (a + 1) * (2 * a + 1) // 6
    ramp = low * (b * (b + 1) - a * (a + 1)) // 2
    return squares + ramp + low * high * (n - b)


@dataclass(frozen=True)
class TwoSimplicial(Variant):
    """Scores (q o k') . k over windows of window1 first and window2 second keys: 2d FLOPs a triple, values
    (v o v') 2dv, one exponential; the paper counts 6 N w1 w2, its extra product included. Here that is on the vector
    unit: q o k' BHN w2 d; v o v' BGN w1 w2 dv, or (p v) o v' for each second key and a sum, 2BHN w2 dv, if less."""

    window1: int = 512
    window2: int = 32

    id = "simplicial-2"
    title = "2-simplicial attention"
    paper = "2507.02754"
    aliases = ("two-simplicial",)
    family = "higher-order"
    formula = "o_i = sum_jk softmax_jk(sum_d q_id k_jd k'_kd / sqrt(d)) (v_j o v'_k)"
    causality = "causal"
    axes = (1,)
    vectorised = False
    has_pairs = False
    claims = (
        Claim("520 TFLOP/s", "Triton kernel, H100", "section 6"),
        Claim("55.1 ms", "16k tokens, w1=512, w2=32", "Table 1"),
        Claim("equal FLOPs to causal attention at N = 3 w1 w2 = 49152", "w1=512, w2=32", "section 5"),
    )

    def __post_init__(self) -> None:
        check_size("window1", self.window1)
        check_size("window2", self.window2)

    def graph(self, problem: Problem) -> Graph:
        n, m, h = problem.queries, problem.kv_len, problem.heads
        if n not in (m, 1) or problem.documents is not None:
            raise InputError("simplicial-2 is modelled for whole sequences (kv_len = seq) and single-token decode")
        w1, w2 = min(self.window1, m), min(self.window2, m)
        total = w1 * w2 if n == 1 else triples(n, w1, w2)
        mask = BandMask(n, m, left=w1 - 1, right=0)
        # One pass over the first window for every second key: the pairs of the band, total / pairs times.
        part = attention_part(problem, mask, heads=h * total / mask.pairs())
        d, dv = problem.head_dim, problem.v_dim
        second_pairs = BandMask(n, m, left=w2 - 1, right=0).pairs()
        values = min(problem.kv_heads * total, 2 * h * second_pairs) * dv
        products = Op("products", ("q", "k2", "v2"), (), vector=problem.batch * (h * second_pairs * d + values))
        tensors = attention_tensors(problem, replace(part, heads=h))
        second = problem.batch * problem.kv_heads * m
        tensors += (
            Tensor("k2", second * d, problem.kv_dtype, "input"),
            Tensor("v2", second * dv, problem.kv_dtype, "input"),
        )
        kept = cache_bytes(problem, w1) + cache_bytes(problem, w2)
        return Graph((replace(part, ops=(*part.ops, products), query_heads=h),), tensors, kept)


VARIANT = TwoSimplicial
