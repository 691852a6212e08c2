"""Constants of the `schedule` rung: one TOML a kernel and hardware generation, each constant with its origin.

    <implementation>/<generation>.toml     rates and overheads of one kernel on one generation

A file has `confidence` ("literature" or "fitted"), `error_percent` (the error known for predictions made with
it, or none), and a table `constants` of `{ value, source }`. A file of another direction, `<generation>-backward`,
stands beside it where the backward pass differs.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from ..errors import InputError


@dataclass(frozen=True, slots=True)
class Constants:
    """How a kernel runs on one generation.

    matrix_efficiency: share of the matrix peak (at the sustained clock) that its inner loop can feed, <= 1.
    softmax_exposed: share of the shorter of matrix and softmax time that is not hidden behind the longer.
    exp_share: share of the exponentials done on the special-function unit (the rest on the FMA lanes).
    vector_slots_per_pair: vector-lane issue slots a pair takes in softmax (max, scale, sum, convert).
    mask_slots_per_pair, mask_slots_per_axis: further slots where the mask is evaluated, and more of them for each
    axis of the token layout after the first.
    tile_clocks: clocks a key tile costs beyond its work (barriers, descriptor and loop overhead).
    cta_clocks: clocks a query tile costs for its prologue and epilogue (pipeline fill and drain).
    tail: share of the longest query tile that is left over when unequal tiles run out.
    sm_bytes_per_clock: K and V bytes one compute unit can take in per clock.
    item_clocks: latency of one split-KV work item (fill and drain).
    combine_s, combine_per_split_s: time of the second pass over split results.
    chunk_clocks, serial_clocks: a chunk of a chunked kernel: its parallel work and its link in the chain.
    kernels: kernels launched for one call.
    """

    matrix_efficiency: float = 1.0
    softmax_exposed: float = 0.5
    exp_share: float = 1.0
    vector_slots_per_pair: float = 3.5
    mask_slots_per_pair: float = 3.0
    mask_slots_per_axis: float = 0.0
    tile_clocks: float = 0.0
    cta_clocks: float = 2000.0
    tail: float = 0.5
    sm_bytes_per_clock: float = 64.0
    item_clocks: float = 3000.0
    combine_s: float = 1e-6
    combine_per_split_s: float = 5e-8
    chunk_clocks: float = 0.0
    serial_clocks: float = 0.0
    kernels: float = 1.0
    confidence: str = "literature"
    error_percent: float = 30.0


FOLDER = Path(__file__).parent
FORMAT = 1


@functools.cache
def load(implementation: str, generation: str, direction: str = "forward") -> Constants | None:
    """Constants of an implementation on a generation, or None if no file states them.

    Raises InputError for a file with an unknown or unsourced constant.
    """
    folder = FOLDER / implementation
    path = folder / f"{generation}.toml"
    if direction == "backward" and (folder / f"{generation}-backward.toml").exists():
        path = folder / f"{generation}-backward.toml"
    if not path.exists():
        return None
    data = tomllib.loads(path.read_text())
    if data.get("format") != FORMAT:
        raise InputError(f"{path.name}: calibration format {data.get('format')!r}; this version reads {FORMAT}")
    known = {f.name for f in fields(Constants)}
    values: dict[str, float] = {}
    for name, entry in data["constants"].items():
        if name not in known:
            raise InputError(f"{path.name}: unknown constant {name!r}")
        if not entry.get("source"):
            raise InputError(f"{path.name}: constant {name!r} has no source")
        values[name] = float(entry["value"])
    return Constants(**values, confidence=data["confidence"], error_percent=float(data["error_percent"]))
