"""Shifted-window attention: windows that do not overlap, shifted in every second layer (Liu et al., 2103.14030)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from ..families.softmax import attention_part, attention_tensors, cache_bytes
from ..graph import Graph
from ..masks import WindowsMask
from ..problem import Problem, check_size
from . import Variant, per_axis


@dataclass(frozen=True)
class Swin(Variant):
    """w^2 keys per query, one learned bias added per pair. shift: 0, or half a window: the windows wrap around
    and pairs of different regions are masked, the tile is computed in full."""

    window: Any = 7
    shift: Any = 0

    id = "swin"
    title = "Shifted-window attention"
    paper = "2103.14030"
    aliases = ("shifted-window",)
    family = "softmax"
    formula = "j in the window of i"
    causality = "none"
    vectorised = False
    decode = False

    def __post_init__(self) -> None:
        for name, least in (("window", 1), ("shift", 0)):
            value = getattr(self, name)
            for one in value if isinstance(value, (tuple, list)) else (value,):
                check_size(name, one, minimum=least)

    def graph(self, problem: Problem) -> Graph:
        axes = len(problem.shape)
        window, shift = per_axis("window", self.window, axes), per_axis("shift", self.shift, axes)
        if any(w > length for w, length in zip(window, problem.shape, strict=True)):
            raise InputError(f"window {'x'.join(map(str, window))} is larger than the shape "
                             f"{'x'.join(map(str, problem.shape))}")  # fmt: skip
        if problem.kv_len != problem.queries:
            raise InputError("swin is self-attention over one token layout: kv_len does not apply")
        mask = WindowsMask(problem.shape, window, shift)
        part = attention_part(problem, mask, extra_vector=1)
        return Graph((part,), attention_tensors(problem, part), cache_bytes(problem, problem.kv_len))


VARIANT = Swin
