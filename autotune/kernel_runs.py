"""A task's kernel on tensors: its family, random inputs, the plan of a config, and a check of what it computes.

Imports torch and triton: for the processes in which devices run kernels.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any

import torch

from ..kernels import for_variant
from ..kernels.launch import Plan
from ..simulator.config import TritonKernel
from ..simulator.errors import InputError
from ..simulator.tiling import Tile
from . import correctness
from .task import Task

Tensors = dict[str, torch.Tensor]


class KernelRuns:
    """What is made once for a task on a device and serves all of its configs. Raises InputError where a task has no
    kernel or no reference here."""

    def __init__(self, task: Task, device: str) -> None:
        self.task, self.device = task, device
        self.family = for_variant(task.implementation, task.made.id)
        if task.problem.direction == "backward" and not hasattr(self.family, "plan_backward"):
            raise InputError(f"{task.implementation} has no backward pass for {task.made.id}")
        self.checked, self.expected = correctness.expected(task, self.tensors(0))
        self._sets: dict[int, Tensors] = {}

    def tensors(self, seed: int) -> Tensors:
        """Random inputs; backward, the forward pass's outputs too."""
        made: Tensors = self.family.inputs(self.task.made, self.task.problem, self.device, seed)
        if self.task.problem.direction != "backward":
            return made
        problem = self.task.problem.with_(direction="forward")
        part, kernel = self.task.made.graph(problem).main, self.task.kernel
        assert isinstance(kernel, TritonKernel)
        options = self.options(self.family.plan, lse=True)
        config = kernel.first_config(part, self.task.chip)
        return {**self.family.plan(self.task.made, problem, made, config, **options).run(), **made}

    def options(self, plan: Any, **wanted: Any) -> dict[str, Any]:
        """Those options that a family's launcher takes. Scores of a latent are scaled like all others, which makes no
        difference but to what is expected of them."""
        part = self.task.part
        given = {"units": self.task.chip.sm_count, **wanted}
        if part.shared_kv:
            given["scale"] = int(part.depth) ** -0.5
        taken = inspect.signature(plan).parameters
        return {name: value for name, value in given.items() if name in taken}

    def plan(self, config: Tile, tensors: Tensors) -> Plan:
        """The launches of a config. Raises InputError where the kernel cannot run it."""
        backward = self.task.problem.direction == "backward"
        make = self.family.plan_backward if backward else self.family.plan
        found: Plan = make(self.task.made, self.task.problem, tensors, config, **self.options(make))
        return found

    def sets(self, count: int) -> list[Tensors]:
        """So many sets of inputs, the same for every config."""
        for seed in range(len(self._sets), count):
            self._sets[seed] = self.tensors(seed)
        return [self._sets[seed] for seed in range(count)]

    def wrong(self, outputs: Mapping[str, torch.Tensor]) -> str | None:
        """A sentence where outputs computed from `checked` are not what they must be."""
        return correctness.wrong(self.expected, outputs)

    @functools.cached_property
    def bytes(self) -> int:
        """Of one set of inputs."""
        return sum(t.numel() * t.element_size() for t in self.checked.values())
