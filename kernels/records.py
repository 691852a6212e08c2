"""Tuned configs: what a tuner found to be fastest, by chip, kernel, bucket of problems, and versions.

One JSON file, `$ATTNSIM_RECORDS` or `~/.cache/attnsim/records.json`: `format`, `attnsim`, and `records`, each with its
`hardware`, `kernel`, `bucket` (sizes as ranges, see simulator/buckets.py), `versions`, `config`, the `problem` it was
found for, its `seconds` and `conditions`. A tuner writes it, `attention` looks it up: one look at any length. What was
found with another minor version of triton or attnsim is kept, and not used.
"""

from __future__ import annotations

import functools
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from .._files import make_folder, write_file
from ..simulator import api, buckets, implementations
from ..simulator.config import Tunable
from ..simulator.errors import InputError
from ..simulator.hardware import Hardware
from ..simulator.prediction import as_tuples, config_fields
from ..simulator.problem import Problem
from ..simulator.tiling import Tile
from ..simulator.variants import Variant

if TYPE_CHECKING:
    from ..autotune.measurement import Measurement
    from ..autotune.task import Task

FORMAT = 2
Records = dict[str, dict[str, Any]]


def path() -> Path:
    """Where records are kept."""
    return Path(os.environ.get("ATTNSIM_RECORDS") or Path.home() / ".cache" / "attnsim" / "records.json")


@functools.cache
def versions() -> dict[str, str]:
    """Major and minor versions of what decides how fast a config is."""
    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = "none"
    return {name: ".".join(full.split(".")[:2]) for name, full in (("attnsim", __version__), ("triton", triton))}


def key(bucket: buckets.Bucket, hardware: str, kernel: str, found_with: Mapping[str, str]) -> str:
    """The name of a record."""
    said = " ".join(f"{name} {found_with.get(name)}" for name in ("triton", "attnsim"))
    return f"{hardware} {kernel} {bucket.key} {said}"


def find(implementation: str, chip: str | Hardware, variant: Variant, problem: Problem) -> Any | None:
    """The tuned config of the bucket that a prepared problem is in, None where there is none that the kernel takes.

    Raises InputError for a file that cannot be read.
    """
    records = load()
    if not records or not buckets.is_named(variant):
        return None
    hardware, kernel = api.load_hardware(chip), kernel_called(implementation)
    start = f"{hardware.name} {kernel.name} "
    if not any(name.startswith(start) and r["bucket"].get("variant") == variant.id for name, r in records.items()):
        return None
    record = records.get(key(buckets.bucket_of(variant, problem, hardware, kernel), hardware.name, kernel.name,
                             versions()))  # fmt: skip
    if record is None:
        return None
    try:
        config = kernel.config_type(**as_tuples(record["config"]))
        before = problem_from(record["problem"])
    except (KeyError, TypeError) as error:
        raise InputError(f"a tuned config in {str(path())!r} cannot be read: {error}") from None
    return buckets.carried(config, variant, before, problem, hardware, kernel)


def save(
    implementation: str, chip: str | Hardware, variant: Variant, problem: Problem, config: Tile,
    seconds: float | None = None, conditions: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Keep a config as the tuned one of a prepared problem's bucket; the file is replaced whole.

    Raises InputError for variants with arrays or functions as parameters, and where the file cannot be written.
    """
    hardware, kernel = api.load_hardware(chip), kernel_called(implementation)
    bucket = buckets.bucket_of(variant, problem, hardware, kernel)
    record = {
        "hardware": hardware.name, "kernel": kernel.name, "bucket": bucket.to_dict(), "versions": dict(versions()),
        "config": config_fields(config), "problem": problem.to_dict(), "seconds": seconds,
        "conditions": dict(conditions or {}),
    }  # fmt: skip
    write(load() | {key(bucket, hardware.name, kernel.name, versions()): record})


def save_result(task: Task, measurement: Measurement) -> None:
    """Keep what a tuner found. Raises InputError for a measurement that is no time."""
    if measurement.outcome != "ok":
        raise InputError(f"a config that is {measurement.outcome!r} is no tuned one")
    save(task.implementation, task.chip, task.made, task.problem, measurement.config, measurement.median_s,
         measurement.conditions)  # fmt: skip


def load() -> Records:
    """All records by their names; a file of another format has none, which is said once.

    Raises InputError for a file that cannot be read.
    """
    try:
        stamp = path().stat()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"cannot read the tuned configs {str(path())!r}: {error.strerror}") from None
    return dict(_load(str(path()), stamp.st_mtime_ns, stamp.st_size))


@functools.lru_cache(maxsize=8)
def _load(name: str, stamp: int, size: int) -> Records:
    try:
        return parse(Path(name).read_text(errors="replace"), name)
    except OSError as error:
        raise InputError(f"cannot read the tuned configs {name!r}: {error.strerror}") from None
    except OtherFormatError as error:
        warnings.warn(f"{error}; they are not used, and the next tuning replaces them", stacklevel=4)
        return {}


class OtherFormatError(InputError):
    """A file of records, but not as this version writes them."""


def parse(text: str, name: str) -> Records:
    """Records from a file's text. Raises InputError for a file that holds none."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InputError(f"cannot read the tuned configs {name!r}: {error}") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT or not isinstance(data.get("records"), list):
        raise OtherFormatError(f"the tuned configs in {name!r} are not of format {FORMAT}")
    try:
        return {named(record): record for record in data["records"]}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"a tuned config in {name!r} cannot be read: {error!r}") from None


def named(record: Mapping[str, Any]) -> str:
    """A record's name, from what it says of itself."""
    ranges = {name: ends for name, ends in record["bucket"].items() if name in buckets.RANGES}
    fixed = {name: value for name, value in record["bucket"].items() if name not in buckets.RANGES}
    sizes = tuple((name, (int(low), int(high))) for name, (low, high) in ranges.items())
    bucket = buckets.Bucket(sizes, json.dumps(fixed, sort_keys=True), problem_from(record["problem"]))
    return key(bucket, record["hardware"], record["kernel"], record["versions"])


def export() -> str:
    """All records as JSON."""
    return dump(load().values())


def merge(text: str, name: str) -> int:
    """Add the records of an exported file to those kept here, in place of those of the same name; how many it has.

    Raises InputError for a file that holds none.
    """
    found = parse(text, name)
    write(load() | found)
    return len(found)


def dump(records: Iterable[Mapping[str, Any]]) -> str:
    """Records as a file has them, in the order of their names."""
    data = {"format": FORMAT, "attnsim": __version__, "records": sorted(records, key=named)}
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def write(records: Records) -> None:
    """Replace the file whole. Raises InputError where that is impossible."""
    make_folder(path().parent)
    write_file(path(), dump(records.values()).encode())


def problem_from(data: Mapping[str, Any]) -> Problem:
    """A problem from its `to_dict`."""
    return Problem(**as_tuples({name: value for name, value in data.items() if name != "seq"}))


def kernel_called(name: str) -> Tunable:
    """A kernel with configs, by name. Raises InputError."""
    found = implementations.get(name)
    if not isinstance(found, Tunable):
        raise InputError(f"{found.name} is no kernel that is tuned here")
    return found
