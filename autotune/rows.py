"""Rows of measured tables as problems of arrays, and what the simulator says of them kernel by kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulator import implementations, variants
from ..simulator.algebra import Number
from ..simulator.calibration import suffix_of
from ..simulator.calibration.overhead import Overhead
from ..simulator.calibration.overhead import load as load_overhead
from ..simulator.calibration.overhead import moved as bytes_moved
from ..simulator.errors import InputError
from ..simulator.families.softmax import attention_part, attention_tensors, cache_bytes, dense_mask, read_keys
from ..simulator.graph import Graph
from ..simulator.hardware import Hardware
from ..simulator.implementations import FEW_QUERIES
from ..simulator.masks import BandMask
from ..simulator.predict import Candidate, Choice, Evaluation, evaluate
from ..simulator.problem import Problem
from ..simulator.variants import Variant
from .layers import LAYERS
from .silicon import Floats, Table

BLOCK = 16384
"""Problems evaluated at a time (the arrays then stay in the cache)."""
COLUMNS = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "v_dim", "window", "chunk")

KEEPS_WINDOWS = {
    "context": ("triton", "vllm_triton_attn", "vllm_flash_attn_fa2"), "decode": ("vllm_flash_attn_fa2",),
}  # fmt: skip
"""Kernel sources that run as windowed even where all keys lie in the window: Triton kernels are compiled with it, and
vLLM hands FlashAttention-2 the window together with the longest sequence there may be."""


@dataclass(frozen=True, eq=False)
class Call(Variant):
    """The attention of measured calls: dense or causal, `left` keys of a window at each point (an array; None: no
    window), V a part of K (`v_in_k`) as in absorbed latent attention. Without projections of any kind."""

    left: Number | None = None
    v_in_k: bool = False

    id = "measured-call"
    family = "softmax"

    def graph(self, problem: Problem) -> Graph:
        mask = dense_mask(problem)
        keys: Number = problem.kv_len
        if self.left is not None:
            mask = BandMask(problem.queries, problem.kv_len, left=self.left, right=0)
            keys = read_keys(problem, self.left, 0)
        part = attention_part(problem, mask, shared_kv=self.v_in_k)
        return Graph((part,), attention_tensors(problem, part, keys), cache_bytes(problem, problem.kv_len))


@dataclass(frozen=True, slots=True)
class Kind:
    """What all problems of some tables share."""

    dtype: str
    kv_dtype: str
    causal: bool = True
    v_in_k: bool = False
    variant: str = ""
    parameters: tuple[tuple[str, Any], ...] = ()


def kind_of(table: Table) -> Kind:
    """What the rows of a table share."""
    causal = table.operation != "encoder"
    return Kind(table.dtype, table.kv_dtype, causal, table.v_in_k, table.variant, tuple(table.parameters.items()))


def problems(table: Table) -> Floats:
    """One row of COLUMNS for each row of the table; chunks that a shorter problem expresses are gone."""
    columns = {name: getattr(table, name) for name in COLUMNS}
    chunk, seq, kv_len = table.chunk, table.seq, table.kv_len
    # A single query sees its own chunk, up to itself; a sequence inside the first chunk is plainly causal.
    single = (chunk > 0) & (seq == 1)
    columns["kv_len"] = np.where(single, (kv_len - 1) % np.maximum(chunk, 1) + 1, kv_len)
    columns["chunk"] = np.where(single | ((seq == kv_len) & (seq <= chunk)), 0.0, chunk)
    # Where all keys lie in the window, most frameworks run the kernel without one.
    kept = table.kernel_source in KEEPS_WINDOWS.get(table.operation, ())
    within = np.minimum(table.window, columns["kv_len"]) if kept else 0.0
    columns["window"] = np.where(table.window >= columns["kv_len"], within, table.window)
    return np.stack([columns[name] for name in COLUMNS], axis=1)


def groups(rows: Floats, hardware: Hardware, kernels: Iterable[str] = ()) -> Iterator[NDArray[np.int64]]:
    """Blocks of problems with the same discrete structure: widths, heads per kv head, window or not, the number of
    queries where they are few (decode kernels choose tiles by it) or in chunks, and what else the named kernels are
    chosen by."""
    batch, heads, kv_heads, seq, kv_len, head_dim, v_dim, window, chunk = rows.T
    chosen = [implementations.get(name).chosen_by(batch, kv_heads, kv_len, hardware) for name in kernels]
    few = np.where((seq <= FEW_QUERIES) | (chunk > 0), seq, 0)
    code = np.zeros(len(rows), dtype=np.int64)
    for value in (few, heads / kv_heads, head_dim, v_dim, window > 0, chunk, *chosen):
        value = np.broadcast_to(value, len(rows))
        _, inverse = np.unique(value, return_inverse=True)
        _, code = np.unique(code * (int(inverse.max()) + 1) + inverse, return_inverse=True)
    order = np.argsort(code, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        yield from (members[start : start + BLOCK] for start in range(0, len(members), BLOCK))


def _problem(rows: Floats, kind: Kind) -> Problem | None:
    """One group as a problem of arrays, or None where its chunks cannot be expressed."""
    batch, heads, kv_heads, seq, kv_len, head_dim, v_dim, _, chunk = rows.T
    shape: tuple[Number, ...] = (int(seq[0]) if bool((seq == seq[0]).all()) else seq,)
    documents = None
    if chunk[0]:
        if bool((seq != kv_len).any()) or not kind.causal:
            return None
        whole, rest = divmod(int(seq[0]), int(chunk[0]))
        documents = (int(chunk[0]),) * whole + ((rest,) if rest else ())
    return Problem(
        batch=batch, heads=heads, kv_heads=kv_heads, shape=shape, kv_len=kv_len, head_dim=int(head_dim[0]),
        v_dim=int(v_dim[0]), dtype=kind.dtype, kv_dtype=kind.kv_dtype, causal=kind.causal, documents=documents,
        cache="warm",
    )  # fmt: skip


def asked(rows: Floats, kind: Kind) -> tuple[Variant, Problem] | None:
    """The variant and problem of one group of rows (of COLUMNS), or None where they cannot be expressed."""
    problem = _problem(rows, kind)
    if problem is None:
        return None
    if not kind.variant:
        return Call(rows[:, 7] - 1 if rows[0, 7] else None, kind.v_in_k), problem
    made = LAYERS.get(kind.variant) or variants.get_class(kind.variant)
    variant = made(**dict(kind.parameters))
    return variant, variant.prepare(problem)


def first_that_accepts(
    variant: Variant, problem: Problem, hardware: Hardware, kernels: Sequence[str]
) -> tuple[str, Evaluation] | None:
    """The first of the kernels that has an implementation for the problem on the chip, evaluated alone."""
    for name in kernels:
        kernel = implementations.get(name)
        if hardware.generation not in kernel.generations and kernel.generations:
            continue
        try:
            evaluation = evaluate(variant, problem, hardware, Choice(kernel=kernel))
        except InputError:
            continue
        if any(c.time_s is not None for c in evaluation.candidates):
            return name, evaluation
    return None


def kernel_time(candidate: Candidate) -> Number:
    """Seconds of the schedule without launches: those are in what the framework adds."""
    assert candidate.time_s is not None
    return candidate.time_s - sum(term.time_s for term in candidate.terms if term.name == "launch")


@dataclass(frozen=True, slots=True)
class Moved:
    """What an overhead depends on: bytes of queries, bytes of the new keys and values, new tokens (weighed)."""

    queries: Floats
    new_kv: Floats
    tokens: Floats

    def of(self, rows: NDArray[Any]) -> Moved:
        return Moved(self.queries[rows], self.new_kv[rows], self.tokens[rows])


def moved(table: Table) -> Moved:
    """The bytes and tokens of each row of a table."""
    width = table.head_dim + (0 if table.v_in_k else table.v_dim)
    return Moved(*bytes_moved(
        table.framework, table.operation, table.batch * table.seq, table.heads, table.kv_heads, table.head_dim, width,
        table.kv_dtype,
    ))  # fmt: skip


def overhead_of(table: Table, generation: str, implementation: str) -> Overhead | None:
    """What is known to surround a kernel in the framework of a table."""
    suffix = suffix_of(table.dtype, table.kv_dtype)
    return load_overhead(table.framework, table.version, generation, table.operation, implementation, suffix)


def summary(sizes: Floats) -> tuple[float, float, float]:
    """Mean, median and 90th percentile of the sizes of errors."""
    return float(sizes.mean()), float(np.median(sizes)), float(np.percentile(sizes, 90))


def identity(table: Table) -> Mapping[str, str]:
    """What a table is of, by the names of the output."""
    return {
        "chip": table.chip, "framework": table.framework, "version": table.version, "op": table.operation,
        "kernel_source": table.kernel_source, "dtype": table.dtype, "kv_dtype": table.kv_dtype,
    }  # fmt: skip
