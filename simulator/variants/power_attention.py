"""PowerAttention: sink, local window, and blocks at power-of-two distances (Chen et al., 2503.03588)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ..algebra import ceil_div
from ..errors import InputError
from ..families.softmax import softmax_graph
from ..graph import Graph
from ..masks import BlockMask, power_blocks
from ..problem import Problem, check_size
from . import Claim, Variant


@dataclass(frozen=True)
class PowerAttention(Variant):
    """Block distance d attends if d < window_blocks, d is a power of two, or the key block is a sink. A late
    query sees (sinks + W + floor(log2(n - 1)) - floor(log2(W - 1))) blocks of n; the whole cache must be kept."""

    block: int = 256
    window_blocks: int = 5
    sink_blocks: int = 1

    id = "power-attention"
    title = "PowerAttention"
    paper = "2503.03588"
    family = "softmax"
    formula = "block distance d: d < W, or d & (d - 1) == 0, or a sink block; causal"
    causality = "causal"
    axes = (1,)
    vectorised = False
    claims = (
        Claim("3.0x over full attention", "128k tokens, prefill and decode, whole model", "abstract"),
        Claim("21.6x kernel", "128k tokens", "secondary source", checked=False),
    )

    def __post_init__(self) -> None:
        check_size("block", self.block)
        check_size("window_blocks", self.window_blocks)
        check_size("sink_blocks", self.sink_blocks, minimum=0)

    def graph(self, problem: Problem) -> Graph:
        if problem.documents is not None:
            raise InputError("power-attention takes one sequence: documents does not apply")
        n, b = problem.queries, self.block
        if n != problem.kv_len:
            raise InputError("power-attention is modelled for self-attention (kv_len = seq)")
        return softmax_graph(problem, _mask(n, b, self.window_blocks, self.sink_blocks))


@functools.lru_cache(maxsize=16)
def _mask(tokens: int, block: int, window: int, sinks: int) -> BlockMask:
    """The mask of a sequence, kept for the next question about the same one."""
    blocks = power_blocks(ceil_div(tokens, block), window=window, sinks=sinks)
    return BlockMask(blocks, (block, block), tokens, tokens, causal=True)


VARIANT = PowerAttention
