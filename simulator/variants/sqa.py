"""Sparse query attention: fewer query heads, so fewer scores (Filipek, 2510.01817)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..algebra import Number
from ..errors import InputError
from ..families.softmax import dense_mask, softmax_graph
from ..graph import Graph
from ..problem import Problem, check_size
from . import Claim, Variant


@dataclass(frozen=True)
class SparseQuery(Variant):
    """4B Hq NMd FLOPs and B Hq NM exponentials; decode bytes depend on the kv heads alone. query_heads,
    key_heads: Hq and Hkv; None: half and a quarter of the problem's heads (SQA of the paper: 8 and 4 of 16)."""

    query_heads: int | None = None
    key_heads: int | None = None

    id = "sqa"
    title = "Sparse query attention"
    paper = "2510.01817"
    family = "softmax"
    formula = "mha with Hq < H query heads"
    claims = (
        Claim("2.04x forward", "H=16, Hq=8, Hkv=4, d=16, N=200k, 8 layers, A100 40 GB, FlashAttention 2.7.4",
              "Table 3"),
        Claim("1.94x forward", "sSQA: Hq=8, Hkv=8, same setting", "Table 3"),
        Claim("3.51x forward", "xSQA: Hq=4, Hkv=4, same setting", "Table 3"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("query_heads", "key_heads"):
            if getattr(self, name) is not None:
                check_size(name, getattr(self, name))

    def sizes(self, problem: Problem) -> tuple[Number, Number]:
        """Hq and Hkv for a problem."""
        hq = self.query_heads if self.query_heads is not None else problem.heads / 2
        hkv = self.key_heads if self.key_heads is not None else problem.heads / 4
        if type(problem.heads) is int:
            if hq != int(hq) or hkv != int(hkv):
                raise InputError(f"sqa halves and quarters heads; {problem.heads} is no multiple of 4")
            hq, hkv = int(hq), int(hkv)
        if isinstance(hq, (int, np.ndarray)) and (np.any(np.asarray(hq > problem.heads)) or np.any(hq % hkv != 0)):
            raise InputError(f"sqa needs query_heads {hq} <= heads {problem.heads}, a multiple of key_heads {hkv}")
        return hq, hkv

    def graph(self, problem: Problem) -> Graph:
        hq, hkv = self.sizes(problem)
        smaller = problem.with_(heads=hq, kv_heads=hkv)
        return softmax_graph(smaller, dense_mask(smaller))


VARIANT = SparseQuery
