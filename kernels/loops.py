"""Loops in machine code: from instructions and their branches to natural loops, the same for every instruction set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import networkx


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction. targets: labels it may jump to. falls: whether the next instruction may follow it."""

    opcode: str
    operands: str
    targets: tuple[str, ...] = ()
    falls: bool = True


class Flow:
    """The control flow of a function: basic blocks, named by their first instruction, and which lead to which.

    labels: the instruction that each label stands before. Blocks that are never reached are left out.
    """

    def __init__(self, code: Sequence[Instruction], labels: Mapping[str, int]) -> None:
        starts = {0, len(code)} | {labels[t] for i in code for t in i.targets if t in labels}
        starts |= {n + 1 for n, i in enumerate(code) if i.targets or not i.falls}
        blocks = {a: range(a, b) for a, b in itertools.pairwise(sorted(starts))}
        graph = networkx.DiGraph()
        graph.add_nodes_from(blocks)
        for start, block in blocks.items():
            last = code[block[-1]]
            graph.add_edges_from((start, labels[t]) for t in last.targets if labels.get(t, len(code)) < len(code))
            if last.falls and block.stop in blocks:
                graph.add_edge(start, block.stop)
        reached = {0} | networkx.descendants(graph, 0) if blocks else set()
        self.graph = graph.subgraph(reached)
        self.blocks = {start: block for start, block in blocks.items() if start in reached}
        self.parent: dict[int, int] = networkx.immediate_dominators(self.graph, 0) if reached else {}

    def dominates(self, head: int, block: int) -> bool:
        """Whether every way to `block` passes `head`."""
        while block != head and self.parent.get(block, block) not in (block, None):
            block = self.parent[block]
        return block == head

    def loops(self) -> dict[int, frozenset[int]]:
        """The blocks of every natural loop by the block it starts with.

        A branch closes a loop if the block it jumps to dominates it: ranges of addresses would not do, since compilers
        move waiting and slow paths behind the end of a function, from where they jump back.
        """
        found: dict[int, set[int]] = {}
        for tail, head in self.graph.edges:
            if self.dominates(head, tail):
                body = {head, tail}
                if tail != head:
                    body |= networkx.ancestors(self.graph.subgraph(n for n in self.graph if n != head), tail)
                found.setdefault(head, set()).update(body)
        return {head: frozenset(body) for head, body in sorted(found.items())}

    def innermost(self, wanted: Callable[[int], bool]) -> dict[int, frozenset[int]]:
        """Loops with an instruction that is `wanted` in them and no smaller loop that has one."""
        chosen = {start for start, block in self.blocks.items() if any(map(wanted, block))}
        holding = {head: body for head, body in self.loops().items() if body & chosen}
        return {h: body for h, body in holding.items() if not any(other < body for other in holding.values())}

    def heaviest(self, head: int, body: frozenset[int], weight: Callable[[int], int]) -> list[int]:
        """Instructions of the heaviest way through one iteration of a loop: of an if and its else only one runs."""
        once = networkx.DiGraph()
        once.add_nodes_from(body)
        for a, b in self.graph.subgraph(body).edges:
            if not self.dominates(b, a):
                once.add_edge(a, b, weight=sum(map(weight, self.blocks[b])))
        if not networkx.is_directed_acyclic_graph(once):  # a jump into the middle of a waiting loop
            return sorted(n for start in body for n in self.blocks[start])
        way = networkx.dag_longest_path(once, weight="weight")
        return sorted(n for start in way for n in self.blocks[start])
