"""TorchInductor's AUTOTUNE logs of flex_attention (`TORCH_LOGS`, or standard error of `mode="max-autotune"`).

A block is a header `AUTOTUNE flex_attention(4x8x2048x64, ...)` with the shapes of q, k, v and more, from torch 2.8 on
lines of `strides:` and `dtypes:`, a line a choice (`triton_flex_attention_1 0.1234 ms 100.0% BLOCK_M=128, ...`; `inf`
where it failed), and how long it took (torch/_inductor/select_algorithm.py, `log_results`, torch 2.5 to 2.13). The same
for flex_decoding and flex_attention_backward; blocks of other operators are counted and left out.

The log states neither chip nor mask. While it tunes, Inductor puts a stand-in in place of a block mask: every block of
keys is visited as a partial one, and where HAS_FULL_BLOCKS once more as a full one (pytorch/pytorch issue 180651). Such
times are of twice a dense mask's work, and are flagged "stand-in mask".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from ...simulator.errors import InputError
from ...simulator.tiling import Tile
from ..measurement import Measurement, Recording
from ..task import Task
from . import Context

HEADER = re.compile(r"\bAUTOTUNE (?P<operator>\w+)\((?P<shapes>[\dx, ]*)\)\s*$")
CHOICE = re.compile(
    r"(?:^|\s)(?P<name>[A-Za-z_]\w*) (?P<ms>inf|nan|\d+(?:\.\d+)?(?:e[+-]?\d+)?) ms (?:[\d.]+%|<DIVIDED BY ZERO ERROR>)"
    r"\s*(?P<description>.*)$"
)
FOOTER = re.compile(
    r"AUTOTUNE (?:benchmarking )?takes (?P<benchmark>\d+(?:\.\d+)?) seconds"
    r"(?: and (?P<compile>\d+(?:\.\d+)?) seconds precompiling)?(?: for (?P<choices>\d+) choices)?"
)
PROCESS = re.compile(r"\[rank\d+\]")
OPERATORS = {
    "flex_attention": ("triton-other", "forward"), "flex_attention_backward": ("triton-other", "backward"),
    "flex_decoding": ("triton-other-decode", "forward"),
}  # fmt: skip
"""Operators that are attention, with the kernel that stands for theirs and the direction."""
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float8_e4m3fn": "fp8_e4m3", "float8_e5m2": "fp8_e5m2"}
NO_BLOCK_MASK = 1 << 30
"""SPARSE_KV_BLOCK_SIZE where no block mask is given: one block holds all keys."""


@dataclass
class Block:
    """One block as it stands in the log. choices: (milliseconds, NAME=value of its description)."""

    operator: str
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...] = ()
    choices: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    benchmark_s: float | None = None
    compile_s: float | None = None
    count: int | None = None
    out_of_resources: bool = False


def recognises(text: str) -> bool:
    """Whether this is such a log."""
    return any(HEADER.search(line) for line in text.splitlines() if "AUTOTUNE" in line)


def blocks(text: str) -> list[Block]:
    """Every block of a log; lines of several processes (`[rank0]:`) are told apart."""
    found: list[Block] = []
    open_: dict[str, Block] = {}
    failed: set[str] = set()
    for line in text.splitlines():
        process = PROCESS.search(line)
        stream = process[0] if process else ""
        block = open_.get(stream)
        if (header := HEADER.search(line)) is not None:
            shapes = tuple(tuple(map(int, re.findall(r"\d+", shape))) for shape in header["shapes"].split(","))
            block = open_[stream] = Block(header["operator"], shapes, out_of_resources=stream in failed)
            found.append(block)
            failed.discard(stream)
        elif "out of resource" in line.lower():
            failed.add(stream)
        elif block is None:
            continue
        elif (footer := FOOTER.search(line)) is not None:
            block.benchmark_s = float(footer["benchmark"])
            block.compile_s = float(footer["compile"]) if footer["compile"] else None
            block.count = int(footer["choices"]) if footer["choices"] else None
            del open_[stream]
        elif (choice := CHOICE.search(line)) is not None:
            pairs = (pair.partition("=") for pair in choice["description"].split(", "))
            block.choices.append((choice["ms"], {name.strip(): value.strip(" \"'") for name, _, value in pairs}))
        elif "dtypes:" in line:
            block.dtypes = tuple(re.findall(r"torch\.(\w+)", line))
    return found


def parse(text: str, path: str, context: Context) -> Recording:
    """The attention blocks of a log as measurements. Raises InputError where it has none, or leaves out what the
    context does not say either."""
    if context.hardware is None:
        raise InputError(f"{path!r} does not say which chip it was measured on: give --hw NAME")
    found = blocks(text)
    ours = [block for block in found if block.operator in OPERATORS]
    others = Counter(block.operator for block in found if block.operator not in OPERATORS)
    notes = [f"left out, no attention: {count} of {name}" for name, count in others.items()]
    if not ours:
        raise InputError(f"{path!r} has no block of {', '.join(OPERATORS)}; it has {', '.join(others)}")
    measured: dict[tuple[str, Tile], Measurement] = {}
    for block in ours:
        task = task_of(block, context, notes)
        for one in measurements(block, task, notes):
            known = measured.get((task.key, one.config))
            measured[task.key, one.config] = one if known is None else both(known, one)
    if any(m.flags for m in measured.values()):
        notes.append("times with a block mask are of a stand-in: every block of keys was visited, where some are full "
                     "twice")  # fmt: skip
    provenance = {"source": Path(path).name, "format": "TorchInductor AUTOTUNE log", "blocks": len(ours),
                  "notes": list(dict.fromkeys(notes))}  # fmt: skip
    return Recording(provenance, tuple(measured.values()))


def task_of(block: Block, context: Context, notes: list[str]) -> Task:
    """The task of a block. Raises InputError for shapes that are none of attention's."""
    kernel, direction = OPERATORS[block.operator]
    try:
        q, k, v = block.shapes[:3]
        if len(q) == 5:  # decoding: kv heads, and the query heads of each
            batch, kv_heads, group, queries, head_dim = q
            heads = kv_heads * group
        else:
            batch, heads, queries, head_dim = q
        sizes = {"batch": batch, "heads": heads, "kv_heads": k[1], "seq": queries, "kv_len": k[2],
                 "head_dim": head_dim, "v_dim": v[-1], "direction": direction}  # fmt: skip
    except (ValueError, IndexError):
        said = ", ".join("x".join(map(str, shape)) for shape in block.shapes)
        raise InputError(f"no q, k and v of attention in {block.operator}({said})") from None
    precision = next((options.get("FLOAT32_PRECISION") for _, options in block.choices), None)
    names = [DTYPES.get(name, "fp32" if precision == "ieee" else "tf32") for name in block.dtypes[:2]]
    if names:
        sizes |= dict(zip(("dtype", "kv_dtype"), names, strict=False))
    elif "dtype" not in context.arguments:
        notes.append("the log does not say the type of its operands: bf16 is assumed")
    differs = next((n for n, value in context.arguments.items() if n in sizes and value != sizes[n]), None)
    if differs is not None:
        raise InputError(f"{differs} is {context.arguments[differs]}; the log says {sizes[differs]}: leave it out")
    arguments = {**context.arguments, **sizes}
    return Task.make(context.variant, str(context.hardware), context.implementation or kernel, **arguments)


def measurements(block: Block, task: Task, notes: list[str]) -> Iterable[Measurement]:
    """A measurement for each config; of choices that are one config here, such as those that differ in the second loop
    of the backward pass, the fastest."""
    count = block.count or max(len(block.choices), 1)
    compile_s = None if block.compile_s is None else block.compile_s / count
    measure_s = None if block.benchmark_s is None else block.benchmark_s / count
    best: dict[Tile, Measurement] = {}
    for ms, options in block.choices:
        config = config_of(options, task)
        if config is None:
            notes.append(f"choices of {block.operator} that state no tile, warps and stages are left out")
            continue
        one = measurement_of(block, task, config, ms, options)
        one = replace(one, compile_s=compile_s, measure_s=measure_s)
        known = best.get(config)
        if known is None or (one.median_s or float("inf")) < (known.median_s or float("inf")):
            best[config] = one
    return best.values()


def measurement_of(block: Block, task: Task, config: Tile, ms: str, options: dict[str, str]) -> Measurement:
    """One choice, tried."""
    seconds = float(ms) * 1e-3 if ms not in ("inf", "nan") else 0.0
    if seconds > 0:
        flags = ("stand-in mask",) if has_block_mask(options) else ()
        return Measurement(task, config, "ok", (seconds,), flags=flags, conditions={"choice": options})
    if ms != "inf":
        outcome, reason = "invalid", f"{ms} ms in the log"
    elif block.out_of_resources:
        outcome, reason = "out of resources", "inf in the log, after a line that says out of resource"
    else:
        outcome, reason = "failed to compile", "inf in the log, which does not say why"
    return Measurement(task, config, outcome, reason=reason)


def has_block_mask(options: dict[str, str]) -> bool:
    """Whether the kernel was given lists of blocks of keys."""
    block = options.get("SPARSE_KV_BLOCK_SIZE", "")
    return options.get("HAS_FULL_BLOCKS") == "True" or (block.isdecimal() and int(block) < NO_BLOCK_MASK)


def config_of(options: dict[str, str], task: Task) -> Tile | None:
    """A choice as a config, None where its tile, warps or stages are not stated. Of the two loops of the backward pass
    it has the one over queries, whose key tile stays."""

    def whole(*names: str) -> int | None:
        text = next((options[name] for name in names if name in options), "")
        return int(text) if text.isdecimal() and int(text) > 0 else None

    sides = whole("BLOCK_M", "BLOCK_M1"), whole("BLOCK_N", "BLOCK_N1")
    launch = {"warps": whole("num_warps"), "stages": whole("num_stages")}
    if None in (*sides, *launch.values()):
        return None
    stated = {
        **launch, "splits": whole("SPLIT_KV"), "packed_heads": task.kernel.packed_heads(task.part),
        "tma": options.get("USE_TMA") == "True", "waves": whole("waves_per_eu"),
    }  # fmt: skip
    known = {one.name for one in fields(task.kernel.config_type)}
    rest = {name: value for name, value in stated.items() if name in known and value is not None}
    found: Tile = task.kernel.config_type(query=(sides[0],), key=(sides[1],), **rest)
    return found


def both(one: Measurement, other: Measurement) -> Measurement:
    """Two measurements of one config, of which a log may have more than one."""
    compile_s, measure_s = added(one.compile_s, other.compile_s), added(one.measure_s, other.measure_s)
    kept = one if one.seconds else other
    return replace(kept, seconds=(*one.seconds, *other.seconds), compile_s=compile_s, measure_s=measure_s)


def added(a: float | None, b: float | None) -> float | None:
    return None if a is None and b is None else (a or 0.0) + (b or 0.0)
