"""Every config of every kernel's default space, compiled for chips that are not there.

It compiles, does not spill, fits the chip's shared memory; its matrix instructions multiply what the model counts for a
tile and its exponentials are those of the pairs; the estimates are as good as their docstrings say.
"""

from __future__ import annotations

import functools
import itertools
import random
import statistics
from typing import Any

import pytest

from attnsim import Problem, variants
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.kernels.compile_many import Job, Outcome, compile_many
from attnsim.simulator import api, implementations, resources
from attnsim.simulator.config import TritonKernel

CHIPS = {
    "sm_80": "a100", "sm_89": "l40s", "sm_90": "h100", "sm_100": "b200", "sm_103": "b300", "sm_120": "rtx-pro-6000",
    "gfx942": "mi300x", "gfx950": "mi355x",
}  # fmt: skip
"""Targets, and a chip of each."""
WORKLOADS: dict[str, list[tuple[str, str, dict[str, Any], dict[str, Any]]]] = {
    "triton-flash": [("flash", "mha", {}, {"seq": 4096, "causal": True})],
    "triton-block-sparse": [("block_sparse", "power-attention", {}, {"seq": 1024})],
    "triton-neighbourhood": [("neighbourhood", "gna", {"window": (6, 16, 16)}, {"shape": (8, 16, 32)})],
}
ATTENTION = tuple(WORKLOADS)


def jobs(kernel: TritonKernel, target: str, head_dim: int, direction: str) -> list[tuple[Job, Any]]:
    """The default space of a kernel on a chip, and the part that each config runs."""
    found = []
    for module, variant, parameters, sizes in WORKLOADS[kernel.name]:
        problem = {"heads": 8, "head_dim": head_dim, "direction": direction, **sizes}
        made = variants.make(variant, parameters)
        part = made.graph(made.prepare(Problem.make(**problem))).main
        configs = kernel.configs(part, api.load_hardware(CHIPS[target]))
        found += [(Job(module, variant, problem, config, target, parameters), part) for config in configs]
    return found


@functools.cache
def space(name: str) -> list[tuple[Job, Any, Outcome]]:
    """All default configs of a kernel at head_dim 128 on every chip, and at 64 on sm_90 and sm_100; compiled once."""
    kernel = implementations.get(name)
    assert isinstance(kernel, TritonKernel)
    wanted = []
    for direction in kernel.directions:
        for target in CHIPS:
            wanted += jobs(kernel, target, 128, direction)
        for target in ("sm_90", "sm_100"):
            wanted += jobs(kernel, target, 64, direction)
    outcomes = compile_many([job for job, _ in wanted], workers=2)
    return [(job, part, outcome) for (job, part), outcome in zip(wanted, outcomes, strict=True)]


def said(job: Job) -> str:
    direction = job.problem.get("direction", "forward")
    return f"{job.module} {direction} d={job.problem['head_dim']} {job.config} on {job.target}"


@pytest.mark.parametrize("name", ATTENTION)
def test_every_config_compiles_fits_and_does_not_spill(name: str) -> None:
    assert len({job.target for job, _, _ in space(name)}) == len(CHIPS)
    for job, _, outcome in space(name):
        assert outcome.error is None, f"{said(job)}: {outcome.error}"
        limit = api.load_hardware(CHIPS[job.target]).smem_bytes_per_block
        assert limit is not None
        assert outcome.main.spill_bytes == 0, f"{said(job)} spills {outcome.main.spill_bytes} bytes"
        assert outcome.main.shared_memory_bytes <= limit, said(job)
        assert outcome.main.tensor_memory_columns <= 512, said(job)


@pytest.mark.parametrize("name", ATTENTION)
def test_matrix_instructions_and_exponentials_are_the_models(name: str) -> None:
    """One exponential more for each row a thread holds: the rescaling, which threads that share a row repeat."""
    for job, part, outcome in space(name):
        loop = outcome.main.main_loop
        assert loop is not None, said(job)
        rows, columns = (functools.reduce(int.__mul__, side) for side in (job.config.query, job.config.key))
        products = 5 if part.backward else 2
        assert loop.matrix_flops == products * 2 * rows * columns * int(part.depth), said(job)
        lanes = 64 if job.target.startswith("gfx") else 32
        extra = 0 if part.backward else rows * lanes
        assert rows * columns <= loop.exponentials <= rows * columns + extra, f"{said(job)}: {loop.exponentials}"


def test_shared_memory_and_registers_are_estimated() -> None:
    """The sentences in the docstrings of `simulator.resources`."""
    exact, errors, total = 0, [], 0
    for name in ATTENTION:
        kernel = implementations.get(name)
        assert isinstance(kernel, TritonKernel)
        for job, part, outcome in space(name):
            if job.target not in ("sm_90", "sm_100"):
                continue
            hardware = api.load_hardware(CHIPS[job.target])
            total += 1
            exact += kernel.shared_memory_bytes(part, hardware, job.config) == outcome.main.shared_memory_bytes
            registers = kernel.registers(part, hardware, job.config)
            assert registers is not None
            errors.append(abs(registers / outcome.main.registers - 1))
    assert (exact, total) == resources.AGREED, f"{exact} of {total}"
    assert statistics.median(errors) < resources.REGISTER_ERROR, statistics.median(errors)


def offered() -> list[tuple[Job, int]]:
    """Configs of spaces outside the default ones, a few of each kernel, chip and head dimension, and their limit of
    shared memory."""
    draw = random.Random(0)
    found = []
    for name in ATTENTION:
        module, variant, parameters, sizes = WORKLOADS[name][0]
        for chip, head_dim in itertools.product(("h100", "b200"), (64, 128)):
            task = Task.make(variant, chip, name, heads=8, head_dim=head_dim, **sizes, **parameters)
            default = set(task.kernel.configs(task.part, task.chip))
            others = [config for config in Space.of(task).configs if config not in default]
            assert others, f"{task} has no space but the default one"
            chosen = draw.sample(others, min(2, len(others)))
            limit = int(task.chip.smem_bytes_per_block or 0)
            found += [(Job(module, variant, task.sizes, c, task.chip.target, parameters), limit) for c in chosen]
    return found


def test_what_spaces_offer_beyond_the_default_does_not_spill() -> None:
    """Of 731 such configs of six variants all compiled without spills with triton 3.6 or 3.9; here some, drawn once."""
    drawn = offered()
    for outcome, (job, limit) in zip(compile_many([job for job, _ in drawn], workers=2), drawn, strict=True):
        assert outcome.error is None, f"{said(job)}: {outcome.error}"
        assert outcome.main.spill_bytes == 0, f"{said(job)} spills {outcome.main.spill_bytes} bytes"
        assert outcome.main.shared_memory_bytes <= limit, said(job)
