"""Device offline:<chip>: Triton compiles for a chip that need not be there. Registers, spills, shared memory, what an
iteration of the main loop executes, how many blocks a compute unit holds; no time.

What the kernel's legality function refuses is never compiled. Compilers run in processes of their own, so that one that
hangs or crashes costs only the config it was on.
"""

from __future__ import annotations

import functools
import importlib.util
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from ...simulator import api
from ...simulator.config import Config, TritonKernel
from ...simulator.errors import InputError
from ...simulator.hardware import Hardware
from ...simulator.resources import resident_blocks
from ...simulator.tiling import Tile
from ..engine import on_seats
from ..isolated import CrashedError, HungError, Isolated, OwnsProcess
from ..measurement import Measurement
from ..space import Space
from ..task import Task

if TYPE_CHECKING:
    from ...kernels.resources import Resources

CHIPS = {
    "sm_80": "a100", "sm_89": "l40s", "sm_90": "h100", "sm_100": "b200", "sm_103": "b300", "sm_120": "rtx-5090",
    "gfx942": "mi300x", "gfx950": "mi355x",
}  # fmt: skip
"""Targets that kernels are compiled for, and a chip of each."""
ENVIRONMENT: dict[str, str | None] = {"TRITON_INTERPRET": None}
LIMIT_S = 60.0
"""Seconds that a config may take to compile."""
TENSOR_MEMORY_COLUMN_BYTES = 512
"""128 lanes of 4 bytes."""


def check_target(hardware: Hardware) -> None:
    """Raises InputError for a chip that kernels are not compiled for."""
    if hardware.target not in CHIPS:
        given = f"{hardware.name} ({hardware.target})" if hardware.target else hardware.name
        allowed = ", ".join(f"{target} ({chip})" for target, chip in CHIPS.items())
        raise InputError(f"no kernels are compiled for {given}; allowed: chips of {allowed}")


def check_extras() -> None:
    """Raises InputError where torch or triton is missing."""
    for name in ("torch", "triton"):
        if importlib.util.find_spec(name) is None:
            raise InputError(f"kernels need {name}: pip install 'attnsim[kernels]'")


class Offline(OwnsProcess):
    """A chip that is not there. Close it to end its compiler."""

    timed = False

    def __init__(self, hardware: str) -> None:
        self.name = f"offline:{hardware}"
        self.hardware = hardware
        super().__init__(ENVIRONMENT)

    def space(self, task: Task) -> Space:
        """Every legal config."""
        return Space.of(task)

    def measure(self, task: Task, config: Tile, time_limit_s: float) -> Measurement:
        """Compile one config."""
        return refused(task, config) or compile_config(self._process, task, config, time_limit_s)

    def finalists(self, task: Task, configs: Sequence[Tile]) -> list[Measurement]:
        """None: there are no times."""
        return []


def open_device(argument: str) -> Offline:
    """The compiler for a chip: a profile's name or file. Raises InputError for chips that nothing is compiled for."""
    if not argument:
        raise InputError(f"offline needs a chip: --device offline:b200; allowed: chips of {', '.join(CHIPS)}")
    check_target(api.load_hardware(argument))
    check_extras()
    return Offline(argument)


def compile_configs(
    task: Task, configs: Sequence[Tile], workers: int = 1, time_limit_s: float = LIMIT_S
) -> list[Measurement]:
    """What the compiler says of each config for the task's chip, in their order, from `workers` processes.

    Raises InputError for chips that nothing is compiled for.
    """
    check_target(task.chip)
    check_extras()
    found = {config: one for config in configs if (one := refused(task, config)) is not None}
    left = [config for config in dict.fromkeys(configs) if config not in found]
    compilers = [Isolated(ENVIRONMENT) for _ in range(min(workers, len(left)))]
    made = on_seats(compilers, left, lambda compiler, config: compile_config(compiler, task, config, time_limit_s))
    found |= dict(zip(left, made, strict=True))
    return [found[config] for config in configs]


def refused(task: Task, config: Tile) -> Measurement | None:
    """A config that is not worth compiling: the legality function's sentence is the reason."""
    kernel, part, chip = task.kernel, task.part, task.chip
    reason = kernel.refuses(part, chip, config)
    if reason is None:
        return None
    full = False
    if isinstance(kernel, TritonKernel) and isinstance(config, Config):
        full = kernel.shared_refusal(part, chip, config) is not None
    return Measurement(task, config, "out of resources" if full else "invalid", reason=reason)


def compile_config(compiler: Isolated, task: Task, config: Tile, time_limit_s: float) -> Measurement:
    """Compile a legal config in a process; whatever becomes of it is an outcome."""
    begin = time.perf_counter()
    known = functools.partial(Measurement, task, config)
    target = task.chip.target
    try:
        outcome, reason, resources, compile_s = compiler.run(compile_task, task, config, target, limit_s=time_limit_s)
    except HungError as error:
        return known("timeout", reason=str(error), compile_s=time.perf_counter() - begin, conditions=conditions(task))
    except CrashedError:
        reason = f"the compiler for {target} crashed on {config}"
        return known("failed to compile", reason=reason, compile_s=time.perf_counter() - begin,
                     conditions=conditions(task))  # fmt: skip
    found = functools.partial(known, reason=reason, compile_s=compile_s)
    if not resources:
        return found(outcome, conditions=conditions(task))
    lacking = exceeded(task.chip, resources)
    return known(
        "out of resources" if lacking else outcome, reason=lacking or reason, compile_s=compile_s,
        registers=max(one.registers for one in resources), spill_bytes=max(one.spill_bytes for one in resources),
        shared_memory_bytes=max(one.shared_memory_bytes for one in resources),
        conditions=conditions(task) | {"kernels": [facts(one, task.chip) for one in resources]},
    )  # fmt: skip


def exceeded(chip: Hardware, resources: Sequence[Resources]) -> str | None:
    """What a launch would be refused for: a sentence, None where every kernel fits."""
    for one in resources:
        columns = one.tensor_memory_columns * TENSOR_MEMORY_COLUMN_BYTES
        for what, need, limit in (
            ("shared memory a block", one.shared_memory_bytes, chip.smem_bytes_per_block),
            ("tensor memory", columns, chip.tmem_bytes_per_sm),
        ):
            if limit is not None and need > limit:
                return f"{one.kernel} needs {need:,} bytes of {what}; {chip.name} has {int(limit):,}"
    return None


def facts(found: Resources, chip: Hardware) -> dict[str, Any]:
    """A compiled kernel as JSON: what a block takes, how many a compute unit holds, and what one iteration of the main
    loop executes (`counts`: of one lane; FLOPs and exponentials: of the block)."""
    loop = found.main_loop
    mix = None if loop is None else {
        "matrix_flops": loop.matrix_flops, "fma_flops": loop.fma_flops, "exponentials": loop.exponentials,
        "counts": dict(loop.counts), "instructions": loop.instructions,
    }  # fmt: skip
    return {
        "kernel": found.kernel, "warps": found.warps, "registers": found.registers, "spill_bytes": found.spill_bytes,
        "shared_memory_bytes": found.shared_memory_bytes, "tensor_memory_columns": found.tensor_memory_columns,
        "resident_blocks": resident_blocks(chip, found.warps, found.registers, found.shared_memory_bytes),
        "main_loop": mix,
    }  # fmt: skip


def conditions(task: Task) -> dict[str, Any]:
    """What the compiler's numbers depend on besides task and config."""
    return {
        "target": task.chip.target, "triton": version("triton"),
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip


Compiled = tuple[str, str, tuple["Resources", ...], float]
"""Outcome, reason, resources of the main kernels, seconds."""


def compile_task(task: Task, config: Tile, target: str) -> Compiled:
    """In a compiler's process: the main kernels of a config's plan."""
    from ...kernels import for_variant
    from ...kernels.compile_many import Job, plan_of
    from ...kernels.resources import CompileError, compile_launch

    begin = time.perf_counter()
    resources: tuple[Resources, ...] = ()
    try:
        module = for_variant(task.implementation, task.made.id).__name__.rpartition(".")[2]
        job = Job(module, task.variant, task.sizes, config, target, task.parameters)  # type: ignore[arg-type]
        resources = tuple(compile_launch(launch, target) for launch in plan_of(job).launches if launch.main)
        outcome, reason = "compiled", ""
    except CompileError as error:
        outcome, reason = "failed to compile", str(error)
    except Exception as error:  # a plan that cannot be made
        outcome, reason = "invalid", str(error) if isinstance(error, InputError) else repr(error)
    return outcome, reason, resources, time.perf_counter() - begin
