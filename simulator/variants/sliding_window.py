"""Sliding-window attention, causal or centred (Longformer, 2004.05150; Mistral 7B, 2310.06825)."""

from __future__ import annotations

from dataclasses import dataclass

from ..algebra import Number
from ..families.softmax import kept_keys, ragged, read_keys, softmax_graph
from ..families.window import window_sides
from ..graph import Graph
from ..masks import BandMask
from ..problem import Problem
from . import Claim, Variant


@dataclass(frozen=True)
class SlidingWindow(Variant):
    """Each query sees `left` keys before and `right` keys after it. window: the number of keys, the query among
    them, in place of the two (default 4096). Causal: Nw - w(w-1)/2 pairs; the cache keeps min(M, w) keys."""

    window: int | None = None
    left: int | None = None
    right: int | None = None

    id = "sliding-window"
    title = "Sliding-window attention"
    paper = "2004.05150"
    aliases = ("swa",)
    family = "softmax"
    formula = "j in [i - left, i + right]"
    axes = (1,)
    claims = (
        Claim("2x faster than full attention at 16k", "Mistral 7B, window 4096, FlashAttention and xFormers",
              "2310.06825, section 2", checked=False),
    )  # fmt: skip

    def __post_init__(self) -> None:
        window_sides(self.window, self.left, self.right, False, 4096, 2**40)

    def sides(self, problem: Problem) -> tuple[Number, Number]:
        """left and right for a problem, clamped to its keys."""
        return window_sides(self.window, self.left, self.right, problem.causal, 4096, problem.kv_len)

    def graph(self, problem: Problem) -> Graph:
        left, right = self.sides(problem)
        mask = ragged(problem, lambda n, m: BandMask(n, m, left=left, right=right))
        kept = kept_keys(problem, left + 1) if problem.causal else problem.kv_len
        return softmax_graph(problem, mask, keys=read_keys(problem, left, right), kept=kept)


VARIANT = SlidingWindow
