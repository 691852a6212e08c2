"""A mask of the user's own: kept blocks, a flex_attention BlockMask, or a pair rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..families.softmax import dense_mask, softmax_graph
from ..graph import Graph
from ..masks import BlockMask, Mask, from_flex, from_rule
from ..problem import Problem, check_size
from . import Variant, per_axis


@dataclass(frozen=True)
class UserMask(Variant):
    """mask: a boolean array of kept blocks (queries by keys) or the path of one (`.npy`); in Python also a
    flex_attention BlockMask, or a rule `f(i, j)` over integer arrays. block: tokens a block, queries x keys.
    Without a mask every block is kept."""

    mask: Any = None
    block: Any = (128, 128)
    made: dict[Problem, Mask] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Masks already made, so that moving other numbers evaluates no rule again."""

    id = "block-mask"
    title = "Block mask of the user's own"
    paper = ""
    family = "selected-block softmax"
    formula = "pairs of kept blocks"
    axes = (1, 2, 3)
    vectorised = False

    def __post_init__(self) -> None:
        for one in per_axis("block", self.block, 2):
            check_size("block", one)

    def blocks(self) -> Any:
        """The boolean block array. Raises InputError for unreadable files and arrays that are no block mask."""
        if not isinstance(self.mask, (str, Path)):
            return np.asarray(self.mask)
        try:
            return np.load(self.mask, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"cannot read the block mask {str(self.mask)!r}: {error}") from None

    def make_mask(self, problem: Problem) -> Mask:
        """The mask over the problem's tokens."""
        if self.mask is None:
            return dense_mask(problem)
        if hasattr(self.mask, "kv_num_blocks"):
            return from_flex(self.mask)
        n, m = problem.queries, problem.kv_len
        if callable(self.mask):
            return from_rule(self.mask, n, m)
        blocks = self.blocks()
        block = per_axis("block", self.block, 2)
        expected = (-(-n // block[0]), -(-m // block[1]))
        if blocks.dtype != np.bool_ or blocks.shape != expected:
            raise InputError(
                f"the block mask is {'x'.join(map(str, blocks.shape))} of {blocks.dtype}; {n} queries by {m} keys in "
                f"blocks of {block[0]}x{block[1]} need {expected[0]}x{expected[1]} of bool"
            )
        return BlockMask(blocks, block, n, m, causal=problem.causal)

    def graph(self, problem: Problem) -> Graph:
        tokens = Problem(shape=problem.shape, kv_len=problem.kv_len, causal=problem.causal, documents=problem.documents)
        mask = self.made.get(tokens) or self.make_mask(problem)
        self.made[tokens] = mask
        if (mask.queries, mask.keys) != (problem.queries, problem.kv_len):
            raise InputError(f"the mask is over {mask.queries} queries and {mask.keys} keys; the problem has "
                             f"{problem.queries} and {problem.kv_len}")  # fmt: skip
        return softmax_graph(problem, mask)


VARIANT = UserMask
