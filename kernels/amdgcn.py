"""AMD machine code as Triton keeps it (the `amdgcn` text): instructions, branches, matrix shapes, metadata."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .loops import Instruction

LINE = re.compile(r"^\s+(?P<opcode>[a-z]\w*)\s*(?P<operands>[^;]*)")
LABEL = re.compile(r"^(\.?[A-Za-z_]\w*):")
MATRIX = re.compile(r"v_mfma_\w*?_(\d+)x(\d+)x(\d+)_(?:(\d+)b_)?")
KINDS = (
    (r"v_exp_f32", "exp"), (r"v_(rcp|rsq|log|sqrt|sin|cos)_f32", "special"), (r"v_(pk_)?fma(c|ak|mk)?_f32", "fma"),
    (r"v_(pk_)?(add|sub|subrev)_f32", "add"), (r"v_(pk_)?mul_f32", "mul"), (r"v_max3?_f32", "max"),
    (r"ds_(read|load)", "shared_load"), (r"ds_(write|store)", "shared_store"), (r"global_load_lds", "async_copy"),
    (r"(global|buffer|flat)_load", "global_load"), (r"(global|buffer|flat)_store", "global_store"),
    (r"(global|buffer|flat)_atomic", "atomic"), (r"scratch_load", "spill_load"), (r"scratch_store", "spill_store"),
)  # fmt: skip
"""What an instruction does, by the beginning of its mnemonic."""


def parse(text: str) -> tuple[list[Instruction], dict[str, int]]:
    """(instructions, instruction that each label stands before) of the first function of a file."""
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in text.splitlines():
        if line.startswith(".Lfunc_end"):
            break
        label = LABEL.match(line)
        if label:
            labels[label[1]] = len(code)
            continue
        found = LINE.match(line)
        if found is None:
            continue
        opcode, operands = found["opcode"], found["operands"].strip()
        jumps = opcode == "s_branch" or opcode.startswith("s_cbranch")
        falls = opcode not in ("s_branch", "s_endpgm", "s_setpc_b64")
        code.append(Instruction(opcode, operands, (operands,) if jumps else (), falls))
    return code, labels


def kind(instruction: Instruction) -> tuple[str, int] | None:
    """(what it does, operations of one lane), None for bookkeeping: packed instructions do two."""
    for pattern, name in KINDS:
        if re.match(pattern, instruction.opcode):
            if name == "global_load" and re.search(r"\blds\b", instruction.operands):
                return "async_copy", 1
            return name, 2 if "_pk_" in instruction.opcode else 1
    return None


def is_matrix(instruction: Instruction) -> bool:
    """Whether an instruction multiplies matrices."""
    return instruction.opcode.startswith("v_mfma")


def shape(code: Sequence[Instruction], index: int) -> tuple[tuple[int, int, int], str] | None:
    """((M, N, K), "warp") of a matrix instruction; several blocks in one instruction count along M."""
    found = MATRIX.match(code[index].opcode + "_")
    if found is None:
        return None
    return (int(found[1]) * int(found[4] or 1), int(found[2]), int(found[3])), "warp"


def usage(text: str) -> tuple[int, int]:
    """(vector registers of a lane, accumulation registers included; spilled bytes of a lane) from the metadata.

    A spilled scalar register counts four bytes as well, though it may only move to a vector register's lane.
    """

    def read(name: str) -> int:
        found = re.search(rf"\.{name}:\s+(\d+)", text)
        if found is None:
            raise ValueError(f"the metadata has no {name}")
        return int(found[1])

    spilled = 4 * (read("vgpr_spill_count") + read("sgpr_spill_count"))
    return read("vgpr_count"), max(spilled, read("private_segment_fixed_size"))
