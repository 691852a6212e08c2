"""PADRe: polynomials of the input in place of attention (Letourneau et al., 2407.11306)."""

from __future__ import annotations

from dataclasses import dataclass

from ..families.dense import dense_part
from ..graph import Graph, Tensor
from ..problem import Problem, check_size, output_dtype
from . import Claim, Variant


@dataclass(frozen=True)
class Padre(Variant):
    """Degree p: 2p - 1 pairs of a channel mix (2BND^2) and a depthwise token mix (2 k^axes BND), and p - 1
    elementwise products BND. No pairs, no exponentials; D = heads x head_dim."""

    degree: int = 3
    kernel: int = 11

    id = "padre"
    title = "PADRe: polynomial attention drop-in replacement"
    paper = "2407.11306"
    family = "convolutional"
    formula = "z_(p+1) = mix(z_p) o mix_p(x), mix = token convolution after channel product"
    causality = "none"
    has_pairs = False
    decode = False
    claims = (Claim("11x to 43x against self-attention", "server GPU and mobile NPU", "abstract", checked=False),)

    def __post_init__(self) -> None:
        check_size("degree", self.degree)
        check_size("kernel", self.kernel)

    def graph(self, problem: Problem) -> Graph:
        rows = problem.batch * problem.queries
        width = problem.heads * problem.head_dim
        taps = self.kernel ** len(problem.shape)
        mixes = 2 * self.degree - 1
        part = dense_part(
            problem, "mixes", ("x", "w_channel", "w_token"), ("o",),
            matrix=mixes * (2 * rows * width * width + 2 * taps * rows * width),
            vector=(self.degree - 1) * rows * width,
        )  # fmt: skip
        wide = output_dtype(problem.dtype)
        tensors = [
            Tensor("x", rows * width, problem.dtype, "input"),
            Tensor("w_channel", mixes * width * width, problem.dtype, "weight"),
            Tensor("w_token", mixes * taps * width, problem.dtype, "weight"),
            Tensor("o", rows * width, wide, "output"),
        ]
        if problem.direction == "backward":
            tensors += [
                Tensor("do", rows * width, wide, "input"),
                Tensor("dx", rows * width, wide, "output"),
                Tensor("dw_channel", mixes * width * width, wide, "output"),
            ]
        return Graph((part,), tuple(tensors), 0)


VARIANT = Padre
