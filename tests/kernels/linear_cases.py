"""What the tests of chunked kernels share: problems, configs, the float64 truth, the same in low precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from attnsim import Problem, variants
from attnsim.kernels.operands import DTYPES
from attnsim.simulator.hardware import Hardware
from attnsim.simulator.implementations.triton_linear import ChunkConfig
from attnsim.simulator.problem import Problem as ProblemType
from attnsim.simulator.tiling import TiledPart, tile_parts
from attnsim.simulator.variants import Variant

from .budget import assert_within_budget

Tensors = dict[str, torch.Tensor]


def case(name: str, chunk: int, **sizes: Any) -> tuple[Variant, ProblemType]:
    """A variant with its chunk, and its prepared problem (two heads of two sequences unless given)."""
    variant = variants.make(name, {"chunk": chunk})
    return variant, variant.prepare(Problem.make(**{"batch": 2, "heads": 2, "causal": True, **sizes}))


def config(chunk: int, value_block: int = 16) -> ChunkConfig:
    return ChunkConfig((chunk,), (chunk,), value_block=value_block)


def tiled(variant: Variant, problem: ProblemType) -> TiledPart:
    """The model's counts of the chunks."""
    hardware = Hardware.load("h100")
    (part,) = tile_parts(variant.graph(problem), config(variant.chunk), hardware)  # type: ignore[attr-defined]
    return part


def rounded(tensors: Tensors, problem: ProblemType) -> Tensors:
    """fp32 gates and states rounded to the operands' type: the low-precision reference starts from the same numbers."""
    narrow = DTYPES[problem.dtype]
    return {name: t.to(narrow).to(t.dtype) for name, t in tensors.items()}


def check(run: Callable[[Tensors], Tensors], tensors: Tensors, out: Tensors, problem: ProblemType, chunk: int) -> None:
    """Every output of the kernel is within the budget. run: the reference, in the type of the tensors it is given.

    What fp32 itself rounds away: a step of the summed log decays of a chunk is a relative error of what they multiply;
    the decay's gradient is a sum of terms q . dq - k . dk that cancel.
    """
    truth = run({name: t.double() for name, t in tensors.items()})
    low = run({name: t.to(DTYPES[problem.dtype]) for name, t in tensors.items()})
    summed = chunk * float(tensors["log_decay"].abs().max()) if "log_decay" in tensors else 0.0
    for name, actual in out.items():
        size = float(truth[name].abs().max())
        if name == "dlog_decay":
            each = [(tensors[x].double() * truth[f"d{x}"]).sum(-1).abs() for x in ("q", "k")]
            size = float((each[0] + each[1]).sum(-1).max()) * (1 if actual.dim() == 3 else problem.batch)
        assert_within_budget(name, actual, truth[name], low[name], terms=size * (1 + summed))


def bytes_of(variant: Variant, problem: ProblemType, *names: str) -> int:
    """Bytes of tensors of the variant's graph."""
    return sum(int(t.bytes) for t in variant.graph(problem).tensors if t.name in names)
