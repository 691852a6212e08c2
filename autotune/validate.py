"""Predictions against measured latencies: does any beat a floor, and how far off is `schedule`.

`check` puts beside every row of a table (see `silicon`) what `predict` says of its problem: `roofline`, `tiles` (the
least over the legal tiles of the known kernels, cache warm, as the tables were measured) and the predicted latency:
`schedule` of the kernel that ran plus what the framework adds around it. A table says what ran in its own words
(KERNELS); where those name no kernel that is known, the fastest one stands for it.

Rows of one chip are evaluated together, each distinct problem once, in groups of like structure: every expression of
the simulator then runs on arrays.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulator.algebra import Number
from ..simulator.api import load_hardware
from ..simulator.calibration.overhead import load as load_overhead
from ..simulator.errors import unknown
from ..simulator.families.softmax import attention_part, attention_tensors, cache_bytes, dense_mask, read_keys
from ..simulator.graph import Graph
from ..simulator.hardware import Hardware
from ..simulator.implementations import FEW_QUERIES
from ..simulator.masks import BandMask
from ..simulator.predict import Candidate, evaluate
from ..simulator.problem import Problem, nbytes
from ..simulator.variants import Variant
from .silicon import SPLITS, Floats, Table, known_bad, tables

Record = dict[str, Any]
Kernels = tuple[str, ...] | None

_FA2, _FA3, _FA4 = ("fa2", "fa2-split-kv"), ("fa3", "fa3-split-kv"), ("fa4",)
_FUSED, _FLASHINFER = ("cudnn", "fa2", "fa3", "fa4"), ("flashinfer-decode",)
KERNELS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    **dict.fromkeys(("vllm_flash_attn", "vllm_flash_attn_fa2", "vllm_vit_flash_attn_fa2"), (_FA2, _FA2)),
    **dict.fromkeys(("fa3", "vllm_flash_attn_fa3", "vllm_vit_flash_attn_fa3", "flash_attention_v3"), (_FA3, _FA3)),
    **dict.fromkeys(("vllm_flash_attn_fa4", "vllm_vit_flash_attn_fa4", "flash_attention_v4"), (_FA4, _FA4)),
    "flash_attention": ((*_FA3, *_FA2), (*_FA3, *_FA2)),
    **dict.fromkeys(("triton", "vllm_triton_attn"), (("triton-flash",), ("triton-decode",))),
    **dict.fromkeys(("flashinfer", "vllm_flashinfer_fiprefill"), (("fa2", *_FLASHINFER), _FLASHINFER)),
    **dict.fromkeys(("vllm_flashinfer_fidecode", "vllm_flashinfer_trtllmdecode"), (_FLASHINFER, _FLASHINFER)),
    **dict.fromkeys(("torch_flow", "torch_flow_flashinfer", "default", "trtllm_mha", "trtllm_mla", "vllm_flashinfer",
                     "vllm_flashinfer_trtllmprefill"), (_FUSED, _FLASHINFER)),
}  # fmt: skip
"""A table's name for what ran, and the known kernels nearest to it: for whole sequences, and for decoding.

TensorRT-LLM's own kernels are not among the known ones: fused kernels of the same chip that do not pack the heads of a
kv head stand for its prefill (on H100 and B200 they fit better than packing ones), FlashInfer's for its decoding.
"""

BLOCK = 16384
"""Problems evaluated at a time (the arrays then stay in the cache)."""
COLUMNS = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "v_dim", "window", "chunk")
ACTIVATIONS = "bf16"
"""What a layer hands to attention in every table, whatever the kernel computes in."""


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
class Rungs:
    """Seconds of each problem, NaN where there is no such number. schedule: for each choice of kernels, without
    launches; implementation: the kernel it comes from, an index into `names`."""

    roofline: Floats
    tiles: Floats
    schedule: dict[Kernels, Floats]
    implementation: dict[Kernels, NDArray[np.int64]]
    names: list[str]


@dataclass(frozen=True, slots=True)
class Checked:
    """A table and what is predicted for each of its rows (seconds, NaN where nothing is)."""

    table: Table
    roofline_s: Floats
    tiles_s: Floats
    predicted_s: Floats
    implementation: NDArray[np.object_]
    """The kernel whose schedule is predicted, None where no known kernel takes the problem."""
    schedule_s: Floats = field(default_factory=lambda: np.empty(0))
    """The kernel's part of the prediction, without its launch."""


def kernels_of(table: Table) -> Kernels:
    """The known kernels that the table's rows are predicted with, None: the fastest of all."""
    prefill, decode = KERNELS.get(table.kernel_source, (None, None))
    return decode if table.operation.endswith("decode") else prefill


def problems(table: Table) -> Floats:
    """One row of COLUMNS for each row of the table; chunks that a shorter problem expresses are gone."""
    columns = {name: getattr(table, name) for name in COLUMNS}
    chunk, seq, kv_len = table.chunk, table.seq, table.kv_len
    # A single query sees its own chunk, up to itself; a sequence inside the first chunk is plainly causal.
    single = (chunk > 0) & (seq == 1)
    columns["kv_len"] = np.where(single, (kv_len - 1) % np.maximum(chunk, 1) + 1, kv_len)
    columns["chunk"] = np.where(single | ((seq == kv_len) & (seq <= chunk)), 0.0, chunk)
    columns["window"] = np.where(table.window >= columns["kv_len"], 0.0, table.window)
    return np.stack([columns[name] for name in COLUMNS], axis=1)


def _groups(rows: Floats) -> Iterator[NDArray[np.int64]]:
    """Blocks of problems with the same discrete structure: widths, heads per kv head, window or not, and the number
    of queries where they are few (decode kernels choose tiles by it) or in chunks."""
    _, heads, kv_heads, seq, _, head_dim, v_dim, window, chunk = rows.T
    few = np.where((seq <= FEW_QUERIES) | (chunk > 0), seq, 0)
    code = np.zeros(len(rows), dtype=np.int64)
    for value in (few, heads / kv_heads, head_dim, v_dim, window > 0, chunk):
        _, inverse = np.unique(value, return_inverse=True)
        _, code = np.unique(code * (int(inverse.max()) + 1) + inverse, return_inverse=True)
    order = np.argsort(code, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(code[order])) + 1):
        yield from (members[start : start + BLOCK] for start in range(0, len(members), BLOCK))


def _problem(rows: Floats, dtype: str, kv_dtype: str, causal: bool) -> Problem | None:
    """One group as a problem of arrays, or None where its chunks cannot be expressed."""
    batch, heads, kv_heads, seq, kv_len, head_dim, v_dim, _, chunk = rows.T
    shape: tuple[Number, ...] = (int(seq[0]) if bool((seq == seq[0]).all()) else seq,)
    documents = None
    if chunk[0]:
        if bool((seq != kv_len).any()) or not causal:
            return None
        whole, rest = divmod(int(seq[0]), int(chunk[0]))
        documents = (int(chunk[0]),) * whole + ((rest,) if rest else ())
    return Problem(
        batch=batch, heads=heads, kv_heads=kv_heads, shape=shape, kv_len=kv_len, head_dim=int(head_dim[0]),
        v_dim=int(v_dim[0]), dtype=dtype, kv_dtype=kv_dtype, causal=causal, documents=documents, cache="warm",
    )  # fmt: skip


def _kernel_time(candidate: Candidate) -> Number:
    """Seconds of the schedule without launches: those are in what the framework adds."""
    assert candidate.time_s is not None
    return candidate.time_s - sum(term.time_s for term in candidate.terms if term.name == "launch")


def rungs(
    rows: Floats, hardware: Hardware, dtype: str, kv_dtype: str, *,
    causal: bool = True, v_in_k: bool = False, kernels: Collection[Kernels] = (None,),
) -> Rungs:  # fmt: skip
    """The rungs of distinct problems (rows of COLUMNS) on one chip."""
    size = len(rows)
    result = Rungs(
        np.full(size, np.nan), np.full(size, np.nan), {k: np.full(size, np.nan) for k in kernels},
        {k: np.full(size, -1, dtype=np.int64) for k in kernels}, [],
    )  # fmt: skip
    for members in _groups(rows):
        some = rows[members]
        problem = _problem(some, dtype, kv_dtype, causal)
        if problem is None:
            continue
        left = some[:, 7] - 1 if some[0, 7] else None
        evaluation = evaluate(Call(left, v_in_k), problem, hardware)
        if evaluation.roofline is not None:
            result.roofline[members] = evaluation.roofline.time_s
        timed = [c for c in evaluation.candidates if c.implementation is not None]
        if timed and evaluation.tiles_s is not None:
            result.tiles[members] = evaluation.tiles_s
        for allowed in kernels:
            _settle(result, members, allowed, timed)
    return result


def _settle(result: Rungs, members: NDArray[np.int64], allowed: Kernels, timed: Sequence[Candidate]) -> None:
    """The fastest of the allowed kernels, or of all where none of those takes the problem."""
    scheduled = [c for c in timed if c.time_s is not None]
    chosen = [c for c in scheduled if allowed and c.implementation and c.implementation.name in allowed] or scheduled
    for candidate in chosen:
        assert candidate.implementation is not None
        name = candidate.implementation.name
        if name not in result.names:
            result.names.append(name)
        seconds = np.broadcast_to(_kernel_time(candidate), members.shape)
        best = result.schedule[allowed][members]
        faster = ~(best <= seconds)
        result.schedule[allowed][members] = np.where(faster, seconds, best)
        held = result.implementation[allowed][members]
        result.implementation[allowed][members] = np.where(faster, result.names.index(name), held)


def overhead_s(table: Table, hardware: Hardware) -> Floats:
    """What the framework adds to each row's kernel; zero for a framework that nothing is known of."""
    overhead = load_overhead(table.framework, table.version, table.operation.removeprefix("mla "))
    if overhead is None:
        return np.zeros(len(table))
    tokens = table.batch * table.seq
    width = table.head_dim + (0 if table.v_in_k else table.v_dim)
    queries = nbytes(tokens * table.heads * table.head_dim, ACTIVATIONS)
    added = nbytes(tokens * table.kv_heads * width, table.kv_dtype)
    seconds: Floats = overhead.seconds(queries, added, tokens, hardware)
    return seconds


def check(measured: Iterable[Table]) -> Iterator[Checked]:
    """Every table with its predictions, in the order given; tables of one chip that follow each other together."""
    for chip, group in itertools.groupby(measured, key=lambda table: table.chip):
        yield from _check_chip(load_hardware(chip), list(group))


def _check_chip(hardware: Hardware, group: list[Table]) -> list[Checked]:
    """The tables of one chip: those with the same types are evaluated as one."""
    alike: dict[tuple[str, str, bool, bool], list[int]] = {}
    for index, table in enumerate(group):
        causal = table.operation != "encoder"
        alike.setdefault((table.dtype, table.kv_dtype, table.v_in_k, causal), []).append(index)
    checked: dict[int, Checked] = {}
    for (dtype, kv_dtype, v_in_k, causal), indices in alike.items():
        rows = np.concatenate([problems(group[index]) for index in indices])
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        kernels = {kernels_of(group[index]) for index in indices}
        found = rungs(distinct, hardware, dtype, kv_dtype, causal=causal, v_in_k=v_in_k, kernels=kernels)
        names = np.array([*found.names, None], dtype=object)
        parts = np.split(inverse.reshape(-1), np.cumsum([len(group[index]) for index in indices])[:-1])
        for index, part in zip(indices, parts, strict=True):
            table = group[index]
            allowed = kernels_of(table)
            kernel = found.schedule[allowed][part]
            checked[index] = Checked(
                table, found.roofline[part], found.tiles[part], kernel + overhead_s(table, hardware),
                names[found.implementation[allowed][part]], kernel,
            )  # fmt: skip
    return [checked[index] for index in range(len(group))]


def beaten(floor_s: Floats, latency_s: Floats) -> NDArray[np.bool_]:
    """Where a latency is below a floor (not where the floor is unknown)."""
    with np.errstate(invalid="ignore"):
        below: NDArray[np.bool_] = latency_s < floor_s * (1 - 1e-9)
    return below


def _identity(one: Checked) -> Record:
    table = one.table
    return {
        "chip": table.chip, "framework": table.framework, "version": table.version, "op": table.operation,
        "kernel_source": table.kernel_source, "dtype": table.dtype, "kv_dtype": table.kv_dtype,
    }  # fmt: skip


FINE = ("chip", "framework", "version", "op", "kernel_source", "dtype", "kv_dtype")
COARSE = ("chip", "framework", "version", "op")


def records(checked: Iterable[Checked], keys: Sequence[str] = FINE, splits: Collection[str] = SPLITS) -> list[Record]:
    """One record for each combination of `keys` and split that has rows. Percent as numbers, None without rows."""
    groups: dict[tuple[str, ...], list[Checked]] = {}
    for one in checked:
        identity = _identity(one)
        groups.setdefault(tuple(identity[key] for key in keys), []).append(one)
    return [
        dict(zip(keys, values, strict=True)) | _record(members, split)
        for values, members in groups.items()
        for split in SPLITS
        if split in splits and any((one.table.split == SPLITS.index(split)).any() for one in members)
    ]


def _record(members: Sequence[Checked], split: str) -> Record:
    """The numbers of one split of some tables, without the rows that a rule excludes."""
    code = SPLITS.index(split)
    rows = [one.table.rows(split) for one in members]

    def together(values: Callable[[Checked], Any]) -> Any:
        return np.concatenate([values(one)[chosen] for one, chosen in zip(members, rows, strict=True)])

    latency, predicted = together(lambda one: one.table.latency_s), together(lambda one: one.predicted_s)
    roofline = beaten(together(lambda one: one.roofline_s), latency)
    tiles = beaten(together(lambda one: one.tiles_s), latency)
    known = ~np.isnan(predicted)
    names = Counter(together(lambda one: one.implementation)[known].tolist())
    signed = 100 * (predicted[known] / latency[known] - 1)
    reasons: Counter[str] = Counter()
    for one in members:
        reasons.update(_reasons(one.table, code))
    return {
        "implementation": names.most_common(1)[0][0] if names else None, "split": split, "rows": len(latency),
        "predicted": int(known.sum()), **_errors(signed), "bound_violations": int((roofline | tiles).sum()),
        "roofline_violations": int(roofline.sum()), "tiles_violations": int(tiles.sum()),
        "excluded": sum(int((one.table.excluded & (one.table.split == code)).sum()) for one in members),
        "reasons": dict(reasons),
    }  # fmt: skip


def _errors(signed: Floats) -> Record:
    """Errors in percent from signed ones: mean, median and 90th percentile of their size, and the signed median."""
    if not len(signed):
        return dict.fromkeys(("mape", "median", "p90", "signed_median"))
    size = np.abs(signed)
    return {
        "mape": float(size.mean()), "median": float(np.median(size)), "p90": float(np.percentile(size, 90)),
        "signed_median": float(np.median(signed)),
    }  # fmt: skip


def _reasons(table: Table, split: int) -> Counter[str]:
    """Excluded rows of a split by the first rule that matches."""
    left = table.excluded & (table.split == split)
    found: Counter[str] = Counter()
    for rule in known_bad() if left.any() else ():
        if rule.name in table.reasons:
            matched = rule.matches(table) & left
            if matched.any():
                found[rule.name] = int(matched.sum())
            left = left & ~matched
    return found


def validate(
    chips: Collection[str] | None = None, frameworks: Collection[str] | None = None,
    operations: Collection[str] | None = None, splits: Collection[str] | None = None, *, keys: Sequence[str] = FINE,
) -> list[Record]:  # fmt: skip
    """Records of the installed tables, all of them or those named. Raises InputError as `silicon.tables` does."""
    for name in splits or ():
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
    made: list[Record] = []
    measured = tables(chips, frameworks, operations)
    for chip, group in itertools.groupby(measured, key=lambda table: table.chip):
        made += records(_check_chip(load_hardware(chip), list(group)), keys, splits or SPLITS)
    return made
