"""Multi-query attention: one key and value head for all query heads (Shazeer, 1911.02150)."""

from __future__ import annotations

from dataclasses import dataclass

from ..problem import Problem
from . import Claim
from .mha import MultiHead


@dataclass(frozen=True)
class MultiQuery(MultiHead):
    """FLOPs as mha; K and V are 2BMd values, a factor H fewer; decode intensity grows by H."""

    id = "mqa"
    title = "Multi-query attention"
    paper = "1911.02150"
    aliases = ()
    claims = (Claim("much faster decoding at a minor loss of quality", "one kv head", "abstract"),)

    def prepare(self, problem: Problem) -> Problem:
        return super().prepare(problem).with_(kv_heads=1)


VARIANT = MultiQuery
