"""Constants of the `schedule` rung: one TOML a kernel and hardware generation, each constant with its origin.

    <implementation>/<generation>.toml     rates and overheads of one kernel on one generation

A file has `confidence` ("literature", "fitted" or "zero-shot"), `error_percent` (the error known for predictions made
with it, or none), and a table `constants` of `{ value, source }`. One that is fitted has `low` and `high`, its bounds,
too; the fit starts at `start`, or at the default of `Constants`. `fit` says what it was fitted on and when, `interval`
how far measured times lie from predicted ones, by region of predicted time. Files of another direction or of narrow
types, `<generation>-backward`, `-fp8` and `-fp8kv` (16-bit operands, 8-bit cache), stand beside it where they differ.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Any

from ..algebra import Number, where
from ..errors import InputError, unknown
from ..problem import DTYPE_BITS


@dataclass(frozen=True, slots=True)
class Constants:
    """How a kernel runs on one generation.

    matrix_efficiency: share of the matrix peak (at the sustained clock) that its inner loop can feed, <= 1.
    softmax_exposed: share of the shorter of matrix and softmax time that is not hidden behind the longer, where both
    are as long; exposed_power: how fast it falls with their ratio (0: not at all).
    exp_share: share of the exponentials done on the special-function unit (the rest on the FMA lanes).
    vector_slots_per_pair: vector-lane issue slots a pair takes in softmax (max, scale, sum, convert).
    vector_slots_per_output: slots that an element of the output takes with every key tile (rescaled, added to).
    mask_slots_per_pair, mask_slots_per_axis, mask_slots_per_window: further slots where the mask is evaluated, and
    more of them for each axis of the token layout after the first, and where a window bounds the keys.
    tile_clocks: clocks a key tile costs beyond its work (barriers, descriptor and loop overhead).
    cta_clocks: clocks a query tile costs for its prologue and epilogue (pipeline fill and drain). cta_proportional:
    share of them in proportion to what the tile loads and stores. gather_clocks: further clocks for each row of
    queries that is loaded by itself.
    throttling: share by which long calls are slower whose matrix units always work, as power limits the clock.
    tail: share of the longest query tile that is left over when unequal tiles run out.
    sm_bytes_per_clock: K and V bytes one compute unit can take in per clock. exposed_loads: share of that time that a
    kernel for many queries does not hide.
    block_bytes_per_clock: those that one split-KV block takes in, beside which others on its unit take in theirs.
    item_clocks: latency of one split-KV work item (fill and drain).
    query_clocks: more of `tile_clocks` for each row of a split-KV query tile; both for 128 keys there.
    split_clocks, window_clocks: more of `item_clocks` in a kernel that may split, and where a window cuts keys off.
    merge_clocks: clocks for each row of 128 columns that a split-KV block merges by itself.
    issue_clocks: clocks that a split-KV block keeps its compute unit from others that share it; row_issue_clocks: more
    of them for each row of 128 columns of its query tile.
    sequence_clocks: clocks in which a unit's scheduler passes over one sequence of the batch in search of work.
    miss_clocks: more of `tile_clocks` where the keys lie in memory, not in the L2, of a tile of any size.
    cached: share of the L2 that buffers which are read over and over can hold.
    miss_s: time before the first bytes arrive from memory beyond those of an L2 hit, all units asking at once.
    combine_block_clocks: clocks of a block of the kernel that merges splits, where there are none to merge too.
    prepare_s: time of the kernels that ready the operands of a split-KV kernel, for those problems that need them.
    combine_s, combine_per_split_s: time of the second pass over split results. combine_passes: how often that moves
    the results through memory.
    cluster_s: the same where an item's splits are merged within a cluster of blocks.
    hbm_share: share of the memory's peak bandwidth that a decode kernel over latents reaches, <= 1.
    convert_passes: how often the bytes of a cache move that is widened as a whole before the kernel reads it.
    chunk_clocks, serial_clocks: a chunk of a chunked kernel: its parallel work and its link in the chain.
    row_clocks, key_clocks: further parallel work for a token and head of v, and for one of q and k.
    solve_clocks: latency of a row of a chunk's triangular solve, one row after the other.
    link_clocks: work of a link in the chain where several chains share a compute unit.
    state_passes: times that the state of a sequence is read and written.
    select_clocks, score_clocks, short_clocks: a selection from a row of scores: clocks of the row, of one score, and of
    a row without a choice.
    score_share: of the chip's memory that the scores of one call may take. score_passes: how often a selection reads
    them. scan_clocks: to look up a row among 1024.
    alone_share: time of a block alone on its compute unit, over that of one of two.
    empty_share: time of a tile of keys that are not there, over that of a full one. gather_passes: how often selected
    keys move through memory.
    split_share: least part of a block's time that is left when idle units share its selection.
    chain_s, chain_product_s: the small kernels of a layer (norms, rotary embedding), and those that quantise the
    operand of a product. index_passes: how often index keys move through memory to be laid out for the indexer.
    host_s, host_product_s, host_index_s, host_plan_s: time that the host needs to start a layer where no graph is
    replayed; for each product with quantised weights, for the indexer, to plan the kernels anew.
    kernels: kernels launched for one call.
    operand_rate: share of the shared-memory rate at which matrix operands are loaded and read; 0: never the limit.
    lone_exposed: further share that is not hidden where a work item has a single query tile of 128 rows or fewer, and
    so no other tile's matrix work beside its softmax.
    unaligned_matrix, alignment_bytes: times that matrix work and the ends of a query tile take where rows of head_dim
    are no multiple of so many bytes (by default those that are swizzled over 32 bytes in shared memory: several rows
    then share a bank).
    crowded_tile: times that a tile takes whose rows are shared by twice the warps that matrix instructions need.
    resident: work items (of four warps, where a tile states them) that share a compute unit.
    wait_clocks, wait_clocks_per_window: clocks that a key tile of one work item waits by itself, hidden behind the
    others', and more of them where a window is evaluated.
    """

    matrix_efficiency: float = 1.0
    softmax_exposed: float = 0.5
    exposed_power: float = 0.0
    exp_share: float = 1.0
    vector_slots_per_pair: float = 3.5
    vector_slots_per_output: float = 0.0
    mask_slots_per_pair: float = 3.0
    mask_slots_per_axis: float = 0.0
    mask_slots_per_window: float = 0.0
    tile_clocks: float = 0.0
    cta_clocks: float = 2000.0
    cta_proportional: float = 0.5
    gather_clocks: float = 0.0
    throttling: float = 0.0
    tail: float = 0.5
    sm_bytes_per_clock: float = 64.0
    block_bytes_per_clock: float = inf
    exposed_loads: float = 0.0
    item_clocks: float = 3000.0
    query_clocks: float = 0.0
    split_clocks: float = 0.0
    window_clocks: float = 0.0
    issue_clocks: float = 0.0
    merge_clocks: float = 0.0
    row_issue_clocks: float = 0.0
    sequence_clocks: float = 0.0
    miss_s: float = 0.0
    miss_clocks: float = 0.0
    cached: float = 0.7
    combine_block_clocks: float = 0.0
    prepare_s: float = 0.0
    combine_s: float = 1e-6
    combine_per_split_s: float = 5e-8
    combine_passes: float = 1.0
    cluster_s: float = 0.0
    hbm_share: float = 0.9
    convert_passes: float = 0.0
    chunk_clocks: float = 0.0
    serial_clocks: float = 0.0
    row_clocks: float = 0.0
    key_clocks: float = 0.0
    solve_clocks: float = 0.0
    link_clocks: float = 0.0
    state_passes: float = 1.0
    select_clocks: float = 5000.0
    score_clocks: float = 1.0
    short_clocks: float = 0.0
    score_share: float = 0.19
    score_passes: float = 2.0
    scan_clocks: float = 0.0
    alone_share: float = 1.0
    empty_share: float = 1.0
    gather_passes: float = 0.0
    split_share: float = 1.0
    chain_s: float = 0.0
    chain_product_s: float = 0.0
    host_s: float = 0.0
    host_product_s: float = 0.0
    host_index_s: float = 0.0
    host_plan_s: float = 0.0
    index_passes: float = 0.0
    kernels: float = 1.0
    operand_rate: float = 0.0
    lone_exposed: float = 0.0
    unaligned_matrix: float = 1.0
    alignment_bytes: float = 64.0
    resident: float = 1.0
    wait_clocks: float = 0.0
    wait_clocks_per_window: float = 0.0
    crowded_tile: float = 1.0
    confidence: str = "literature"
    error_percent: float = 30.0
    intervals: tuple[tuple[float, float, float], ...] = ()
    chips: tuple[str, ...] = ()


FOLDER = Path(__file__).parent
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Fitted:
    """A constant that is fitted: where it may lie, and where the fit starts."""

    name: str
    low: float
    high: float
    start: float


def suffix_of(dtype: str, kv_dtype: str) -> str:
    """What the files and tables of a pair of dtypes are called: bf16 (all of 16 bits and more), fp8, fp8kv.

    >>> suffix_of("bf16", "bf16"), suffix_of("fp8", "fp8"), suffix_of("bf16", "fp8")
    ('bf16', 'fp8', 'fp8kv')
    """
    if DTYPE_BITS[dtype] < 16:
        return "fp8"
    return "fp8kv" if DTYPE_BITS[kv_dtype] < 16 else "bf16"


def path_of(
    implementation: str, generation: str, direction: str = "forward", dtype: str = "bf16", kv_dtype: str = "bf16"
) -> Path | None:
    """The file that states an implementation's constants for these types, else the one of 16-bit types, else None."""
    folder = FOLDER / implementation
    names = [f"{generation}-{suffix_of(dtype, kv_dtype)}", f"{generation}-fp8", generation]
    if direction == "backward":
        names.insert(0, f"{generation}-backward")
    elif suffix_of(dtype, kv_dtype) == "bf16":
        names = [generation]
    paths = (folder / f"{name}.toml" for name in names)
    return next((path for path in paths if path.exists()), None)


def load(
    implementation: str, generation: str, direction: str = "forward", dtype: str = "bf16", kv_dtype: str = "bf16"
) -> Constants | None:
    """Constants of an implementation on a generation, or None if no file states them.

    Raises InputError for a file with an unknown or unsourced constant.
    """
    path = path_of(implementation, generation, direction, dtype, kv_dtype)
    return None if path is None else read(path)[0]


@functools.cache
def read(path: Path) -> tuple[Constants, tuple[Fitted, ...]]:
    """The constants of a file, and which of them are fitted.

    A file may say `inherits = "<another file of its folder>"`: it then states what differs.
    """
    data = document(path)
    known = {f.name: f.default for f in fields(Constants)}
    values: dict[str, Any] = {}
    if "inherits" in data:
        parent = read(path.with_name(f"{data['inherits']}.toml"))[0]
        values = {name: getattr(parent, name) for name in known}
    fitted = []
    for name, entry in data.get("constants", {}).items():
        if name not in known:
            raise InputError(f"{path.name}: unknown constant {name!r}")
        if not entry.get("source"):
            raise InputError(f"{path.name}: constant {name!r} has no source")
        values[name] = float(entry["value"])
        if "low" in entry:
            low, high = float(entry["low"]), float(entry["high"])
            start = float(entry.get("start", min(max(float(str(known[name])), low), high)))
            fitted.append(Fitted(name, low, high, start))
            if not low <= values[name] <= high or not low <= start <= high:
                raise InputError(f"{path.name}: {name} = {values[name]:g} is outside its bounds {low:g} .. {high:g}")
    values |= {"confidence": data["confidence"], "error_percent": float(data["error_percent"])}
    values["chips"] = tuple(data.get("fit", {}).get("chips", values.get("chips", ())))
    if "interval" in data:
        values["intervals"] = intervals_of(data["interval"])
    return Constants(**values), tuple(fitted)


def document(path: Path) -> dict[str, Any]:
    """A calibration file as it stands. Raises InputError for another format."""
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    if data.get("format") != FORMAT:
        raise InputError(f"{path.name}: calibration format {data.get('format')!r}; this version reads {FORMAT}")
    return data


Intervals = tuple[tuple[float, float, float], ...]
"""Regions of predicted time, ascending: up to so many seconds; measured over predicted time at least, at most."""


def intervals_of(entries: list[dict[str, float]]) -> Intervals:
    """Regions as the files have them."""
    return tuple((float(e["upto_s"]), float(e["low"]), float(e["high"])) for e in entries)


ZERO_SHOT = 1.15
"""How much further a range reaches, both ways, on a chip that nothing was fitted on: achieved clocks and bandwidths of
profiles are known to about 5 % each, and a fit takes them up where it sees the chip."""
UNKNOWN: Intervals = ((inf, 0.5, 2.0),)
"""Range for a kernel that nothing was fitted on."""


def interval(regions: Intervals, time_s: Number, wider: float = 1.0) -> tuple[Number, Number]:
    """Range of a predicted time by its region: nine of ten measured times are expected in it."""
    regions = regions or UNKNOWN
    low, high = regions[-1][1:]
    for upto, a, b in reversed(regions[:-1]):
        low, high = where(time_s <= upto, a, low), where(time_s <= upto, b, high)
    return time_s * (low / wider), time_s * (high * wider)


def own(constants: Constants | None, table: Mapping[str, Any], chip: str, name: str) -> Constants:
    """Constants with those of a profile's table `calibration.<implementation>` in place: fitted on the chip itself.

    Raises InputError for a constant that nobody knows.
    """
    known = {f.name for f in fields(Constants)} - {"confidence", "intervals", "chips"}
    given = {key: value for key, value in table.items() if key not in ("source", "interval", "overhead")}
    for key, value in given.items():
        if key not in known:
            raise unknown(f"constant of {chip} in [calibration.{name}]", key, known)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{chip}: {key} in [calibration.{name}] is {value!r}; allowed: a number")
    ranges = intervals_of(table.get("interval", []))
    values: dict[str, Any] = {key: float(value) for key, value in given.items()}
    return replace(constants or Constants(), **values, confidence="fitted", chips=(chip,), intervals=ranges)


def confidence(constants: Constants | None, chip: str) -> str:
    """fitted | zero-shot | literature: fitted constants are zero-shot on a chip that they were not fitted on."""
    if constants is None:
        return "literature"
    unseen = constants.confidence == "fitted" and chip not in constants.chips
    return "zero-shot" if unseen else constants.confidence


def widening(constants: Constants | None, chip: str) -> float:
    """How much further a range reaches than where its constants were fitted: on a chip of the same generation, or with
    constants of another one, whose file states the error to expect."""
    sure = confidence(constants, chip)
    if constants is not None and constants.confidence == "zero-shot":
        return 1 + constants.error_percent / 100
    return 1.0 if sure == "fitted" else ZERO_SHOT


def expected(constants: Constants | None, chip: str, time_s: Number) -> tuple[Number, Number]:
    """Range of a predicted time: by its region where constants are fitted, else by the error known for them."""
    if constants is not None and constants.intervals:
        return interval(constants.intervals, time_s, widening(constants, chip))
    error = 1 + (constants.error_percent if constants else 40.0) / 100
    return time_s / error, time_s * error
