"""What a serving framework adds to an attention kernel: launches, host work, passes that append to the KV cache.

    overhead/<framework>-<version>/<generation>.toml     tables <operation>.<implementation>.<bf16 | fp8 | fp8kv>

Measured latencies of public tables are calls of a framework's layer; `schedule` is the kernel alone. The two
separate cleanly: a kernel's part carries over between frameworks, this one does not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..algebra import Number, maximum, minimum
from ..errors import InputError, unknown
from ..hardware import Hardware
from ..problem import Problem, nbytes
from . import Fitted, Intervals, document, intervals_of, suffix_of

FOLDER = Path(__file__).parent / "overhead"

NEIGHBOURS = {
    "ada": ("ampere", "hopper", "blackwell"), "blackwell-consumer": ("ada", "blackwell", "hopper", "ampere"),
    "ampere": ("hopper", "blackwell"), "hopper": ("blackwell", "ampere"), "blackwell": ("hopper", "ampere"),
}  # fmt: skip
"""Generations whose overheads stand in for those of one that has none, the nearest first."""

PASS_BYTES_PER_CLOCK = 16.0
"""What a compute unit moves in an elementwise kernel out of the L2. Of 16, 32 and as much as the L2 gives, 16 fits the
calibration rows of B200 and H100 best (B200, TensorRT-LLM context: 5.1, 5.1 and 8.9 %)."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Cost of one call around its kernel.

    fixed_s: launches and host, the kernel's own launch included. query_passes, kv_passes: how often the queries, and
    the keys and values of the new tokens, move through memory besides. token_clocks: clocks a token costs on one
    compute unit.
    """

    fixed_s: float = 8e-6
    query_passes: float = 1.0
    kv_passes: float = 1.0
    token_clocks: float = 0.0
    exact: bool = True
    """Whether it was fitted on this framework version, generation, operation, kernel and type, or on the nearest."""
    intervals: Intervals = ()

    def seconds(self, query_bytes: Number, new_kv_bytes: Number, tokens: Number, hardware: Hardware) -> Number:
        """Seconds over the kernel for a call of `tokens` new tokens."""
        bandwidth, clock = hardware.hbm_bandwidth_bytes_per_s, hardware.clock_sustained_hz
        if not bandwidth or not clock:
            raise InputError(f"{hardware.name} lacks the memory bandwidth or clock that an overhead needs")
        moved = self.query_passes * query_bytes + self.kv_passes * new_kv_bytes
        # What one pass writes and the next reads stays in the L2 as far as it fits (96 MB of it beside 0.9 TB/s of
        # memory make the difference on an L40S; elementwise kernels are no faster there than from HBM).
        slow = moved / bandwidth
        if hardware.l2_achieved_bytes_per_s and hardware.l2_bytes:
            resident = minimum(hardware.l2_bytes / maximum(query_bytes + new_kv_bytes, 1), 1)
            rate = min(hardware.l2_achieved_bytes_per_s, PASS_BYTES_PER_CLOCK * hardware.sm_count * clock)
            slow = slow + resident * minimum(moved / rate - slow, 0)
        return self.fixed_s + slow + self.token_clocks * tokens / hardware.sm_count / clock


SCALARS = ("fixed_s", "query_passes", "kv_passes", "token_clocks")
BOUNDS = {
    "fixed_s": Fitted("fixed_s", 2e-7, 6e-5, 8e-6), "query_passes": Fitted("query_passes", 0.0, 20.0, 1.0),
    "kv_passes": Fitted("kv_passes", 0.0, 20.0, 1.0), "token_clocks": Fitted("token_clocks", 0.0, 3000.0, 20.0),
}  # fmt: skip
"""Bounds and starting values of the scalars of every overhead."""

ACTIVATIONS = "bf16"
"""What a layer hands to attention, whatever the kernel computes in."""
APPEND_THREADS = {"vllm": 512}
"""Most threads of the block that appends a token's K to the cache, one an element, where a framework launches a block a
token (vLLM, csrc/cache_kernels.cu, reshape_and_cache_flash: min(num_heads * head_size, 512))."""


ROTATED_HEADS = {"trtllm": 32.0}
"""Query heads that a token is counted by, where a framework rotates and quantises head by head: beside the bytes, each
costs its addresses and angles, whatever its width (TensorRT-LLM, unfusedAttentionKernels_2_template.h: a grid over
blocks of tokens, sequences and heads; B200 context 3.6 %, not 4.8)."""


def weighed_tokens(framework: str, tokens: Number, elements: Number, heads: Number) -> Number:
    """Tokens as blocks of the most threads, where K of one token has so many `elements`: smaller blocks leave room for
    more of them on a compute unit, and half of their time is latency, half in proportion to their warps. To start one
    costs an eighth (vLLM on H100, keys of 64 elements)."""
    if framework in ROTATED_HEADS:
        return tokens * heads / ROTATED_HEADS[framework]
    if framework not in APPEND_THREADS:
        return tokens
    share = minimum(elements / APPEND_THREADS[framework], 1)
    return tokens * maximum(share * (0.5 + 0.5 * share), 0.125)


def path_of(framework: str, version: str, generation: str) -> Path:
    """The file of one framework version on one generation, whether it exists or not."""
    return FOLDER / f"{framework}-{version}" / f"{generation}.toml"


def load(
    framework: str, version: str, generation: str, operation: str, implementation: str, suffix: str
) -> Overhead | None:
    """The overhead of a kernel in an operation, or the nearest that is known: of another kernel or type in the same
    operation, of another version, of a neighbouring generation. None: the framework or operation is not known at all.

    Raises InputError for a file with an unknown or unsourced constant.
    """
    wanted = f"{framework}-{version}"
    for kind in (generation, *NEIGHBOURS.get(generation, ())):
        for name in _versions(framework, version):
            operations = _read(FOLDER / name / f"{kind}.toml").get(operation)
            if operations:
                found, same = _nearest(operations, implementation, suffix)
                exact = same and name == wanted and kind == generation
                return found if exact else _inexact(found)
    return None


def find(name: str) -> tuple[str, str]:
    """Framework and version of `vllm-0.24.0`, or the last version of `vllm`. Raises InputError."""
    known = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
    given = name.strip().lower()
    if given not in known:
        versions = [one for one in known if one.partition("-")[0] == given]
        if not versions:
            raise unknown("framework", name, (*dict.fromkeys(one.partition("-")[0] for one in known), *known))
        given = versions[-1]
    framework, _, version = given.partition("-")
    return framework, version


def nearest(
    framework: tuple[str, str], hardware: Hardware, implementation: str, problem: Problem
) -> Overhead | None:  # fmt: skip
    """The overhead of a framework's call of a problem, or the nearest that is known (see `load`)."""
    suffix, usual = suffix_of(problem.dtype, problem.kv_dtype), operation_of(problem)
    runs = [op for op, names in kernels(framework, hardware.generation).items() if implementation in names]
    operation = runs[0] if runs and usual not in runs else usual
    return load(*framework, hardware.generation, operation, implementation, suffix)


def of_call(framework: tuple[str, str], hardware: Hardware, implementation: str, problem: Problem) -> Number | None:
    """Seconds that a framework adds to a call, None where nothing is known of its kind (see `operation_of`)."""
    known = nearest(framework, hardware, implementation, problem)
    return None if known is None else of_problem(known, problem, hardware, framework[0])


def kernels(framework: tuple[str, str], generation: str) -> dict[str, tuple[str, ...]]:
    """Operation -> names of the kernels that a framework (this version, else another) runs in it on a generation."""
    found: dict[str, tuple[str, ...]] = {}
    for name in _versions(*framework):
        for operation, known in _read(FOLDER / name / f"{generation}.toml").items():
            found.setdefault(operation, tuple(known))
    return found


def _versions(framework: str, version: str) -> list[str]:
    """Folders of a framework, the asked version first, then the newest."""
    known = sorted((p.name for p in FOLDER.glob(f"{framework}-*")), reverse=True)
    wanted = f"{framework}-{version}"
    return [wanted] * (wanted in known) + [name for name in known if name != wanted]


def of_problem(known: Overhead, problem: Problem, hardware: Hardware, framework: str = "") -> Number:
    """Seconds of an overhead around a problem, whose tokens count as they do in the framework (`weighed_tokens`)."""
    around = moved(
        framework, operation_of(problem), problem.batch * problem.queries, problem.heads, problem.kv_heads,
        problem.head_dim, problem.head_dim + problem.v_dim, problem.kv_dtype,
    )  # fmt: skip
    return known.seconds(*around, hardware)


def moved(
    framework: str, operation: str, tokens: Number, heads: Number, kv_heads: Number, head_dim: Number, width: Number,
    kv_dtype: str,
) -> tuple[Number, Number, Number]:  # fmt: skip
    """What an overhead depends on: bytes of queries, bytes of new keys and values (`width` elements a token and kv
    head), tokens as the framework's passes count them. No layer hands narrower queries to attention than ACTIVATIONS.
    """
    queries = nbytes(tokens * heads * head_dim, ACTIVATIONS)
    new_kv = nbytes(tokens * kv_heads * width, kv_dtype)
    if operation != "encoder":
        tokens = weighed_tokens(framework, tokens, kv_heads * head_dim, heads)
    return queries, new_kv, tokens


def operation_of(problem: Problem) -> str:
    """How frameworks call a problem: decode (one new token a sequence), encoder (not causal), else context."""
    if bool(np.all(np.asarray(problem.queries) == 1)):
        return "decode"
    return "context" if problem.causal else "encoder"


def _nearest(kernels: dict[str, dict[str, Overhead]], implementation: str, suffix: str) -> tuple[Overhead, bool]:
    """Of the tables of an operation the one of the kernel and type, or the nearest; and whether it is the one."""
    same = kernels.get(implementation)
    types = same or next(iter(kernels.values()))
    found = types.get(suffix) or next(iter(types.values()))
    return found, same is not None and suffix in types


def _inexact(found: Overhead) -> Overhead:
    return Overhead(found.fixed_s, found.query_passes, found.kv_passes, found.token_clocks, exact=False)


@functools.cache
def _read(path: Path) -> dict[str, dict[str, dict[str, Overhead]]]:
    """The overheads of a file: operation -> implementation -> type. Empty where there is no file."""
    if not path.is_file():
        return {}
    known = {f.name for f in fields(Overhead)} - {"exact", "intervals"}
    result: dict[str, dict[str, dict[str, Overhead]]] = {}
    for operation, kernels in document(path).items():
        if not isinstance(kernels, dict):
            continue
        for kernel, types in kernels.items():
            for suffix, table in types.items():
                one = _overhead(path, f"{operation}.{kernel}.{suffix}", table, known)
                result.setdefault(operation, {}).setdefault(kernel, {})[suffix] = one
    return result


def _overhead(path: Path, name: str, table: dict[str, Any], known: set[str]) -> Overhead:
    values: dict[str, Any] = {}
    for scalar, value in table.items():
        if scalar in ("source", "interval", "rows"):
            continue
        if scalar not in known:
            raise InputError(f"{path.parent.name}/{path.name}: {name} has the unknown constant {scalar!r}")
        values[scalar] = float(value)
    if not table.get("source"):
        raise InputError(f"{path.parent.name}/{path.name}: {name} has no source")
    return Overhead(**values, intervals=intervals_of(table.get("interval", [])))
