"""What the compiler makes of a launch, for chips that are not there: registers, spills, shared memory, and the
instructions of the main loop.

A launch's arguments may be tensors on the `meta` device, whose addresses count as aligned to 16 bytes. They are
specialised by Triton's own code for starting a kernel, so that what is compiled here is what a device would run.
Nothing is compiled where TRITON_INTERPRET is set; `compile_many` compiles in processes of their own.
"""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..simulator.errors import unknown
from . import amdgcn, sass
from .loops import Flow, Instruction

if TYPE_CHECKING:
    from .launch import Launch

TARGETS = ("sm_80", "sm_89", "sm_90", "sm_100", "sm_103", "sm_120", "gfx942", "gfx950")
"""Chips that kernels are compiled for, by the compiler's names."""
DISASSEMBLED_AS = {"sm_103": 100}
"""A chip whose machine code older disassemblers do not know, and one that has the same."""


class CompileError(Exception):
    """A launch that does not compile: one sentence."""


@dataclass(frozen=True, slots=True)
class MatrixInstruction:
    """A matrix instruction of a loop. shape: its M, N, K. per: who executes it `count` times in an iteration: each
    warp, each warpgroup of 4 warps, or the block. flops: of the whole block in an iteration."""

    name: str
    shape: tuple[int, int, int]
    per: str
    count: int
    flops: int


@dataclass(frozen=True, slots=True)
class Loop:
    """One iteration of a loop. Where ways part inside it, the one with most matrix FLOPs, then most instructions
    counts: usually that which masks.

    matrix_flops, fma_flops, exponentials: of the whole block (products of fp32 operands are multiply-adds on NVIDIA
    chips). counts: operations of one lane by kind: exp, special, fma, add, mul,
    max (packed ones count twice), shared_load, shared_store, async_copy, global_load, global_store, atomic,
    tensor_load, tensor_store, spill_load, spill_store. instructions: all of one warp.
    """

    matrix: tuple[MatrixInstruction, ...]
    matrix_flops: int
    fma_flops: int
    exponentials: int
    counts: dict[str, int]
    instructions: int


@dataclass(frozen=True, slots=True)
class Resources:
    """What one kernel takes on one chip.

    registers: of a thread (AMD: vector registers of a lane, accumulation registers included). spill_bytes: local memory
    of a thread. shared_memory_bytes, tensor_memory_columns: of a block. loops: the innermost loops with matrix
    instructions in the order of the code; of a kernel without them, its innermost loops.
    """

    kernel: str
    target: str
    warps: int
    stages: int
    registers: int
    spill_bytes: int
    shared_memory_bytes: int
    tensor_memory_columns: int
    loops: tuple[Loop, ...]

    @property
    def main_loop(self) -> Loop | None:
        """The loop with most matrix FLOPs in an iteration, then with most multiplications; None without loops.

        The compiler may have unrolled it or taken an iteration out of it: then its matrix FLOPs are a multiple of a
        tile's, and the ratio says how many tiles an iteration walks.
        """
        return max(self.loops, key=lambda loop: (loop.matrix_flops, loop.fma_flops), default=None)


def gpu_target(target: str) -> Any:
    """Triton's target of a name such as sm_90 or gfx942. Raises InputError for one that nothing is compiled for."""
    from triton.backends.compiler import GPUTarget

    if target not in TARGETS:
        raise unknown("target", target, TARGETS)
    return GPUTarget("hip", target, 64) if target.startswith("gfx") else GPUTarget("cuda", int(target[3:]), 32)


def compiled(launch: Launch, target: str) -> Any:
    """Triton's compiled kernel of a launch, from its cache on disk where it is there. Raises CompileError."""
    import triton
    from triton.compiler import ASTSource, make_backend
    from triton.runtime.jit import create_function_from_signature

    chip = gpu_target(target)
    kernel = launch.kernel
    if not hasattr(kernel, "_pack_args"):
        raise CompileError("kernels were imported for Triton's interpreter; compile_many compiles in other processes")
    options = launch.options(target.startswith("sm_"))
    try:
        backend = make_backend(chip)
        bind = create_function_from_signature(kernel.signature, kernel.params, backend)
        bound, specialisation, _ = bind(**launch.arguments, **launch.constants, **options)
        made, signature, constants, attributes = kernel._pack_args(backend, options, bound, specialisation, options)
        source = ASTSource(kernel, signature, constants, attributes)
        return triton.compile(source, target=chip, options=made.__dict__)
    except Exception as error:  # the compiler raises a class of its own for every stage
        raise CompileError(f"{kernel.__name__} does not compile for {target}: {sentence(error)}") from error


def sentence(error: BaseException) -> str:
    """The last line that says something of a compiler's message, with its first line where that names the fault."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" ^")]
    return f"{type(error).__name__}: {lines[-1][:300]}" if lines else type(error).__name__


def compile_launch(launch: Launch, target: str) -> Resources:
    """What a launch takes on a chip. Raises CompileError, and InputError for an unknown target."""
    kernel = compiled(launch, target)
    machine: ModuleType
    if target.startswith("gfx"):
        text = kernel.asm["amdgcn"]
        (code, labels), (registers, spilled), machine = amdgcn.parse(text), amdgcn.usage(text), amdgcn
    else:
        disassembly, used = disassemble(kernel.asm["cubin"], target)
        (code, labels), (registers, spilled), machine = sass.parse(disassembly), sass.usage(used), sass
    metadata = kernel.metadata
    return Resources(
        launch.kernel.__name__, target, launch.warps, launch.stages, registers, spilled, int(metadata.shared),
        int(getattr(metadata, "tmem_size", 0) or 0),
        loops_of(code, labels, launch.warps, machine, int(metadata.num_warps) > launch.warps),
    )  # fmt: skip


def disassemble(cubin: bytes, target: str) -> tuple[str, str]:
    """(machine code, resource usage) of a cubin as NVIDIA's tools in the triton package print them."""
    from triton import knobs

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        used = run(knobs.nvidia.cuobjdump.path, "-res-usage", str(path))
        try:
            return run(knobs.nvidia.nvdisasm.path, "-c", str(path)), used
        except CompileError:
            if target not in DISASSEMBLED_AS:
                raise
        # The chip's number is the second byte of the ELF header's flags.
        path.write_bytes(cubin[:49] + bytes([DISASSEMBLED_AS[target]]) + cubin[50:])
        return run(knobs.nvidia.nvdisasm.path, "-c", str(path)), used


def run(*command: str) -> str:
    """What a program prints. Raises CompileError where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise CompileError(f"{Path(command[0]).name} fails: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return done.stdout


def loops_of(
    code: list[Instruction], labels: dict[str, int], warps: int, machine: ModuleType, specialised: bool = False
) -> tuple[Loop, ...]:
    """The innermost loops with matrix instructions, in the order of the code, or of code without any, all innermost.

    specialised: warps that only load or multiply run beside the others, each kind in a loop of its own: the loops that
    multiply or exponentiate are one loop then, and all partitions are taken to have the launch's warps.
    """
    flow = Flow(code, labels)

    def multiplies(n: int) -> bool:
        return bool(machine.is_matrix(code[n]))

    def weight(n: int) -> int:
        return 1 + (2**20 * matrix_flops(code, n, warps, machine) if multiplies(n) else 0)

    if specialised:
        found = flow.innermost(lambda n: multiplies(n) or machine.kind(code[n]) == ("exp", 1))
        ways = [flow.heaviest(*loop, weight) for loop in found.items()]
        return (count(code, sorted(n for way in ways for n in way), warps, machine),) if ways else ()
    found = flow.innermost(multiplies) or flow.innermost(lambda n: True)
    return tuple(count(code, flow.heaviest(*loop, weight), warps, machine) for loop in found.items())


def matrix_shape(code: list[Instruction], n: int, machine: ModuleType) -> tuple[tuple[int, int, int], str]:
    """((M, N, K), who executes it) of a matrix instruction. Raises CompileError where it cannot be told."""
    found: tuple[tuple[int, int, int], str] | None = machine.shape(code, n)
    if found is None:
        raise CompileError(f"the shape of a matrix instruction is unknown: {code[n].opcode} {code[n].operands}")
    return found


def matrix_flops(code: list[Instruction], n: int, warps: int, machine: ModuleType) -> int:
    """FLOPs of a matrix instruction in all warps of a block."""
    shape, per = matrix_shape(code, n, machine)
    return 2 * math.prod(shape) * {"warp": warps, "warpgroup": warps // 4, "block": 1}[per]


def count(code: list[Instruction], way: list[int], warps: int, machine: ModuleType) -> Loop:
    """What one iteration of a loop does that executes the instructions `way`."""
    matrix: Counter[tuple[str, tuple[int, int, int], str]] = Counter()
    flops: Counter[tuple[str, tuple[int, int, int], str]] = Counter()
    counts: Counter[str] = Counter()
    for n in way:
        if machine.is_matrix(code[n]):
            key = (code[n].opcode, *matrix_shape(code, n, machine))
            matrix[key] += 1
            flops[key] += matrix_flops(code, n, warps, machine)
        elif (kind := machine.kind(code[n])) is not None:
            counts[kind[0]] += kind[1]
    rows = tuple(MatrixInstruction(*key, times, flops[key]) for key, times in sorted(matrix.items()))
    lanes = warps * (64 if machine is amdgcn else 32)
    return Loop(
        rows, flops.total(), 2 * counts["fma"] * lanes, counts["exp"] * lanes, dict(sorted(counts.items())), len(way)
    )  # fmt: skip
