"""Grouped-query attention: groups of query heads share a key and value head (Ainslie et al., 2305.13245)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..algebra import is_symbol
from ..errors import InputError
from ..problem import Problem, check_size
from . import Claim
from .mha import MultiHead


@dataclass(frozen=True)
class GroupedQuery(MultiHead):
    """FLOPs as mha; K and V are 2BGMd values. kv_groups: kv heads G where the problem has as many kv heads as
    query heads (the paper's G = 8); a problem with fewer kv_heads keeps its own."""

    kv_groups: int = 8

    id = "gqa"
    title = "Grouped-query attention"
    paper = "2305.13245"
    aliases = ()
    claims = (Claim("quality close to mha at the speed of mqa", "T5-XXL, G = 8", "abstract"),)

    def __post_init__(self) -> None:
        check_size("kv_groups", self.kv_groups)

    def prepare(self, problem: Problem) -> Problem:
        problem = super().prepare(problem)
        if np.any(problem.kv_heads != problem.heads):
            return problem
        if not is_symbol(problem.heads) and np.any(problem.heads % self.kv_groups != 0):
            raise InputError(f"kv_groups {self.kv_groups} does not divide heads {problem.heads}")
        return problem.with_(kv_heads=self.kv_groups)


VARIANT = GroupedQuery
