"""Sliding window plus the first tokens of the sequence, "attention sinks" (StreamingLLM, 2309.17453)."""

from __future__ import annotations

from dataclasses import dataclass

from ..families.softmax import kept_keys, ragged, read_keys, softmax_graph
from ..families.window import window_sides
from ..graph import Graph
from ..masks import BandMask
from ..problem import Problem, check_size
from . import Claim, Variant


@dataclass(frozen=True)
class SinkWindow(Variant):
    """A window of `window` keys (the query among them) and the first `sinks` keys. Causal: s more keys per query
    past s + w; the cache keeps s + w keys."""

    window: int = 1020
    sinks: int = 4

    id = "sink-window"
    title = "Attention sinks with a sliding window"
    paper = "2309.17453"
    aliases = ("streaming-llm",)
    family = "softmax"
    formula = "j in [i - window + 1, i] or j < sinks"
    axes = (1,)
    claims = (
        Claim("up to 22.2x per decoded token over a sliding window with recomputation",
              "Llama-2-7B, A6000, cache 4096", "abstract, figure 10", checked=False),
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_size("window", self.window)
        check_size("sinks", self.sinks, minimum=0)

    def graph(self, problem: Problem) -> Graph:
        left, right = window_sides(self.window, None, None, problem.causal, 1020, problem.kv_len)
        mask = ragged(problem, lambda n, m: BandMask(n, m, left=left, right=right, sinks=self.sinks))
        kept = kept_keys(problem, left + 1, self.sinks) if problem.causal else problem.kv_len
        return softmax_graph(problem, mask, keys=read_keys(problem, left, right, self.sinks), kept=kept)


VARIANT = SinkWindow
