"""How much a measured latency moves with the framework's version, and with nothing else.

Kept apart from accuracy: a model is fitted to one version, and what changes with the next is neither its merit nor its
fault. Rows of two versions are joined where chip, framework, operation, types and problem are the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .silicon import Floats, Table

PROBLEM = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "v_dim", "window", "chunk")
FEWEST_ROWS = 20


def drift(tables: Iterable[Table]) -> list[dict[str, Any]]:
    """One record for each two consecutive versions and kernel source (or, where the newer version has none of that
    name, pair of kernel sources) with at least FEWEST_ROWS problems in common.

    `ratio` is the newer time over the older one: median, 10th and 90th percentile over the problems. `spread` is the
    median distance from the median ratio in percent: what no constant factor between the versions would explain.
    """
    alike: dict[tuple[Any, ...], dict[str, dict[str, list[Table]]]] = {}
    for table in tables:
        same = (
            table.chip, table.framework, table.operation, table.dtype, table.kv_dtype, table.v_in_k, table.variant,
            repr(sorted(table.parameters.items())),
        )  # fmt: skip
        alike.setdefault(same, {}).setdefault(table.version, {}).setdefault(table.kernel_source, []).append(table)
    return [
        record
        for same, versions in alike.items()
        for older, newer in pairwise(sorted(versions, key=version_order))
        for old, new in _matches(versions[older], versions[newer])
        if (record := _record(same, (older, newer), (old, new), versions)) is not None
    ]


def version_order(version: str) -> list[tuple[int, int, str]]:
    """A key that sorts versions by their numbers.

    >>> sorted(["1.3.0rc20", "1.3.0", "0.24.0", "0.5.14", "1.3.0rc3", "0.5.6.post2"], key=version_order)
    ['0.5.6.post2', '0.5.14', '0.24.0', '1.3.0rc3', '1.3.0rc20', '1.3.0']
    """
    parts = re.findall(r"\d+|[a-z]+", version)
    # A letter part before the end: rc and dev come before the release, post after it.
    key = [(1, int(part), "") if part.isdigit() else (2 if part == "post" else -1, 0, part) for part in parts]
    return [*key, (0, 0, "")]


def _matches(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, str]]:
    """Kernel sources to compare: those of the same name, and those that only one of the versions has."""
    gone, come = sorted(set(old) - set(new)), sorted(set(new) - set(old))
    return [(name, name) for name in sorted(set(old) & set(new))] + [(a, b) for a in gone for b in come]


def _record(
    same: Sequence[Any], versions: tuple[str, str], sources: tuple[str, str],
    found: dict[str, dict[str, list[Table]]],
) -> dict[str, Any] | None:  # fmt: skip
    chip, framework, operation, dtype, kv_dtype = same[:5]
    ratio = ratios(found[versions[0]][sources[0]], found[versions[1]][sources[1]])
    if len(ratio) < FEWEST_ROWS:
        return None
    low, median, high = np.percentile(ratio, (10, 50, 90))
    return {
        "chip": chip, "framework": framework, "op": operation, "dtype": dtype, "kv_dtype": kv_dtype,
        "old": versions[0], "new": versions[1], "old_kernel_source": sources[0], "new_kernel_source": sources[1],
        "rows": len(ratio), "ratio_p10": float(low), "ratio": float(median), "ratio_p90": float(high),
        "spread": float(100 * np.median(np.abs(ratio / median - 1))),
    }  # fmt: skip


def ratios(old: Sequence[Table], new: Sequence[Table]) -> Floats:
    """New over old time of each problem that both have, in no particular order; rows that a rule excludes left out."""
    before, old_s = _problems(old)
    after, new_s = _problems(new)
    both, index = np.unique(np.concatenate([before, after]), axis=0, return_inverse=True)
    seconds = np.full((2, len(both)), np.nan)
    index = index.reshape(-1)
    seconds[0, index[: len(before)]] = old_s
    seconds[1, index[len(before) :]] = new_s
    ratio: Floats = seconds[1] / seconds[0]
    return ratio[~np.isnan(ratio)]


def _problems(tables: Sequence[Table]) -> tuple[Floats, Floats]:
    """Distinct problems and the geometric mean of the seconds that each took."""
    rows = np.concatenate([np.stack([getattr(t, name)[~t.excluded] for name in PROBLEM], axis=1) for t in tables])
    seconds = np.concatenate([t.latency_s[~t.excluded] for t in tables])
    distinct, index = np.unique(rows, axis=0, return_inverse=True)
    index = index.reshape(-1)
    total = np.bincount(index, np.log(seconds), minlength=len(distinct))
    return distinct, np.exp(total / np.bincount(index, minlength=len(distinct)))
