"""NVIDIA machine code as `nvdisasm -c` prints it: instructions with their branches, matrix shapes, what each one does.

Shapes are read from mnemonics (HMMA.16816, HGMMA.64x128x16). A tensor-memory instruction (UTCHMMA, UTCQMMA: the PTX
tcgen05.mma) names a register that holds its instruction descriptor, in which N >> 3 stands at bits 17-22, M >> 4 at
bits 24-28 and the type of A at bits 7-9 (PTX ISA, "Instruction descriptor"); K is 32 bytes of operands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .loops import Instruction

LINE = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(?:(?P<guard>@!?U?P\w+)\s+)?(?P<opcode>[A-Z][\w.]*)\s*(?P<operands>.*?)\s*;")
LABEL = re.compile(r"^\s*([\w.$]+):\s*$")
JUMPS = frozenset({"BRA", "BRX", "BRXU", "JMP", "JMX", "JMXU"})
LEAVES = frozenset({"EXIT", "RET", "KILL"})

WARP_SHAPES = {
    "16816": (16, 8, 16), "1688": (16, 8, 8), "1684": (16, 8, 4), "16832": (16, 8, 32), "16864": (16, 8, 64),
    "168128": (16, 8, 128), "884": (8, 8, 4), "8816": (8, 8, 16), "8832": (8, 8, 32),
}  # fmt: skip
"""(M, N, K) by the digits of a warp's mnemonic."""

KINDS = {
    "LDS": "shared_load", "LDSM": "shared_load", "STS": "shared_store", "STSM": "shared_store", "LDGSTS": "async_copy",
    "UTMALDG": "async_copy", "UBLKCP": "async_copy", "LDG": "global_load", "STG": "global_store",
    "UTMASTG": "global_store", "UTMAREDG": "atomic", "RED": "atomic", "REDG": "atomic", "ATOM": "atomic",
    "ATOMG": "atomic", "LDTM": "tensor_load", "STTM": "tensor_store", "LDL": "spill_load", "STL": "spill_store",
    "FFMA": "fma", "FFMA2": "fma", "FADD": "add", "FADD2": "add", "FMUL": "mul", "FMUL2": "mul", "FMNMX": "max",
    "FMNMX3": "max",
}  # fmt: skip
"""What an instruction does, by the first word of its mnemonic."""


def parse(text: str) -> tuple[list[Instruction], dict[str, int]]:
    """(instructions, instruction that each label stands before) of one kernel."""
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    meets: dict[str, str] = {}
    for line in text.splitlines():
        label = LABEL.match(line)
        if label:
            labels[label[1]] = len(code)
        found = LINE.search(line)
        if found is None:
            continue
        opcode, operands = found["opcode"], found["operands"]
        base, guarded = opcode.split(".")[0], found["guard"] is not None
        named = tuple(re.findall(r"`\(([^)]+)\)", operands)) or tuple(re.findall(r"\.L_\w+", operands))
        targets: tuple[str, ...] = ()
        falls = True
        if base in JUMPS:
            # A branch may test a predicate among its operands: `BRA.U UP0, label`.
            tests = base == "BRA" and not operands.startswith("`")
            targets, falls = named, guarded or tests
        elif base == "BSSY":
            meets[operands.split(",")[0]] = named[0]
        elif base == "BSYNC" and operands in meets:
            targets, falls = (meets[operands],), guarded
        elif opcode.startswith("WARPSYNC.COLLECTIVE"):
            targets = named
        elif base in LEAVES:
            falls = guarded
        code.append(Instruction(opcode, operands, targets, falls))
    return code, labels


def kind(instruction: Instruction) -> tuple[str, int] | None:
    """(what it does, operations of one lane), None for bookkeeping: packed instructions do two."""
    base = instruction.opcode.split(".")[0]
    if base == "MUFU":
        return ("exp" if instruction.opcode.startswith("MUFU.EX2") else "special"), 1
    found = KINDS.get(base)
    return None if found is None else (found, 2 if base in ("FFMA2", "FADD2", "FMUL2") else 1)


def is_matrix(instruction: Instruction) -> bool:
    """Whether an instruction multiplies matrices."""
    return re.fullmatch(r"(H|Q|I|D|O|B)G?MMA|UTC(H|Q|I|O)MMA", instruction.opcode.split(".")[0]) is not None


def shape(code: Sequence[Instruction], index: int) -> tuple[tuple[int, int, int], str] | None:
    """((M, N, K), who executes it: a warp, a warpgroup of 4 warps, or the block) of a matrix instruction.

    None where its descriptor is no constant.
    """
    name = code[index].opcode
    if name.startswith("UTC"):
        value = descriptor(code, index)
        return None if value is None else (described(name, value), "block")
    group = re.search(r"\.(\d+)x(\d+)x(\d+)", name)
    if group:
        return (int(group[1]), int(group[2]), int(group[3])), "warpgroup"
    digits = re.search(r"\.(\d+)(?:\.|$)", name)
    found = WARP_SHAPES.get(digits[1]) if digits else None
    return None if found is None else (found, "warp")


def descriptor(code: Sequence[Instruction], index: int) -> int | None:
    """The instruction descriptor that a tensor-memory instruction uses: what its register was last set to above it."""
    register = re.search(r"idesc\[(UR\d+)\]", code[index].operands)
    if register is None:
        return None
    for instruction in reversed(code[:index]):
        if re.match(rf"{register[1]}(,|$)", instruction.operands) and not instruction.opcode.startswith("UTC"):
            value = re.fullmatch(rf"{register[1]}, (0x[0-9a-f]+)", instruction.operands)
            return int(value[1], 16) if value and instruction.opcode in ("UMOV", "MOV") else None
    return None


def described(name: str, value: int) -> tuple[int, int, int]:
    """(M, N, K) of a descriptor. UTCHMMA multiplies 16-bit types, and tf32 where the type of A is 2."""
    k = 32 if not name.startswith("UTCHMMA") else 8 if value >> 7 & 7 == 2 else 16
    return (value >> 24 & 31) << 4, (value >> 17 & 63) << 3, k


def usage(text: str) -> tuple[int, int]:
    """(registers of a thread, bytes of stack and local memory of a thread) as `cuobjdump -res-usage` prints them."""
    registers, stack, local = (re.search(rf"\b{name}:(\d+)", text) for name in ("REG", "STACK", "LOCAL"))
    if registers is None or stack is None or local is None:
        raise ValueError("cuobjdump printed no resource usage")
    return int(registers[1]), int(stack[1]) + int(local[1])
