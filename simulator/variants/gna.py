"""Generalised neighbourhood attention in 1 to 3 dimensions (Hassani et al., 2504.16922; NA 2204.07143, FNA 2403.04690).

Per axis of length L, window w, stride s: queries in groups of s share the window of their middle query,
min(g s + s // 2, L - 1); it starts at middle - w // 2, clamped inside. Causal: the last query of the group
leads, and only keys at or before the query attend. Stride 1 is neighbourhood attention, stride w blocked
attention; dilation regroups tokens by residue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError
from ..families.softmax import softmax_graph
from ..graph import Graph
from ..masks import NeighbourhoodMask
from ..problem import Problem, check_size
from . import Claim, Variant, per_axis


@dataclass(frozen=True)
class GeneralisedNeighbourhood(Variant):
    """prod(w) keys per query, corners too (causal axes: min(i + 1, w)). Every parameter is one value or one per
    axis. window: keys along the axis, at most its length (default 13, or the axis if shorter)."""

    window: Any = None
    stride: Any = 1
    dilation: Any = 1
    causal: Any = False

    id = "gna"
    title = "Generalised neighbourhood attention"
    paper = "2504.16922"
    aliases = ("na", "fna", "neighborhood", "neighbourhood", "dilated-na")
    family = "softmax"
    formula = "per axis: j in [start, start + w), start = clip(leader(i) - w // 2, 0, L - w)"
    vectorised = False
    claims = (
        Claim("1.63x end to end", "HunyuanVideo 30x48x80, window 18x24x24, stride 16x8x8, B200, 35 of 50 steps",
              "section 5"),
        Claim("1.26x end to end", "Cosmos-7B 16x44x80, window 16x32x48, stride 1x8x16, B200, 23 of 35 steps",
              "section 5"),
        Claim("1.45x end to end", "FLUX 256x256, window 80x80, stride 16x16, B200, 19 of 28 steps", "section 5"),
        Claim("1.2 PFLOP/s fp16", "fully block-sparse configurations, B200", "later version, body"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name in ("window", "stride", "dilation"):
            value = getattr(self, name)
            for one in value if isinstance(value, (tuple, list)) else (value,):
                if not (name == "window" and one is None):
                    check_size(name, one)
        flags = self.causal if isinstance(self.causal, (tuple, list)) else (self.causal,)
        if any(type(flag) is not bool for flag in flags):
            raise InputError(f"causal is {self.causal!r}; allowed: true or false, for all axes or for each")

    def mask(self, problem: Problem) -> NeighbourhoodMask:
        """The mask on the problem's token layout. Raises InputError for windows, strides or dilations too large."""
        axes = len(problem.shape)
        dilation = per_axis("dilation", self.dilation, axes)
        window = per_axis("window", self.window, axes)
        stride = per_axis("stride", self.stride, axes)
        causal = per_axis("causal", self.causal or problem.causal, axes)
        smallest = tuple(length // d for length, d in zip(problem.shape, dilation, strict=True))
        window = tuple(max(1, min(13, s)) if w is None else w for w, s in zip(window, smallest, strict=True))
        for axis, length in enumerate(problem.shape):
            w, s, d = window[axis], stride[axis], dilation[axis]
            if w * d > length:
                spread = f" at dilation {'x'.join(map(str, dilation))}" if max(dilation) > 1 else ""
                raise InputError(f"window {'x'.join(map(str, window))}{spread} is larger than the shape "
                                 f"{'x'.join(map(str, problem.shape))}")  # fmt: skip
            if s > w:
                raise InputError(f"stride {'x'.join(map(str, stride))} exceeds window {'x'.join(map(str, window))}")
        return NeighbourhoodMask(problem.shape, window, stride, dilation, causal)

    def prepare(self, problem: Problem) -> Problem:
        problem = super().prepare(problem)
        if problem.kv_len != problem.queries or problem.documents is not None:
            raise InputError("gna is self-attention over one token layout: kv_len and documents do not apply")
        # On one axis the windows' causality is the problem's, and so the baseline's.
        one_axis = len(problem.shape) == 1 and per_axis("causal", self.causal, 1)[0]
        return problem.with_(causal=True) if one_axis else problem

    def moves(self, problem: Problem) -> Iterator[tuple[str, GeneralisedNeighbourhood]]:
        """Coarser strides worth a try: powers of two that kernels' tiles have as sides."""
        window = self.mask(problem).window
        for first, others in ((16, 8), (8, 8), (16, 16), (4, 8), (2, 8)):
            limits = (first,) + (others,) * (len(window) - 1)
            stride = tuple(min(w, s) for w, s in zip(window, limits, strict=True))
            if stride != per_axis("stride", self.stride, len(window)):
                yield f"stride {'x'.join(map(str, stride))}", replace(self, stride=stride)

    def graph(self, problem: Problem) -> Graph:
        return softmax_graph(problem, self.mask(problem))


VARIANT = GeneralisedNeighbourhood
