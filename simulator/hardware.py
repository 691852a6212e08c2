"""A chip: one TOML profile, checked, every number with its kind and its source.

Plain SI numbers, the unit in the field's name. Rates are per clock and compute unit; `sm` stands for any
compute unit: an SM, a CU, a TPU's TensorCore, the matrix unit of an NPU, a CPU core. None means unknown.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from .errors import InputError, unknown

FORMAT = 1
CHANGES_SINCE: tuple[tuple[int, str], ...] = (
    (1, "every entry of [numbers] is { value, kind, source }, and each key used in a source is listed in [sources]"),
)
"""What changed at each format version, in order: an older file is refused with the entries it must act on."""

KINDS = ("datasheet", "microbenchmark", "derived", "estimate")
CHIP_KINDS = ("gpu", "tpu", "npu", "cpu")
BASE_DTYPE = {
    "fp32": "fp32", "tf32": "tf32", "fp16": "fp16", "bf16": "bf16", "int8": "int8", "fp6": "fp6",
    "fp8": "fp8", "fp8_e4m3": "fp8", "fp8_e5m2": "fp8", "mxfp8": "fp8", "fp4": "fp4", "nvfp4": "fp4", "mxfp4": "fp4",
}  # fmt: skip
"""The matrix rate that a dtype runs at."""
BITS = {"fp32": 32, "tf32": 32, "fp16": 16, "bf16": 16, "fp8": 8, "int8": 8, "fp6": 8, "fp4": 4}
"""Bits an element takes in the matrix unit: fp6 travels in bytes, tf32 in words of four."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """A chip's capacities. Only `sm_count` and `clock_max_hz` are always known."""

    name: str
    title: str
    vendor: str
    kind: str
    generation: str
    """Names the files of calibrated constants, and what implementations have kernels for."""
    target: str
    """What compilers call the chip (sm_90, gfx942), or empty."""
    validated: str
    """What predictions on this chip were validated on; empty: it works, but was not validated."""
    exp_on_vector: bool
    """Exponentials issue on the vector unit and add to its other work, rather than overlap with it."""

    sm_count: int
    clock_max_hz: float
    """Highest clock the part runs at; floors use it, so no honest measurement may need a higher one."""
    clock_sustained_hz: float | None
    """Clock held under matrix load (or the clock equivalent to the measured rate); the schedule uses it."""
    vector_flop_per_clock_per_sm: float | None
    """fp32; a fused multiply-add is 2."""
    exp_per_clock_per_sm: float | None
    hbm_bytes: float | None
    hbm_bandwidth_bytes_per_s: float | None
    """Main memory, whatever its technology: the peak, or the largest measured where that is more."""
    hbm_efficiency: float | None
    """Share of it that kernels which mostly read achieve."""
    mma_m: float | None
    """Rows, columns and depth to which work is padded: the smallest matrix instruction, since it pads a floor."""
    mma_n: float | None
    mma_k_bytes: float | None = None
    mma_k_elements: float | None = None
    """Depth as a number of elements whatever the dtype, where the unit is built so (systolic arrays)."""
    clock_matrix_hz: float | None = None
    """Clock behind the published matrix peak."""
    matrix_fp32_flop_per_clock_per_sm: float | None = None
    """Matrix rates, with fp32 accumulation: 0 where the chip has no such instruction."""
    matrix_tf32_flop_per_clock_per_sm: float | None = None
    matrix_fp16_flop_per_clock_per_sm: float | None = None
    matrix_bf16_flop_per_clock_per_sm: float | None = None
    matrix_fp8_flop_per_clock_per_sm: float | None = None
    matrix_int8_flop_per_clock_per_sm: float | None = None
    matrix_fp6_flop_per_clock_per_sm: float | None = None
    matrix_fp4_flop_per_clock_per_sm: float | None = None
    matrix_fp16_acc16_flop_per_clock_per_sm: float | None = None
    """With fp16 accumulation, where that is faster (GeForce)."""
    matrix_fp8_acc16_flop_per_clock_per_sm: float | None = None
    datasheet_fp32_flop_per_s: float | None = None
    """Published dense peaks, kept only to check the rates above: units x matrix clock x rate."""
    datasheet_tf32_flop_per_s: float | None = None
    datasheet_fp16_flop_per_s: float | None = None
    datasheet_bf16_flop_per_s: float | None = None
    datasheet_fp8_flop_per_s: float | None = None
    datasheet_int8_flop_per_s: float | None = None
    datasheet_fp6_flop_per_s: float | None = None
    datasheet_fp4_flop_per_s: float | None = None
    smem_bytes_per_clock_per_sm: float | None = None
    smem_bytes_per_sm: float | None = None
    smem_bytes_per_block: float | None = None
    registers_per_sm: float | None = None
    """Of 32 bits."""
    registers_per_thread: float | None = None
    warps_per_sm: float | None = None
    warp_size: float | None = None
    blocks_per_sm: float | None = None
    threads_per_block: float | None = None
    tmem_bytes_per_sm: float | None = None
    l2_bytes: float | None = None
    """The last cache before main memory that serves all matrix kernels."""
    l2_bandwidth_bytes_per_s: float | None = None
    """A peak that no kernel exceeds, L2 to compute units; floors use it."""
    l2_achieved_bytes_per_s: float | None = None
    """What kernels get; the schedule uses it."""
    launch_latency_s: float | None = None
    """A stream of empty kernels, per kernel."""
    interconnect_bytes_per_s: float | None = None
    """To other chips, per direction; 0: none."""
    power_w: float | None = None
    calibration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False, repr=False)
    """Constants of implementations that were fitted on this chip by its user (`attnsim calibrate`), as in the file."""
    sources: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    notes: Mapping[str, tuple[str, str]] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def names() -> list[str]:
        """Names of the shipped profiles, from the folder alone."""
        return sorted(p.stem for p in _folder().glob("*.toml") if p.stem != "aliases")

    @staticmethod
    def load(name_or_path: str, overrides: Mapping[str, float | str] | None = None) -> Hardware:
        """A shipped profile by name or alias, or a file by its path, with single numbers changed on the way."""
        path = _find(str(name_or_path))
        profile = _merge(path, ())
        notes: dict[str, tuple[str, str]] = {}
        values: dict[str, Any] = {}
        for key, entry in profile.pop("numbers").items():
            value, note = _number(path, key, entry)
            values[key], notes[key] = value, note
        missing = [key for key in REQUIRED if key not in values]
        if missing:
            raise InputError(
                f'{path}: missing in [numbers]: {", ".join(missing)} (state value = "unknown" where nobody knows)'
            )
        for given, raw in (overrides or {}).items():
            key = given.strip().replace("-", "_").lower()
            if key not in NUMBERS:
                raise unknown("hardware number", given, NUMBERS)
            values[key] = _override(key, raw)
            notes[key] = ("override", "set by the user")
        _check_together(path, values)
        return Hardware(**_texts(path, profile), **values, notes=notes)

    def with_numbers(self, **numbers: float) -> Hardware:
        """A copy with some numbers changed, checked as those of a profile are. Raises InputError."""
        notes = dict(self.notes)
        for key, value in numbers.items():
            if key not in NUMBERS:
                raise unknown("hardware number", key, NUMBERS)
            numbers[key] = _checked(key, key, value)
            notes[key] = ("override", "set by the user")
        _check_together(self.name, {key: getattr(self, key) for key in REQUIRED} | numbers)
        return replace(self, **numbers, notes=notes)  # type: ignore[arg-type]

    def note(self, field: str) -> tuple[str, str]:
        """Kind and source of a number: how it is known, and from where."""
        if field not in NUMBERS:
            raise unknown("hardware number", field, NUMBERS)
        return self.notes.get(field, ("unknown", "not stated in the profile"))

    def matrix_flop_per_s(self, dtype: str, clock: float) -> float | None:
        """Matrix FLOP/s of the whole chip with fp32 accumulation; 0 if the chip lacks the dtype, None if unknown."""
        rate = getattr(self, f"matrix_{_base(dtype)}_flop_per_clock_per_sm")
        return None if rate is None else float(rate * self.sm_count * clock)

    def matrix_peak_flop_per_s(self, dtype: str) -> float | None:
        """Matrix FLOP/s that no kernel exceeds: the highest clock and the fastest accumulation."""
        base = _base(dtype)
        peak = self.matrix_flop_per_s(base, self.clock_max_hz)
        fast = getattr(self, f"matrix_{base}_acc16_flop_per_clock_per_sm", None)
        return peak if peak is None or fast is None else max(peak, fast * self.sm_count * self.clock_max_hz)

    def vector_flop_per_s(self, clock: float) -> float | None:
        rate = self.vector_flop_per_clock_per_sm
        return None if rate is None else rate * self.sm_count * clock

    def exp_per_s(self, clock: float) -> float | None:
        rate = self.exp_per_clock_per_sm
        return None if rate is None else rate * self.sm_count * clock

    def mma_k(self, dtype: str) -> int | None:
        """Depth of the smallest matrix instruction, in elements of `dtype`."""
        base = _base(dtype)
        if self.mma_k_elements is not None:
            return int(self.mma_k_elements)
        return None if self.mma_k_bytes is None else max(1, int(self.mma_k_bytes) * 8 // BITS[base])

    def to_dict(self) -> dict[str, Any]:
        """Texts, every number with its kind and source, and the sources: ready for JSON."""
        out: dict[str, Any] = {key: getattr(self, key) for key in TEXTS}
        out["numbers"] = {
            key: dict(zip(("value", "kind", "source"), (getattr(self, key), *self.note(key)), strict=True))
            for key in NUMBERS
        }
        out["sources"] = dict(self.sources)
        return out


def profile_of_device(name: str) -> str | None:
    """The shipped profile of a device by the name that a driver, a log or a table gives it; None where no chip of ours,
    or more than one, is named. What is named by more words goes first, and a model before a compiler's target.

    >>> profile_of_device("NVIDIA A100-SXM4-40GB"), profile_of_device("MI325 (gfx942)"), profile_of_device("A100, H100")
    ('a100-40gb', 'mi325x', None)
    """
    words = set(re.findall(r"[a-z0-9]+", name.lower()))
    tables = _read(_folder() / "aliases.toml")
    for table in (tables["devices"], tables["targets"]):
        found = {given: chip for given, chip in table.items() if words.issuperset(given.split())}
        most = max((len(given.split()) for given in found), default=0)
        chips = {chip for given, chip in found.items() if len(given.split()) == most}
        if chips:
            return chips.pop() if len(chips) == 1 else None
    return None


_HINTS = get_type_hints(Hardware)
NUMBERS = tuple(f.name for f in fields(Hardware) if _HINTS[f.name] in (int, float, float | None))
REQUIRED = (
    "sm_count", "clock_max_hz", "clock_sustained_hz", "vector_flop_per_clock_per_sm", "exp_per_clock_per_sm",
    "hbm_bytes", "hbm_bandwidth_bytes_per_s", "hbm_efficiency", "mma_m", "mma_n",
)  # fmt: skip
ALWAYS_KNOWN = ("sm_count", "clock_max_hz")
MAY_BE_ZERO = {"tmem_bytes_per_sm", "interconnect_bytes_per_s", *(n for n in NUMBERS if n.startswith("matrix_"))}
TEXTS = ("name", "title", "vendor", "kind", "generation", "target", "validated", "exp_on_vector")
TOP_LEVEL = ("format", *TEXTS, "inherits", "numbers", "sources", "calibration")


def _folder() -> Path:
    import attnsim.hardware_profiles as package

    return Path(str(package.__file__)).parent


def _base(dtype: str) -> str:
    base = BASE_DTYPE.get(dtype)
    if base is None:
        raise unknown("dtype", dtype, BASE_DTYPE)
    return base


def _find(given: str) -> Path:
    """The file of a name, an alias or a path."""
    if given.endswith(".toml") or "/" in given or "\\" in given:
        path = Path(given).expanduser()
        if not path.is_file():
            raise InputError(f"no such hardware profile: {given}")
        return path
    folder = _folder()
    name = given.strip().lower().replace("_", "-").replace(" ", "-")
    path = folder / f"{name}.toml"
    if name and name != "aliases" and path.is_file():
        return path
    aliases: dict[str, str] = _read(folder / "aliases.toml")["aliases"]
    if name in aliases:
        return folder / f"{aliases[name]}.toml"
    raise unknown("hardware", given, [*Hardware.names(), *aliases])


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML: {error}") from None  # the parser's message names the line
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None


def _merge(path: Path, children: tuple[Path, ...]) -> dict[str, Any]:
    """A profile over what it inherits from, as one dictionary."""
    if path.resolve() in children:
        raise InputError(f"{path}: inherits from itself: {' -> '.join(p.stem for p in (*children, path))}")
    profile = _read(path)
    version = profile.pop("format", 0)
    if version != FORMAT:
        raise InputError(f"{path}: {_version_message(version)}")
    for key in profile:
        if key not in TOP_LEVEL:
            raise InputError(f"{path}: {unknown('top-level key', key, TOP_LEVEL)}")
    for key in ("numbers", "sources", "calibration"):
        if not isinstance(profile.get(key, {}), dict):
            raise InputError(f"{path}: [{key}] must be a table")
    for key in ("numbers", "sources"):
        profile.setdefault(key, {})
    parent_name = profile.pop("inherits", None)
    if parent_name is None:
        return profile
    beside = path.parent / str(parent_name)
    try:
        parent = beside if beside.suffix == ".toml" and beside.is_file() else _find(str(parent_name))
    except InputError as error:
        raise InputError(f"{path}: inherits: {error}") from None
    merged = _merge(parent, (*children, path.resolve()))
    # What predictions were validated and fitted on belongs to one chip, not to its siblings.
    merged.pop("validated", None)
    merged.pop("calibration", None)
    for key in ("numbers", "sources"):
        merged[key].update(profile.pop(key))
    merged.update(profile)
    return merged


def _version_message(version: object) -> str:
    if not isinstance(version, int):
        return f"format must be a whole number, not {version!r}"
    if version > FORMAT:
        return f"written for profile format {version}; this attnsim reads {FORMAT}: update attnsim"
    changes = "; ".join(f"format {since}: {what}" for since, what in CHANGES_SINCE if since > version)
    return f"profile format {version} is no longer read (now: format = {FORMAT}); changed since: {changes}"


def _number(path: Path, key: str, entry: object) -> tuple[float | None, tuple[str, str]]:
    where = f"{path}: {key}"
    if key not in NUMBERS:
        raise InputError(f"{path}: {unknown('field', key, NUMBERS)}")
    if not isinstance(entry, dict) or "value" not in entry:
        raise InputError(f"{where}: must be {{ value = ..., kind = ..., source = ... }}")
    for extra in entry:
        if extra not in ("value", "kind", "source"):
            raise InputError(f"{where}: {unknown('key', extra, ('value', 'kind', 'source'))}")
    value, source = entry["value"], entry.get("source")
    if not isinstance(source, str) or not source.strip():
        raise InputError(f"{where}: has no source; a number without its origin does not load")
    if value == "unknown":
        if key in ALWAYS_KNOWN:
            raise InputError(f'{where}: must be a number; give an estimate with kind = "estimate"')
        return None, ("unknown", source)
    kind = entry.get("kind")
    if kind not in KINDS:
        raise InputError(f"{where}: kind must be one of {', '.join(KINDS)}, not {kind!r}")
    return _checked(where, key, value), (str(kind), source)


def _checked(where: str, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f'{where}: value must be a number or "unknown", not {value!r}')
    if not math.isfinite(value) or value < 0 or (value == 0 and key not in MAY_BE_ZERO):
        rule = "a finite number, 0 or more" if key in MAY_BE_ZERO else "a positive finite number"
        raise InputError(f"{where}: value must be {rule}, not {value!r}")
    if key == "hbm_efficiency" and value > 1:
        raise InputError(f"{where}: a share of the peak cannot exceed 1, it is {value!r}")
    if key == "sm_count":
        if value != int(value):
            raise InputError(f"{where}: value must be a whole number, not {value!r}")
        return int(value)
    return value


def _override(key: str, raw: float | str) -> float:
    value: object = raw
    if isinstance(raw, str):
        try:
            value = float(raw.replace("_", ""))
        except ValueError:
            raise InputError(f"--set {key}={raw}: not a number") from None
    return _checked(f"--set {key}", key, value)


def _check_together(path: Path | str, values: Mapping[str, Any]) -> None:
    sustained, highest = values["clock_sustained_hz"], values["clock_max_hz"]
    if sustained is not None and sustained > highest:
        raise InputError(
            f"{path}: clock_sustained_hz ({sustained:g}) exceeds clock_max_hz ({highest:g}); change the other one too"
        )


def _texts(path: Path, profile: dict[str, Any]) -> dict[str, Any]:
    texts = {"target": "", "validated": "", "exp_on_vector": False, **profile}
    for key in ("name", "title", "vendor", "kind", "generation", "target", "validated"):
        if not isinstance(texts.get(key), str):
            raise InputError(f"{path}: {key} must be a text" if key in texts else f"{path}: missing: {key}")
    if texts["kind"] not in CHIP_KINDS:
        raise InputError(f"{path}: kind must be one of {', '.join(CHIP_KINDS)}, not {texts['kind']!r}")
    if not isinstance(texts["exp_on_vector"], bool):
        raise InputError(f"{path}: exp_on_vector must be true or false")
    return texts
