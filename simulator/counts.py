"""graph -> Counts: useful work per unit and dtype, and the bytes that must move."""

from __future__ import annotations

from dataclasses import dataclass

from .algebra import Number
from .graph import Graph, Part


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Work and traffic of a call.

    matrix: FLOPs by operand dtype. vector: FP32 FLOPs outside the matrix unit. special: exponentials and
    the like. hbm_bytes: to and from main memory. l2_bytes: between last-level cache and the compute units.
    rewritten: of hbm_bytes, what is written where it was read (recurrent states).
    """

    matrix: dict[str, Number]
    vector: Number = 0
    special: Number = 0
    hbm_bytes: Number = 0
    l2_bytes: Number = 0
    rewritten: Number = 0

    @property
    def matrix_flops(self) -> Number:
        """FLOPs on the matrix unit, all dtypes."""
        return sum(self.matrix.values())

    @property
    def matrix_only(self) -> Counts:
        """What the `flops` rung counts: matrix work alone."""
        return Counts(self.matrix)

    def __add__(self, other: Counts) -> Counts:
        matrix = dict(self.matrix)
        for dtype, flops in other.matrix.items():
            matrix[dtype] = matrix.get(dtype, 0) + flops
        return Counts(
            matrix,
            self.vector + other.vector,
            self.special + other.special,
            self.hbm_bytes + other.hbm_bytes,
            self.l2_bytes + other.l2_bytes,
            self.rewritten + other.rewritten,
        )


def part_work(part: Part) -> Counts:
    """Useful work of one part: each op once, pair work times the useful pairs of all heads and sequences."""
    pairs = part.pairs * part.instances
    matrix = vector = special = 0
    for op in part.ops:
        if op.recomputed:
            continue
        scale = pairs if op.per == "pair" else 1
        matrix = matrix + op.matrix * scale
        vector = vector + op.vector * scale
        special = special + op.special * scale
    return Counts({part.dtype: matrix}, vector, special)


def compulsory_bytes(graph: Graph) -> Number:
    """Bytes of the operator's own inputs, weights and outputs, once each; a state is read and written."""
    total: Number = 0
    for tensor in graph.tensors:
        if tensor.role != "intermediate":
            total = total + tensor.bytes * (2 if tensor.role == "state" else 1)
    return total


def counts(graph: Graph) -> Counts:
    """Useful work and compulsory traffic of the operator, all heads and sequences (the `roofline` rung)."""
    total = Counts({})
    for part in graph.parts:
        total = total + part_work(part)
    moved = compulsory_bytes(graph)
    states = sum(tensor.bytes for tensor in graph.tensors if tensor.role == "state")
    return Counts(total.matrix, total.vector, total.special, moved, moved, states)
