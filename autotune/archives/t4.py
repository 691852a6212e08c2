"""Kernel Tuner's T4 results, read and written: `schema_version` and `results`, each a configuration with its times.

Schema: KernelTuner/kernel_tuner, kernel_tuner/schema/T4/1.0.0/results-schema.json; times are in milliseconds, as Kernel
Tuner's own `store_output_file` writes them (which says `compilation` for the schema's `compilation_time`; both are
read). A file of attnsim has more, which the schema allows: `attnsim` with the provenance and the tasks, and in each
result its task and conditions; its measurement `seconds` holds the repetitions unrounded.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from ...simulator.errors import InputError
from ...simulator.prediction import config_fields
from ...simulator.tiling import Tile
from ..measurement import Measurement, Recording
from ..task import Task
from . import Context

VERSION = "1.0.0"
INVALIDITY = {
    "ok": "correct", "compiled": "correct", "correct": "correct", "failed to compile": "compile",
    "out of resources": "runtime", "wrong answer": "correctness", "timeout": "timeout", "invalid": "constraints",
}  # fmt: skip
"""T4's word for each outcome."""
UNTIMED = ("compiled", "correct")
OUTCOMES = {word: outcome for outcome, word in INVALIDITY.items() if outcome not in UNTIMED}
COSTS = (("compile_s", ("compilation_time", "compilation")), ("measure_s", ("benchmark",)))
NUMBERS = ("compile_s", "measure_s", "registers", "spill_bytes", "shared_memory_bytes")
UNITS = {"compile_s": "s", "measure_s": "s", "spill_bytes": "B", "shared_memory_bytes": "B"}
"""What a measurement holds besides its times, kept as T4 measurements of these names."""
SHORT = {"query": "BLOCK_M", "key": "BLOCK_N", "warps": "num_warps", "stages": "num_stages"}
"""What configurations are written with, as kernels have it; other fields have their own names. Both are read."""


def recognises(text: str) -> bool:
    """Whether this is a T4 file."""
    try:
        data = json.loads(text) if text.lstrip().startswith("{") else None
    except ValueError:
        return False
    return isinstance(data, dict) and isinstance(data.get("results"), list)


def dump(recording: Recording) -> str:
    """A recording as a T4 file."""
    tasks = list(recording.tasks)
    places = {task.key: index for index, task in enumerate(tasks)}
    data = {
        "schema_version": VERSION,
        "attnsim": {"provenance": dict(recording.provenance), "tasks": [task.to_dict() for task in tasks]},
        "results": [result_of(m, places[m.task.key]) for m in recording.measurements],
    }
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def result_of(m: Measurement, task: int) -> dict[str, Any]:
    """One measurement as T4 has it."""
    times: dict[str, Any] = {"runtimes": [second * 1e3 for second in m.seconds]}
    for name, (key, *_) in COSTS:
        if (cost := getattr(m, name)) is not None:
            times[key] = cost * 1e3
    kept: list[dict[str, Any]] = []
    if m.median_s is not None:
        kept.append({"name": "time", "value": m.median_s * 1e3, "unit": "ms"})
        kept.append({"name": "seconds", "value": list(m.seconds), "unit": "s"})
    numbers = ((name, getattr(m, name)) for name in NUMBERS)
    texts = (("flags", list(m.flags)), ("reason", m.reason))
    kept += [{"name": name, "value": n, "unit": UNITS.get(name, "")} for name, n in numbers if n is not None]
    kept += [{"name": name, "value": text, "unit": ""} for name, text in texts if text]
    done = {"timestamp": str(m.conditions["date"])} if "date" in m.conditions else {}
    return {
        **done, "configuration": configuration_of(m.config), "times": times, "invalidity": INVALIDITY[m.outcome],
        "correctness": 1 if m.outcome in ("ok", *UNTIMED) else 0, "measurements": kept, "objectives": ["time"],
        "attnsim": {"task": task, "outcome": m.outcome, "conditions": dict(m.conditions)},
    }  # fmt: skip


def configuration_of(config: Tile) -> dict[str, Any]:
    """A config by the names that kernels have: sides along several axes as text, such as 4x8x8."""
    found: dict[str, Any] = {}
    for name, value in config_fields(config).items():
        if value is None:
            continue  # what is not set has no value that a tool could take
        sides = value if isinstance(value, list) else [value]
        found[SHORT.get(name, name)] = sides[0] if len(sides) == 1 else "x".join(map(str, sides))
    return found


def parse(text: str, path: str, context: Context) -> Recording:
    """A T4 file as a recording. Raises InputError for what is none, or where neither file nor context has the task."""
    data = json.loads(text)
    own = data.get("attnsim") or {}
    try:
        tasks = [Task.from_dict(task) for task in own.get("tasks", ())] or [asked_for(context, path)]
        found = tuple(measurement_of(result, tasks) for result in data["results"])
        source = {"source": path, "format": f"T4 {data.get('schema_version', '')}".strip()}
        return Recording(dict(own["provenance"]) if own else source, found)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise InputError(f"{path!r} is no T4 file: {error!r}") from None


def asked_for(context: Context, path: str) -> Task:
    """The task that the context states. Raises InputError where it has no chip."""
    if context.hardware is None:
        raise InputError(f"{path!r} does not say what was measured: give --hw NAME, and the variant and sizes")
    kernel = context.implementation or "triton-other"
    return Task.make(context.variant, context.hardware, kernel, **context.arguments)


def measurement_of(result: Mapping[str, Any], tasks: list[Task]) -> Measurement:
    """One result. Raises InputError."""
    own = result.get("attnsim") or {}
    task = tasks[own.get("task", 0)]
    kept = {one["name"]: one["value"] for one in result.get("measurements") or ()}
    times = result.get("times") or {}
    invalidity = result.get("invalidity", "correct")
    if invalidity not in OUTCOMES:
        raise InputError(f"invalidity is {invalidity!r}; T4 knows {', '.join(OUTCOMES)}")
    numbers = {name: kept.get(name) for name in NUMBERS}
    for name, keys in COSTS:
        stated = next((times[key] for key in keys if key in times), None)
        numbers[name] = numbers[name] if numbers[name] is not None or stated is None else stated * 1e-3
    seconds = tuple(map(float, kept["seconds"])) if "seconds" in kept else seconds_of(times, kept)
    outcome = OUTCOMES[invalidity]
    if outcome == "ok" and not seconds:
        outcome = own["outcome"] if own.get("outcome") in UNTIMED else "compiled"
    return Measurement(
        task, config_of(result["configuration"], task), outcome, seconds if outcome == "ok" else (),
        reason=str(kept.get("reason", "")), flags=tuple(kept.get("flags", ())),
        conditions=own.get("conditions") or {}, **numbers,
    )  # fmt: skip


def seconds_of(times: Mapping[str, Any], kept: Mapping[str, Any]) -> tuple[float, ...]:
    """Repetitions of another tool's file, or else its one time."""
    stated = times.get("runtimes") or ([kept["time"]] if isinstance(kept.get("time"), (int, float)) else [])
    return tuple(ms * 1e-3 for ms in stated if isinstance(ms, (int, float)) and math.isfinite(ms) and ms > 0)


def config_of(configuration: Mapping[str, Any], task: Task) -> Tile:
    """A configuration as a config of the task's kernel. Raises InputError where it leaves out what the kernel needs."""
    found: dict[str, Any] = {}
    for one in fields(task.kernel.config_type):
        names = (SHORT.get(one.name, one.name), one.name)
        value = next((configuration[name] for name in names if name in configuration), None)
        if value is not None:
            found[one.name] = sides_of(value) if one.name in ("query", "key") else value
        elif one.default is MISSING and one.default_factory is MISSING:
            raise InputError(f"no {' or '.join(names)} in the configuration {dict(configuration)}")
    return task.config(found)


def sides_of(value: Any) -> tuple[int, ...]:
    """A side of a tile from a number or from text such as 4x8x8. Raises InputError."""
    words = str(value).split("x")
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise InputError(f"a tile of {value!r}; allowed: a whole number above 0, or several joined by x")
    return tuple(map(int, words))
