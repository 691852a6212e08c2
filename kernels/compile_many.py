"""Plans compiled by description, many at once, in processes that interpret nothing.

A `Job` says which kernel family, problem, config and chip; everything in it can be sent to another process. The worker
makes the plan of tensors on the `meta` device and compiles its main launch, or all of them.
"""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from typing import Any

from ..simulator.config import Config
from ..simulator.errors import InputError
from .resources import CompileError, Resources, compile_launch


@dataclass(frozen=True, slots=True)
class Job:
    """What to compile. module: a kernel family's file (flash). problem: arguments of `Problem.make`, the direction
    among them. target: such as sm_90. every: all launches of the plan in place of its main ones."""

    module: str
    variant: str
    problem: Mapping[str, Any]
    config: Config
    target: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    every: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: the resources of its launches in order, or a sentence that says why there are none."""

    job: Job
    resources: tuple[Resources, ...] = ()
    error: str | None = None

    @property
    def main(self) -> Resources:
        """The kernel that the model's tiled counts speak of. Raises CompileError where the job failed."""
        if self.error is not None:
            raise CompileError(self.error)
        return self.resources[0]


def plan_of(job: Job) -> Any:
    """The job's plan, of tensors on the `meta` device."""
    from .. import variants
    from ..simulator.problem import Problem

    module = importlib.import_module(f"{__package__}.{job.module}")
    variant = variants.make(job.variant, dict(job.parameters))
    problem = variant.prepare(Problem.make(**job.problem))
    tensors = module.inputs(variant, problem, "meta")
    if problem.direction != "backward":
        return module.plan(variant, problem, tensors, job.config)
    if not hasattr(module, "plan_backward"):
        raise InputError(f"the {job.module} kernels have no backward pass")
    before = replace(problem, direction="forward")
    asked = {"lse": True} if "lse" in inspect.signature(module.plan).parameters else {}
    outputs = module.plan(variant, before, tensors, job.config, **asked).outputs
    return module.plan_backward(variant, problem, {**outputs, **tensors}, job.config)


def compile_job(job: Job) -> Outcome:
    """One job in this process; what fails is told in the outcome."""
    try:
        launches = plan_of(job).launches
        chosen = [launch for launch in launches if job.every or launch.main]
        return Outcome(job, tuple(compile_launch(launch, job.target) for launch in chosen))
    except (CompileError, InputError) as error:
        return Outcome(job, error=str(error))


def interpret_nothing() -> None:
    """Before a worker imports Triton: kernels decorated from here on are compiled."""
    os.environ.pop("TRITON_INTERPRET", None)


def compile_many(jobs: Sequence[Job], workers: int = 1) -> list[Outcome]:
    """The outcome of every job, in their order, from `workers` processes.

    A compiler that takes its process down costs the job it was on, not the others: those that ran then (the first that
    have no outcome) are compiled again in a process each, and the rest goes on.
    """
    found: dict[int, Outcome] = {}
    left = list(range(len(jobs)))
    while left:
        with pool(min(workers, len(left))) as executor:
            futures = [executor.submit(compile_job, jobs[index]) for index in left]
            found |= {i: outcome for i, future in zip(left, futures, strict=True) if (outcome := settled(future))}
        left = [index for index in left if index not in found]
        for index in left[:workers]:
            with pool(1) as executor:
                outcome = settled(executor.submit(compile_job, jobs[index]))
            crash = f"the compiler for {jobs[index].target} crashed on {jobs[index].config}"
            found[index] = outcome or Outcome(jobs[index], error=crash)
        left = left[workers:]
    return [found[index] for index in range(len(jobs))]


def settled(future: Future[Outcome]) -> Outcome | None:
    """A job's outcome, None where its process died."""
    try:
        return future.result()
    except BrokenProcessPool:
        return None


def pool(workers: int) -> ProcessPoolExecutor:
    """Fresh processes that share nothing with this one: forked ones would have Triton's interpreter loaded."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), interpret_nothing)
