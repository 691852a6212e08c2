"""Radial attention for video: the kept width decays with the distance in time (Li et al., 2506.19852)."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ..errors import InputError
from ..families.softmax import softmax_graph
from ..graph import Graph
from ..masks import BlockMask, radial_blocks
from ..problem import Problem, check_size
from . import Claim, Variant


@dataclass(frozen=True)
class Radial(Variant):
    """Frames are the first axis of the token layout; blocks of `block` tokens are kept by the released rule
    (radial_attn/attn_mask.py). decay: width factor. sink: frame 0 is seen by all (Wan)."""

    decay: float = 0.95
    sink: bool = False
    block: int = 128

    id = "radial"
    title = "Radial attention"
    paper = "2506.19852"
    family = "softmax"
    formula = "frame distance t: |column offset| <= decay 2^bitlen(s) / 2^bitlen(t); then whole blocks"
    causality = "none"
    axes = (2, 3)
    vectorised = False
    decode = False
    claims = (
        Claim("up to 1.9x end to end", "HunyuanVideo and Wan at default length", "abstract"),
        Claim("up to 3.7x end to end", "4x longer video, fine-tuned", "abstract"),
        Claim("attention 9x cheaper", "about 500 frames", "README"),
    )

    def __post_init__(self) -> None:
        check_size("block", self.block)
        if isinstance(self.decay, bool) or not isinstance(self.decay, (int, float)) or not 0 < self.decay <= 1000:
            raise InputError(f"decay is {self.decay!r}; allowed: a number above 0")

    def graph(self, problem: Problem) -> Graph:
        if problem.kv_len != problem.queries:
            raise InputError("radial is self-attention over one token layout: kv_len does not apply")
        frames = problem.shape[0]
        return softmax_graph(problem, _mask(frames, problem.queries // frames, self.decay, self.sink, self.block))


@functools.lru_cache(maxsize=8)
def _mask(frames: int, per_frame: int, decay: float, sink: bool, block: int) -> BlockMask:
    """The mask of a video, kept for the next question about the same one."""
    tokens = frames * per_frame
    blocks = radial_blocks(frames, per_frame, decay=decay, sink=sink, block=block)
    return BlockMask(blocks, (block, block), tokens, tokens)


VARIANT = Radial
