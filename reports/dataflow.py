"""An operator as lanes of kernels: what each reads from memory, its ops in layers from left to right, what it writes.

Kernels run one after the other and are a lane each. Inside, ops stand in their topological generations; what an op
leaves on the chip is no node but said of the op. Tensors in memory stand at the ends of the lanes that read or write
them, once for each, so that every edge over the border of a kernel is traffic of main memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..simulator.graph import Graph, Op, Part
from ..simulator.prediction import Prediction
from .words import amount, plural

UNITS = (("matrix", "matrix", "FLOP"), ("vector", "vector", "FLOP"), ("special", "exp", ""))
"""Unit of an op, as a picture calls it, and what its amounts are of."""
SWEEPS = 4


@dataclass(frozen=True, slots=True)
class Node:
    """An op, or a tensor in memory. lines: what is said below its name. recomputed: work that a fused backward does
    again. size: bytes of a tensor; None where the operator does not count it."""

    key: str
    name: str
    lines: tuple[str, ...] = ()
    recomputed: bool = False
    size: float | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in a layer: a node, or where an edge passes through (node None)."""

    key: str
    node: Node | None


@dataclass(frozen=True, slots=True)
class Lane:
    """A kernel. layers: tensors that it reads, then its ops layer by layer, then tensors that it writes. edges: between
    neighbouring layers; (key, key, whether it is traffic of memory). loose: tensors that are read or written by the
    whole kernel, not one of its ops."""

    name: str
    kernel: str
    layers: tuple[tuple[Slot, ...], ...]
    edges: tuple[tuple[str, str, bool], ...]
    loose: frozenset[str]


@dataclass(frozen=True, slots=True)
class Dataflow:
    """All lanes of an operator. passed: tensors that one kernel writes for another: (lane, key, lane, key)."""

    name: str
    finding: str
    lanes: tuple[Lane, ...]
    passed: tuple[tuple[int, str, int, str], ...]


@dataclass(slots=True)
class _Kernel:
    """What one launch does. extra: of two launches of one part, which."""

    part: Part
    ops: list[Op]
    extra: str = ""


def dataflow(p: Prediction, chosen: bool = True) -> Dataflow:
    """The lanes of a prediction's operator, each with the implementation that runs it; without `chosen`, only with
    those that are the same on every chip."""
    graph = p.evaluation.graph
    kernels = _kernels(graph)
    sizes = {tensor.name: float(tensor.bytes) for tensor in graph.tensors}
    moved = [_moved(graph, kernels, i, sizes) for i in range(len(kernels))]
    lanes = tuple(
        _lane(p, one, (reads, writes), sizes, chosen) for one, (reads, writes) in zip(kernels, moved, strict=True)
    )
    passed = []
    for i, (reads, _) in enumerate(moved):
        for name in reads:
            source = [j for j in range(i) if name in moved[j][1]]
            if source:
                passed.append((source[-1], f"write {name}", i, f"read {name}"))
    return Dataflow(p.variant.id, _finding(p, lanes, {a for _, a, _, _ in passed}), lanes, tuple(passed))


def _finding(p: Prediction, lanes: Sequence[Lane], written: set[str]) -> str:
    """What is seen, in a line."""
    useful = amount(float(p.evaluation.useful.hbm_bytes), "B")
    sizes = {tensor.name: float(tensor.bytes) for tensor in p.evaluation.graph.tensors}
    between = sum(sizes.get(key.removeprefix("write "), 0.0) for key in written)
    head = f"{p.variant.id}, {p.problem.direction}: " + plural(len(lanes), "fused kernel")
    if not between:
        return f"{head}; {useful} of operands cross HBM, nothing in between does"
    return f"{head}; {useful} of operands cross HBM, and {amount(between, 'B')} between kernels"


def _kernels(graph: Graph) -> list[_Kernel]:
    """Parts in the order they run. Ops that wait for a later part run in two launches, before and after it."""
    tensors = {tensor.name: tensor.role for tensor in graph.tensors}
    first: list[_Kernel] = []
    after: list[_Kernel] = []
    for index, part in enumerate(graph.parts):
        later = {name for other in graph.parts[index + 1 :] for op in other.ops for name in op.outputs}
        early, late = [], []
        for op in part.ops:
            waits = [name for name in op.inputs if tensors.get(name) == "intermediate" and name in later]
            wanted = {name for other in graph.parts[index + 1 :] for one in other.ops for name in one.inputs}
            now = tuple(name for name in op.outputs if name in wanted)
            if not waits:
                early.append(op)
                continue
            rest = tuple(name for name in op.outputs if name not in now)
            weights = tuple(name for name in op.inputs if tensors.get(name) == "weight")
            if now:
                early.append(Op(op.name, tuple(n for n in op.inputs if n not in waits), now))
            late.append(Op(op.name, (*waits, *(w for w in weights if now)), rest, op.matrix, op.vector, op.special,
                           op.per, op.role, op.recomputed))  # fmt: skip
        first += [_Kernel(part, early, "before" if late else "")] if early else []
        after += [_Kernel(part, late, "after" if early else "")] if late else []
    return first + after


def _moved(
    graph: Graph, kernels: Sequence[_Kernel], index: int, sizes: dict[str, float]
) -> tuple[list[str], list[str]]:
    """Names of the tensors that a kernel reads from memory, and of those that it writes there."""
    own = kernels[index].ops
    roles = {tensor.name: tensor.role for tensor in graph.tensors}
    others = [op for one in (*kernels[:index], *kernels[index + 1 :]) for op in one.ops]
    elsewhere = {name for op in others for name in (*op.inputs, *op.outputs)}
    reads: dict[str, None] = {}
    writes: dict[str, None] = {}
    written: set[str] = set()
    for op in own:
        for name in op.inputs:
            in_memory = sizes.get(name, 0.0) > 0 or (name not in roles and name in elsewhere)
            if in_memory and name not in written:
                reads[name] = None
        for name in op.outputs:
            written.add(name)
            role = roles.get(name)
            if sizes.get(name, 0.0) > 0 if role is not None else name in elsewhere:
                writes[name] = None
    if kernels[index].part is graph.main and kernels[index].extra != "after":
        known = {name for one in kernels for op in one.ops for name in (*op.inputs, *op.outputs)}
        for tensor in graph.tensors:
            if tensor.name not in known and tensor.bytes > 0:
                (writes if tensor.role == "output" else reads)[tensor.name] = None
    return list(reads), list(writes)


def _lane(
    p: Prediction, one: _Kernel, moved: tuple[list[str], list[str]], sizes: dict[str, float], chosen: bool
) -> Lane:  # fmt: skip
    """Layers with places for edges that pass through, ordered so that few edges cross."""
    import networkx

    reads, writes = moved
    flow: Any = networkx.DiGraph()
    nodes: dict[str, Node] = {}
    producers: dict[str, list[str]] = {}
    for name in reads:
        nodes[f"read {name}"] = _tensor("read", name, sizes)
    for op in one.ops:
        nodes[op.name] = _op(one, op)
        flow.add_node(op.name)
        memory = set()
        for name in op.inputs:
            made = producers.get(name, [])
            flow.add_edges_from((other, op.name) for other in made)
            memory |= {f"read {name}"} if not made and name in reads else set()
        flow.add_edges_from((key, op.name) for key in sorted(memory))
        for name in op.outputs:
            # What is updated in place waits for those that wrote it; what is only added to does not.
            producers[name] = [op.name] if name in op.inputs else [*producers.get(name, []), op.name]
    order = [op.name for op in one.ops]
    generations = [sorted(g, key=order.index) for g in networkx.topological_generations(flow.subgraph(order))]
    for name in writes:
        key = f"write {name}"
        nodes[key] = _tensor("write", name, sizes)
        flow.add_edges_from((other, key) for other in producers.get(name, []))
    layers = [[f"read {name}" for name in reads], *generations, [f"write {name}" for name in writes]]
    loose = frozenset(key for key in nodes if key not in flow)
    slots, edges = _layered(layers, list(flow.edges))
    kernel = one.part.kernel or (p.chosen.implementation.name if chosen and p.chosen.implementation else "")
    if one.part.style == "dense":
        kernel = "matrix products"
    title = f"{one.part.name}, {one.extra}" if one.extra else one.part.name
    placed = tuple(tuple(Slot(key, nodes.get(key)) for key in layer) for layer in slots)
    return Lane(title, kernel, placed, tuple(edges), loose)


def _tensor(way: str, name: str, sizes: dict[str, float]) -> Node:
    size = sizes.get(name)
    return Node(f"{way} {name}", name, (amount(size, "B") if size is not None else "not counted",), size=size)


def _op(one: _Kernel, op: Op) -> Node:
    """An op with its work on each unit over the whole call."""
    scale = one.part.pairs * one.part.instances if op.per == "pair" else 1
    lines = []
    for field, unit, of in UNITS:
        work = float(getattr(op, field) * scale)
        if work:
            lines.append(f"{unit} {amount(work, of)}")
    lines += ["again (recomputed)"] if op.recomputed else []
    name = op.name.removeprefix(f"{one.part.name}.")
    return Node(op.name, name, tuple(lines) or ("counted after",) if one.extra == "before" else tuple(lines),
                op.recomputed)  # fmt: skip


def _layered(
    layers: Sequence[Sequence[str]], flows: Iterable[tuple[str, str]]
) -> tuple[list[list[str]], list[tuple[str, str, bool]]]:
    """Layers in which edges that span several have a place in each, and the edges between neighbours, ordered by the
    middle of their neighbours (Sugiyama's method)."""
    level = {key: i for i, layer in enumerate(layers) for key in layer}
    made = [list(layer) for layer in layers]
    edges = []
    for a, b in flows:
        memory = level[a] == 0 or level[b] == len(layers) - 1
        # A tensor that several ops read passes through once.
        previous = a
        for i in range(level[a] + 1, level[b]):
            key = f"{a} > {i}" if level[a] == 0 else f"{b} < {i}" if level[b] == len(layers) - 1 else f"{a} > {b} {i}"
            if key not in made[i]:
                made[i].append(key)
            edges.append((previous, key, memory))
            previous = key
        edges.append((previous, b, memory))
    edges = list(dict.fromkeys(edges))
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for i in range(1, len(made)) if down else range(len(made) - 2, -1, -1):
            other = made[i - 1 if down else i + 1]
            place = {key: (k + 0.5) / len(other) for k, key in enumerate(other)}
            near = {key: [place[a if down else b] for a, b, _ in edges if (b if down else a) == key] for key in made[i]}
            middle = {key: sum(found) / len(found) if found else 0.5 for key, found in near.items()}
            made[i].sort(key=lambda key: middle[key])
    return made, edges
