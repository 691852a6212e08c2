"""The operator as dataflow: parts (kernels), their ops with the unit each uses, and the tensors between them.

A *part* is a fusion group: what one kernel can do without writing anything in between. Tensors that cross
from one part to the next move through memory at the `tiles` rung; at `roofline` the whole operator counts
as fused and only its own inputs and outputs move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .algebra import Number
from .problem import nbytes

if TYPE_CHECKING:
    from .masks import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """`role`: input | output | weight | state (read and written: a recurrent state) | intermediate."""

    name: str
    elements: Number
    dtype: str
    role: str

    @property
    def bytes(self) -> Number:
        return nbytes(self.elements, self.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """Work of one step. With `per` = "pair" the three amounts are per (query, key) pair of one head, with
    "total" they are the whole call.

    matrix: FLOPs on the matrix unit in `dtype`. vector: FP32 FLOPs. special: exponentials, logarithms, ...
    role "scores" contracts over head_dim, "values" has v_dim columns: tiling pads them accordingly.
    recomputed: counts from the `tiles` rung on only (scores that a fused backward computes again).
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    matrix: Number = 0
    vector: Number = 0
    special: Number = 0
    per: str = "total"
    role: str = ""
    recomputed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One fusion group. style: attention (pairs under a mask) | index (their scores alone) | select (the best scores of
    each row) | chunked (state carried over chunks) | dense
    (matrix products with weights).

    For attention: `mask` over one head of one sequence, `pairs` of it, `batch` x `heads` instances of it,
    `kv_heads` of them with keys of their own; scores of depth `depth`, values of width `width`; `shared_kv`:
    the values are the first columns of the keys (absorbed latent attention), stored and read once.
    selected: keys that a query selects at most, 0 without selection. tile, kernel: rows, keys and packed heads of the
    kernel that runs it, and the implementation with its constants, where they do not follow from the candidate's.
    query_heads: of 2-simplicial attention, where `heads` counts a pass over the mask for every second key: the heads of
    its queries; 0 elsewhere.
    For chunked: `tokens` in chunks of `chunk`, state of `depth` x `width` per head; serial: each chunk's state waits
    for the one before.
    """

    name: str
    style: str
    ops: tuple[Op, ...]
    dtype: str
    kv_dtype: str = "bf16"
    mask: Mask | None = None
    pairs: Number = 0
    batch: Number = 1
    heads: Number = 1
    kv_heads: Number = 1
    depth: Number = 0
    width: Number = 0
    shared_kv: bool = False
    chunk: int = 0
    tokens: Number = 0
    keys: Number = 0
    backward: bool = False
    serial: bool = False
    query_heads: int = 0
    selected: int = 0
    tile: tuple[int, int, int] | None = None
    kernel: str = ""

    @property
    def instances(self) -> Number:
        """How many times the mask is computed: once for each query head of each sequence."""
        return self.batch * self.heads


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Parts in the order they run, and every tensor by name.

    cache_bytes: what one layer keeps of the whole batch after the call (KV cache or recurrent state).
    """

    parts: tuple[Part, ...]
    tensors: tuple[Tensor, ...]
    cache_bytes: Number = 0

    @property
    def main(self) -> Part:
        """The part that pairs and tiles are reported for: the first attention, else the first that has a mask, else the
        first."""
        masked = [part for part in self.parts if part.mask is not None]
        attention = [part for part in masked if part.style == "attention"]
        return (attention or masked or list(self.parts))[0]

    def networkx(self) -> Any:
        """A networkx.DiGraph: ops and tensors as nodes, dataflow as edges (for analysis and drawing)."""
        import networkx

        drawing = networkx.DiGraph()
        for tensor in self.tensors:
            drawing.add_node(tensor.name, kind="tensor", role=tensor.role, elements=tensor.elements)
        for part in self.parts:
            for op in part.ops:
                drawing.add_node(op.name, kind="op", part=part.name, recomputed=op.recomputed)
                drawing.add_edges_from((name, op.name) for name in op.inputs)
                drawing.add_edges_from((op.name, name) for name in op.outputs)
        return drawing
