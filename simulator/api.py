"""`predict`: arguments in, predictions out. The one way from names and numbers to the ladder."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import variants
from .bounds import native_dtype
from .calibration import overhead
from .errors import InputError, UnknownNameError, unknown
from .hardware import Hardware
from .predict import Choice, Evaluation, check_tile, evaluate
from .prediction import Prediction
from .problem import Problem
from .variants import Variant

PROBLEM_NAMES = (
    "batch", "heads", "kv_heads", "seq", "shape", "kv_len", "head_dim", "v_dim", "dtype", "kv_dtype", "direction",
    "causal", "page_size", "documents", "cache",
)  # fmt: skip
CHOICE_NAMES = ("tile", "q_tile", "kv_tile", "implementation", "layer", "framework")
FIRST_VARIANTS = (
    "mha", "gqa", "mla", "sliding-window", "moba", "linear-attention", "gated-deltanet", "padre",
)  # fmt: skip
"""What `attnsim predict` shows when no variant is named: one of each family."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A variant that refuses a problem on a chip, and why."""

    variant: str
    hardware: str
    why: str

    def __str__(self) -> str:
        return f"{self.variant} on {self.hardware}: {self.why}"


@functools.lru_cache(maxsize=64)
def _load(name: str, overrides: tuple[tuple[str, Any], ...], stamp: float) -> Hardware:
    return Hardware.load(name, dict(overrides))


def load_hardware(hardware: str | Path | Hardware, overrides: Mapping[str, Any] | None = None) -> Hardware:
    """A chip by name or file, read once for each content of the file. Raises InputError."""
    if isinstance(hardware, Hardware):
        return hardware
    name = str(hardware)
    path = Path(name)
    stamp = path.stat().st_mtime if path.suffix == ".toml" and path.exists() else 0.0
    return _load(name, tuple(sorted((overrides or {}).items())), stamp)


def declared_by(variant: str) -> set[str]:
    """Names of a variant's parameters."""
    return set(variants.parameter_names(variants.get_class(variant)))


def split_arguments(
    variant: str, arguments: Mapping[str, Any], others: Iterable[str] = ()
) -> tuple[Variant, dict[str, Any], dict[str, Any]]:
    """(variant with its parameters, problem arguments, choice arguments).

    A name goes to the variant if it declares that parameter; parameters of the `others` asked about in the same
    call are left to them. Raises InputError for names nobody knows.
    """
    declared = declared_by(variant)
    own: dict[str, Any] = {}
    problem: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in declared:
            own[name] = value
        elif name in PROBLEM_NAMES:
            problem[name] = value
        elif name in CHOICE_NAMES:
            choice[name] = value
        elif not any(name in declared_by(other) for other in others):
            raise unknown("argument", name, (*declared, *PROBLEM_NAMES, *CHOICE_NAMES))
    return variants.make(variant, own), problem, choice


def make_choice(axes: int, arguments: Mapping[str, Any]) -> Choice:
    """Tile and implementation as asked. `tile`: (queries, keys), multiples of 16; q_tile, kv_tile: per axis."""
    tile, q_tile, kv_tile = arguments.get("tile"), arguments.get("q_tile"), arguments.get("kv_tile")
    made = None
    if tile is not None:
        if q_tile is not None or kv_tile is not None:
            raise InputError("give tile, or q_tile and kv_tile, not both")
        sides = tuple(tile) if isinstance(tile, (tuple, list)) else (tile,)
        if len(sides) != 2:
            raise InputError(f"tile has {len(sides)} sides; it is queries x keys, such as 128x64")
        made = check_tile((sides[0],), (sides[1],), 1)
        if sides[0] % 16 or sides[1] % 16:
            raise InputError(f"tile {sides[0]}x{sides[1]} has a side that is no multiple of 16")
    elif (q_tile is None) != (kv_tile is None):
        raise InputError("q_tile and kv_tile go together: give both")
    elif q_tile is not None:
        made = check_tile(q_tile, kv_tile, axes)
    framework = arguments.get("framework")
    return Choice(
        made, arguments.get("implementation"), bool(arguments.get("layer", False)),
        framework=None if framework is None else overhead.find(framework),
    )  # fmt: skip


def _seconds(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e9:
        raise InputError(f"{name} is {value!r}; allowed: seconds above 0")
    return float(value)


def predict_one(
    variant: Variant, problem: Problem, hardware: Hardware, choice: Choice, *, baseline: str = "mha",
    baseline_time: Any = None, measured: Any = None, memo: dict[Any, Evaluation] | None = None,
) -> Prediction:  # fmt: skip
    """One prediction. `memo` keeps baseline evaluations across calls with the same problem and chip."""
    prepared = variant.prepare(problem)
    evaluation = evaluate(variant, prepared, hardware, choice)
    base_variant = variants.make(baseline)
    asked = variant.baseline(problem).with_(causal=prepared.causal)
    base_problem = base_variant.prepare(asked)
    plain = Choice(layer=choice.layer, framework=choice.framework)
    if type(base_variant) is type(variant) and base_problem == prepared and choice == plain and base_variant == variant:
        base: Evaluation = evaluation
    else:
        key = (baseline, base_problem, hardware.name, id(hardware), plain)
        found = None if memo is None else memo.get(key)
        base = found or evaluate(base_variant, base_problem, hardware, plain)
        if memo is not None:
            memo[key] = base
    return Prediction(
        variant, problem, prepared, hardware, evaluation, base_variant, base, choice,
        _seconds("baseline_time", baseline_time), _seconds("measured", measured),
        _warnings(variant, problem, prepared, hardware, evaluation),
    )  # fmt: skip


def _warnings(
    variant: Variant, problem: Problem, prepared: Problem, hardware: Hardware, evaluation: Evaluation
) -> tuple[str, ...]:
    """What the caller should know: causality imposed, rates unknown, narrow types computed wider."""
    warnings = []
    if prepared.causal and not problem.causal:
        warnings.append(f"{variant.id} is causal by definition: counted causally, and so is its baseline")
    moved = evaluation.useful.hbm_bytes
    if hardware.hbm_bytes is not None and moved > hardware.hbm_bytes:
        have = f"{hardware.name} has {hardware.hbm_bytes / 1e9:,.0f} GB"
        warnings.append(f"its operands are {moved / 1e9:,.0f} GB; {have}")
    native = native_dtype(hardware, prepared.matrix_dtype)
    if native != prepared.matrix_dtype:
        warnings.append(f"{hardware.name} has no {prepared.matrix_dtype} matrix unit: computed at its {native} rate")
    chosen = evaluation.chosen
    kernel = chosen.implementation
    passes = kernel.extra_passes(evaluation.graph.main) if kernel else 0.0
    if kernel and passes and hardware.hbm_bandwidth_bytes_per_s:
        moved = passes * sum(t.bytes for t in evaluation.graph.tensors if t.role in ("input", "output"))
        extra = moved / hardware.hbm_bandwidth_bytes_per_s / (hardware.hbm_efficiency or 1)
        warnings.append(f"{kernel.name} wants permuted tokens: {extra * 1e3:.2g} ms more a call in kernels "
                        "of their own, not included, unless the model keeps them permuted")  # fmt: skip
    if evaluation.chosen.bound is None:
        warnings.append(f"no floor: {hardware.name} has no known matrix rate for {prepared.matrix_dtype} or no known "
                        "memory bandwidth")  # fmt: skip
    elif evaluation.chosen.time_s is None:
        if evaluation.chosen.implementation is None:
            why = f"no known implementation runs it on {hardware.name}"
            reasons = [r for r in evaluation.refusals if not r.startswith("library")]
            if reasons:
                why += f" ({reasons[0]})"
        elif evaluation.chosen.constants is None:
            why = f"{evaluation.chosen.implementation.name} has no constants for {hardware.generation}"
        else:
            why = f"{hardware.name} lacks numbers it needs"
        warnings.append(f"no schedule: {why}")
    return tuple(warnings)


def predict(
    variant: str | Iterable[str] = FIRST_VARIANTS,
    hardware: str | Path | Hardware | Iterable[str | Path | Hardware] = "b200",
    *,
    baseline: str = "mha",
    baseline_time: float | None = None,
    measured: float | None = None,
    overrides: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Mapping[str, Any]] | None = None,
    left_out: list[LeftOut] | None = None,
    **arguments: Any,
) -> Any:
    """Predict one variant on one chip (a `Prediction`), or several (a list, chip by chip).

    variant: an id, or several. hardware: a chip's name, a profile's path, a `Hardware`, or several.
    arguments: sizes (batch, heads, kv_heads, seq or shape, kv_len, head_dim, v_dim), dtype, kv_dtype,
    direction, causal, page_size, documents, cache; tile or q_tile and kv_tile, implementation, layer,
    framework (what serves: `vllm`, `vllm-0.24.0`; its work around the kernel is added); and the variant's own
    parameters. overrides: profile numbers changed for this call. parameters: of single variants, by
    id. left_out: where given, variants that refuse the problem are noted there and the others predicted. Times in
    seconds.
    Raises InputError (one line) for anything unknown or impossible.

    >>> p = predict("gna", hardware="b200", shape=(30, 48, 80), heads=24, head_dim=128,
    ...             window=(18, 24, 24), stride=(16, 8, 8), q_tile=(4, 8, 8), kv_tile=(2, 8, 8))
    >>> p.evaluation.graph.main.pairs == 30 * 48 * 80 * 18 * 24 * 24
    True
    >>> p.rung_time("flops") <= p.rung_time("roofline") <= p.rung_time("tiles") <= p.rung_time("schedule")
    True
    """
    one_variant, one_chip = isinstance(variant, str), isinstance(hardware, (str, Path, Hardware))
    ids: list[str] = [variant] if isinstance(variant, str) else list(variant)
    chips: list[Any] = [hardware] if isinstance(hardware, (str, Path, Hardware)) else list(hardware)
    if not ids or not chips:
        raise InputError("nothing to predict: give at least one variant and one chip")
    memo: dict[Any, Evaluation] = {}
    results = []
    for chip in chips:
        loaded = load_hardware(chip, overrides)
        for name in ids:
            own = (parameters or {}).get(name, {})
            try:
                made, sizes, choice = split_arguments(name, {**own, **arguments}, ids)
                given = next((name for name, size in sizes.items() if getattr(size, "ndim", 0) > 0), None)
                if given is not None:
                    raise InputError(f"{given} is an array; predict takes one problem, sweep takes arrays")
                problem = Problem.make(**sizes)
                one = predict_one(
                    made, problem, loaded, make_choice(len(problem.shape), choice), baseline=baseline,
                    baseline_time=baseline_time, measured=measured, memo=memo,
                )  # fmt: skip
            except InputError as error:
                if left_out is None or isinstance(error, UnknownNameError):
                    raise
                left_out.append(LeftOut(name, loaded.name, str(error)))
            else:
                results.append(one)
    return results[0] if one_variant and one_chip and left_out is None else results
