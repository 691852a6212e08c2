"""Published tuning landscapes as one CSV table: a row a configuration, grouped by `landscape_id`.

Columns: landscape_id, chip, dtype, kernel, batch, q_heads, kv_heads, q_len, kv_len, qk_head_dim, v_head_dim, mask,
config (`NAME=value` joined by semicolons), time_ms (empty, `inf` or words: it failed), notes; others are ignored. The
sources write as they like; what is understood is stated here, and a landscape that leaves out what the model needs says
so.
"""

from __future__ import annotations

import csv
import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...simulator.errors import InputError
from ...simulator.hardware import profile_of_device
from ...simulator.implementations import FEW_QUERIES
from ...simulator.implementations.triton_other import OtherConfig, TritonOther
from ...simulator.problem import DTYPE_BITS
from ...simulator.tiling import Tile
from ..task import Task

REQUIRED = ("landscape_id", "chip", "kernel", "config", "time_ms")
SIZES = ("batch", "q_heads", "q_len", "kv_len", "qk_head_dim")
"""Columns without which nothing can be modelled."""
QUERY = ("BLOCK_M", "BLOCK_Q", "BLOCK_SIZE_Q", "BLOCK_SIZE_M", "KBLOCKM", "BLOCK_M1", "TILE_M", "Q_BLOCK", "BM")
KEY = ("BLOCK_N", "BLOCK_K", "BLOCK_KV", "BLOCK_SIZE_KV", "BLOCK_SIZE_N", "KBLOCKN", "BLOCK_N1", "TILE_N", "TILE_SIZE",
       "KV_BLOCK", "BN", "BLOCK")  # fmt: skip
SPLITS = ("KV_SPLITS", "NUM_SPLITS", "NUM_KV_SPLITS", "SPLIT_KV", "NUM_SEGMENTS", "SPLITS", "SPLIT_K")
WARPS, STAGES = ("NUM_WARPS", "WARPS"), ("NUM_STAGES", "STAGES")
PERSISTENT = ("PERSISTENT", "PERSISTENT_TYPE")
"""Names that sources give what a config has."""
DTYPES = (
    ("fp8_e5m2", r"e5m2"), ("fp8", r"fp8|e4m3|float8"), ("int8", r"int8|q8"), ("nvfp4", r"nvfp4"), ("fp4", r"fp4"),
    ("bf16", r"bf16|bfloat16"), ("fp16", r"(?<!b)f(?:p|loat)?16|half"), ("tf32", r"tf32"),
    ("fp32", r"(?<!t)f(?:p|loat)?32|ieee"),
)  # fmt: skip
"""Words of the dtype column; the first that occurs."""


@dataclass(frozen=True)
class Landscape:
    """A published landscape.

    task: None where `reason` says why it cannot be modelled. seconds: of every config as it is written, infinite where
    it failed. configs: the same configs as the model reads them. assumed: what the source leaves open. source: who
    measured. failures: what is known of why configs failed.
    """

    id: str
    chip: str
    seconds: Mapping[str, float]
    task: Task | None = None
    configs: Mapping[str, Tile] = field(default_factory=dict)
    reason: str = ""
    assumed: tuple[str, ...] = ()
    source: str = ""
    failures: Mapping[str, str] = field(default_factory=dict)


def read(path: str | Path) -> list[Landscape]:
    """The landscapes of a table, in its order. Raises InputError for a file that is no such table."""
    try:
        with Path(path).open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {str(path)!r}: {why}") from None
    if not rows:
        raise InputError(f"{str(path)!r} is empty")
    missing = [name for name in REQUIRED if rows[0].get(name) is None]
    if missing:
        raise InputError(f"{str(path)!r} is no table of landscapes: it lacks {', '.join(missing)}")
    groups: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault(row["landscape_id"], []).append({k: v or "" for k, v in row.items() if isinstance(k, str)})
    return [landscape(name, group) for name, group in groups.items()]


def landscape(name: str, rows: list[dict[str, str]]) -> Landscape:
    """One landscape from its rows."""
    seconds: dict[str, float] = {}
    failures: dict[str, str] = {}
    for row in rows:
        time_s = seconds_of(row["time_ms"])
        seconds[row["config"]] = min(time_s, seconds.get(row["config"], math.inf))
        if not math.isfinite(time_s):
            failures[row["config"]] = row.get("notes", "") or row["time_ms"]
    chip, source = rows[0]["chip"], rows[0].get("source", "")
    made = functools.partial(Landscape, name, chip, seconds, source=source, failures=failures)
    if not any(map(math.isfinite, seconds.values())):
        return made(reason="none of its configurations has a time")
    try:
        task, assumed = task_of(rows[0])
        configs = {text: config_of(text, task) for text in seconds}
    except InputError as error:
        return made(reason=str(error))
    if len(set(configs.values())) == 1 < len(configs):
        reason = "its configurations differ in nothing that the model knows"
        return made(reason=reason)
    return made(task=task, configs=configs, assumed=tuple(assumed))


def seconds_of(text: str) -> float:
    """Seconds of a time in milliseconds; infinite where there is none (a failure, in words)."""
    try:
        value = float(text)
    except ValueError:
        return math.inf
    return value * 1e-3 if value > 0 and math.isfinite(value) else math.inf


def task_of(row: Mapping[str, str]) -> tuple[Task, list[str]]:
    """(task, what is assumed) of a row. Raises InputError where the row leaves out what the model needs."""
    profile = profile_of_device(row["chip"])
    if profile is None:
        raise InputError(f"no profile of the chip {row['chip']!r}")
    kernel = row["kernel"].lower()
    direction = "backward" if re.search(r"bwd|backward", kernel) else "forward"
    sizes: dict[str, Any] = {}
    for column in SIZES:
        found = re.fullmatch(r"\D*(\d+)\D*", row.get(column) or "")
        if found is None:
            raise InputError(f"{column} is {row.get(column) or 'not stated'!r}")
        sizes[column] = int(found[1])
    assumed: list[str] = []
    kv_heads = number(row.get("kv_heads", ""))
    if kv_heads is None or sizes["q_heads"] % kv_heads:
        kv_heads = 1 if "latent" in kernel or "mla" in kernel or sizes["qk_head_dim"] > 256 else sizes["q_heads"]
        assumed.append(f"{kv_heads} kv heads")
    dtype, kv_dtype = dtypes_of(row.get("dtype", ""), assumed)
    variant, parameters = mask_of(row.get("mask", ""), sizes, assumed)
    problem = {
        "batch": sizes["batch"], "heads": sizes["q_heads"], "kv_heads": kv_heads, "seq": sizes["q_len"],
        "kv_len": sizes["kv_len"], "head_dim": sizes["qk_head_dim"], "dtype": dtype, "kv_dtype": kv_dtype,
        "direction": direction,
        "v_dim": number(row.get("v_head_dim", "")) or sizes["qk_head_dim"],
    }  # fmt: skip
    causal = parameters.pop("causal", False)
    decode = direction == "forward" and sizes["q_len"] * sizes["q_heads"] // kv_heads <= FEW_QUERIES
    implementation = "triton-other-decode" if decode else "triton-other"
    task = Task(variant, parameters, problem | {"causal": causal}, profile, implementation)
    refusal = task.kernel.refuses(task.part, task.chip)
    if refusal is not None:
        raise InputError(refusal)
    return task, assumed


def number(text: str) -> int | None:
    """The whole number that a field is, None where it is none."""
    return int(text) if re.fullmatch(r"\d+", text.strip()) else None


def dtypes_of(text: str, assumed: list[str]) -> tuple[str, str]:
    """(operands, keys and values as stored) of the dtype column."""
    lower = text.lower()
    stored = re.search(r"[^,;]*\b(kv|cache|pool)\b[^,;]*", lower)
    kv = named(stored[0]) if stored else None
    operands = named(lower.replace(stored[0], " ") if stored else lower)
    if operands is None:
        operands = kv if kv is not None and DTYPE_BITS[kv] >= 16 else "bf16"
        assumed.append(f"{operands} operands")
    return operands, kv or operands


def named(text: str) -> str | None:
    """The dtype that a text names."""
    return next((dtype for dtype, words in DTYPES if re.search(words, text)), None)


def mask_of(text: str, sizes: Mapping[str, int], assumed: list[str]) -> tuple[str, dict[str, Any]]:
    """(variant, parameters) of the mask column; causality is that of the last query seeing every key."""
    lower = text.lower()
    causal = "causal" in lower or "prefill" in lower
    window = re.search(r"(?:window|swa|local)\D*(\d+)", lower) or re.search(r"(\d+)\D*(?:window|local)", lower)
    if window:
        width = min(int(window[1]), sizes["kv_len"])
        return "sliding-window", {"window": width, "causal": causal or "sliding" in lower}
    if not causal and not re.search(r"dense|full|none|no mask|top-k|non-causal|noncausal", lower):
        assumed.append("a dense mask")
    if "non-causal" in lower or "noncausal" in lower or "not causal" in lower:
        causal = False
    return "mha", {"causal": causal}


def config_of(text: str, task: Task) -> OtherConfig:
    """A config from its text. Raises InputError for one that names neither a tile nor splits, warps or stages."""
    given: dict[str, str] = {}
    for pair in re.split(r"[;,]\s*", text):
        name, equals, value = pair.partition("=")
        if equals:
            given[name.strip().upper()] = value.strip().strip("'\"")

    def whole(names: tuple[str, ...]) -> int | None:
        return next((n for name in names if (n := number(given.get(name, ""))) is not None and n > 0), None)

    tile = re.fullmatch(r"(\d+)x(\d+)(?:x\d+)?", given.get("TILESHAPE", ""))
    query, key = (int(tile[1]), int(tile[2])) if tile else (whole(QUERY), whole(KEY))
    known = {"warps": whole(WARPS), "stages": whole(STAGES), "splits": whole(SPLITS)}
    if query is None and key is None and not any(known.values()):
        raise InputError(f"no tile, warps, stages or splits in the configuration {text!r}")
    if task.problem.direction == "backward":  # of the two loops the one over queries: its key tile stays
        query, key = whole(("BLOCK_M1",)) or query, whole(("BLOCK_N1",)) or key
    kernel = task.kernel
    assert isinstance(kernel, TritonOther)
    usual = kernel.usual_tile(task.part)
    return OtherConfig(
        (query or usual.query[0],), (key or usual.key[0],), kernel.packed_heads(task.part),
        warps=known["warps"] or 4, stages=known["stages"] or 3, splits=known["splits"] or 1,
        persistent=any(given.get(name, "0").lower() not in ("0", "false", "none") for name in PERSISTENT),
        tma=given.get("USE_TMA", "").lower() in ("1", "true"),
        warp_specialize=given.get("WARP_SPECIALIZE", "").lower() in ("1", "true"),
        max_registers=whole(("MAXNREG", "NUM_REGS")),
    )  # fmt: skip
