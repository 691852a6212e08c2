"""Tuned configs: what a tuner found to be fastest, by kernel, chip and problem.

One JSON file, `$ATTNSIM_RECORDS` or `~/.cache/attnsim/records.json`; a tuner writes it, `attention` looks it up.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..simulator.config import Config
from ..simulator.errors import InputError
from ..simulator.problem import Problem
from ..simulator.variants import Variant


def path() -> Path:
    """Where records are kept."""
    return Path(os.environ.get("ATTNSIM_RECORDS") or Path.home() / ".cache" / "attnsim" / "records.json")


def key(implementation: str, chip: str, variant: Variant, problem: Problem) -> str:
    """The name of a record: everything that a measured time depends on but the config."""
    parameters = {name: str(value) for name, value in sorted(variant.parameters().items())}
    return json.dumps([implementation, chip, variant.id, parameters, problem.to_dict()], sort_keys=True)


def _read() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path().read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the tuned configs {str(path())!r}: {error}") from None
    return found


def find(implementation: str, chip: str, variant: Variant, problem: Problem) -> Config | None:
    """The tuned config of a problem, or None. Raises InputError for a file that is no record."""
    found = _read().get(key(implementation, chip, variant, problem))
    if found is None:
        return None
    try:
        fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in found.items()}
        return Config(**fields)
    except TypeError as error:
        raise InputError(f"a tuned config in {str(path())!r} cannot be read: {error}") from None


def save(implementation: str, chip: str, variant: Variant, problem: Problem, config: Config) -> None:
    """Keep a config as the tuned one of a problem; the file is replaced whole."""
    records = _read() | {key(implementation, chip, variant, problem): asdict(config)}
    path().parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path().parent, prefix=".records.")
    with os.fdopen(handle, "w") as file:
        json.dump(records, file, indent=1)
    os.replace(temporary, path())
