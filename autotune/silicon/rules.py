"""Rows of the public tables that are known to be wrong: rules in a data file, each with its reason."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...simulator.errors import InputError, unknown
from .table import Table


@dataclass(frozen=True, slots=True)
class Rule:
    """Rows that are known to be wrong: which, and what shows it."""

    name: str
    reason: str
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Attribute of a table -> the values that match."""
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Column -> smallest and largest value that match."""
    keys: NDArray[np.uint64] | None = None
    """Single rows, by their key."""

    def matches(self, table: Table) -> NDArray[np.bool_]:
        if any(getattr(table, name) not in allowed for name, allowed in self.names.items()):
            return np.zeros(len(table), dtype=np.bool_)
        match = np.ones(len(table), dtype=np.bool_) if self.keys is None else np.isin(table.key, self.keys)
        for name, (low, high) in self.ranges.items():
            column = getattr(table, name)
            match &= (column >= low) & (column <= high)
        return match


_RULE_NAMES = ("chip", "framework", "version", "operation", "kernel_source", "dtype", "kv_dtype", "label_dtype")
_RULE_RANGES = ("batch", "heads", "kv_heads", "seq", "tokens", "kv_len", "head_dim", "v_dim", "window", "chunk")


def known_bad(path: Path | None = None) -> list[Rule]:
    """The rules of a file like `silicon_known_bad.toml`, checked."""
    path = path or Path(__file__).parents[1] / "silicon_known_bad.toml"
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("rule", [])
        return [_rule(entry) for entry in entries]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError, KeyError, AttributeError) as error:
        raise InputError(f"{path.name}: {error}") from error


def _rule(entry: Mapping[str, Any]) -> Rule:
    name, reason = str(entry["name"]), str(entry["reason"])
    names: dict[str, frozenset[str]] = {}
    ranges: dict[str, tuple[float, float]] = {}
    for column, wanted in entry["match"].items():
        if column in _RULE_NAMES:
            names[column] = frozenset([wanted] if isinstance(wanted, str) else wanted)
        elif column not in _RULE_RANGES:
            raise unknown(f"column in rule {name!r}:", column, _RULE_NAMES + _RULE_RANGES)
        elif isinstance(wanted, Mapping):
            if not wanted or set(wanted) - {"min", "max"}:
                raise InputError(f"rule {name!r}: {column} takes a number or min and max, not {dict(wanted)}")
            ranges[column] = (float(wanted.get("min", -np.inf)), float(wanted.get("max", np.inf)))
        else:
            ranges[column] = (float(wanted), float(wanted))
    keys = np.array([int(key, 16) for key in entry["rows"]], dtype=np.uint64) if "rows" in entry else None
    if not names and not ranges:
        raise InputError(f"rule {name!r} matches every row")
    return Rule(name, reason, names, ranges, keys)


def exclude(table: Table, rules: Collection[Rule]) -> Table:
    """The table with the rows marked that the rules match, and counted under the first that does."""
    excluded, reasons = table.excluded, dict(table.reasons)
    for rule in rules:
        found = rule.matches(table) & ~excluded
        if found.any():
            reasons[rule.name] = reasons.get(rule.name, 0) + int(found.sum())
            excluded = excluded | found
    return replace(table, excluded=excluded, reasons=reasons)
