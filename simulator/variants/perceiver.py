"""Perceiver: latents attend to the input, then to each other (Jaegle et al., 2103.03206)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..families.softmax import attention_part
from ..graph import Graph, Tensor
from ..masks import BandMask
from ..problem import Problem, check_size, nbytes, output_dtype
from . import Variant


@dataclass(frozen=True)
class Perceiver(Variant):
    """A block is one cross-attention of L latents with one head as wide as the input (heads x head_dim), 4BLM dc
    FLOPs, and `layers` self-attentions of the latents, 4BL^2 D each. blocks: repetitions (weights may be tied,
    time is not)."""

    latents: int = 512
    layers: int = 6
    blocks: int = 1

    id = "perceiver"
    title = "Perceiver"
    paper = "2103.03206"
    family = "bottleneck"
    formula = "z = attention(z, x, x); then z = attention(z, z, z), `layers` times"
    causality = "none"
    backward = False
    decode = False

    def __post_init__(self) -> None:
        check_size("latents", self.latents)
        check_size("layers", self.layers, minimum=0)
        check_size("blocks", self.blocks)

    def graph(self, problem: Problem) -> Graph:
        width = problem.heads * problem.head_dim
        latents, inputs = self.latents, problem.queries
        cross_problem = problem.with_(shape=(latents,), kv_len=inputs)
        self_problem = problem.with_(shape=(latents,), kv_len=latents)
        times = self.blocks
        cross = attention_part(
            cross_problem.with_(batch=problem.batch * times), BandMask(latents, inputs), name="cross", heads=1,
            kv_heads=1, depth=width, width=width, inputs=("z", "x", "xv"), output="z1",
        )  # fmt: skip
        tensors = [
            Tensor("z", problem.batch * latents * width, problem.dtype, "input"),
            Tensor("x", problem.batch * inputs * width, problem.kv_dtype, "input"),
            Tensor("xv", problem.batch * inputs * width, problem.kv_dtype, "input"),
            Tensor("z1", problem.batch * latents * width, problem.dtype, "intermediate"),
        ]
        parts = [cross]
        if self.layers:
            own = attention_part(
                self_problem.with_(batch=problem.batch * times * self.layers), BandMask(latents, latents),
                name="latent", kv_heads=problem.heads, width=problem.head_dim, inputs=("z1", "z1", "z1"),
            )  # fmt: skip
            parts.append(own)
            tensors.append(Tensor("o", problem.batch * latents * width, output_dtype(problem.dtype), "output"))
        else:
            tensors[-1] = replace(tensors[-1], role="output")
        return Graph(tuple(parts), tuple(tensors), nbytes(problem.batch * latents * width, problem.dtype))


VARIANT = Perceiver
