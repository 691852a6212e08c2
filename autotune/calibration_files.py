"""Writes what a fit found into the calibration files, and the ranges that measured latencies keep to."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._files import write_file
from ..simulator.calibration import FORMAT, UNKNOWN, Intervals
from ..simulator.calibration.overhead import SCALARS, path_of
from .calibrate import Fit, Sample, errors, unseen_ratios
from .silicon import Floats

EDGES_S = (2e-5, 1e-4, 1e-3)
"""Regions of predicted time with ranges of their own: bound by launches, by waves, by neither, long."""
FEWEST = 60
"""Rows that a region needs; smaller ones join the next."""
LEAST = 19
"""Rows below which no range can be told: the outermost of fewer leave more than a tenth of new rows outside."""
SHARE = 0.9
"""Of measured latencies that a range is to hold."""
DIGITS = 4


def regions(predicted_s: Floats, ratios: Floats) -> Intervals:
    """Ranges of measured over predicted latency that hold SHARE of new rows, by region of predicted time.

    Split-conformal (2107.07511, section 1): of n ratios the one of rank ceil((n + 1) q) bounds a share q of new ones.
    Nothing where there are too few rows: the range of the kernel as a whole stands in.
    """
    if len(ratios) < LEAST:
        return ()
    found: list[tuple[float, Floats]] = []
    below = 0.0
    left: list[Floats] = []
    for edge in (*EDGES_S, np.inf):
        left.append(ratios[(predicted_s > below) & (predicted_s <= edge)])
        below = edge
        if sum(map(len, left)) >= FEWEST:
            found.append((edge, np.concatenate(left)))
            left = []
    rest = np.concatenate(left) if left else np.empty(0)
    if found and len(rest):
        found[-1] = (np.inf, np.concatenate([found[-1][1], rest]))
    found = found or [(np.inf, rest)]
    found[-1] = (np.inf, found[-1][1])
    return tuple((edge, *_range(np.sort(values))) for edge, values in found)


def _range(ordered: Floats) -> tuple[float, float]:
    """The ranks that leave half of what is not covered on each side."""
    n, out = len(ordered), (1 - SHARE) / 2
    high = min(int(np.ceil((n + 1) * (1 - out))), n)
    low = max(int(np.floor((n + 1) * out)), 1)
    return float(ordered[low - 1]), float(ordered[high - 1])


def write(fit: Fit) -> list[Path]:
    """Write the constants into their file and every overhead into its own; returns the files."""
    import tomlkit

    document = tomlkit.parse(fit.path.read_text(encoding="utf-8"))
    for one in fit.fitted:
        document["constants"][one.name]["value"] = rounded(getattr(fit.constants, one.name))
    unseen = unseen_ratios(fit)
    ratios = np.concatenate(unseen)
    predicted = np.concatenate([one.latency_s for one in fit.samples]) / ratios
    document["confidence"] = "fitted"
    document["error_percent"] = rounded(errors(ratios)[0], 2)
    document["fit"] = provenance(fit.samples)
    document["interval"] = inline_tables(regions(predicted, ratios) or UNKNOWN)
    write_file(fit.path, tomlkit.dumps(document).encode())
    overheads = [_write_overhead(fit, key, unseen) for key in dict.fromkeys(one.key for one in fit.samples)]
    return list(dict.fromkeys([fit.path, *overheads]))


def _write_overhead(fit: Fit, key: tuple[str, ...], unseen: Sequence[Floats]) -> Path:
    import tomlkit

    framework, version, generation, operation, implementation, suffix = key
    path = path_of(framework, version, generation)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.exists() else f"format = {FORMAT}\n"
    document = tomlkit.parse(text)
    samples = [one for one in fit.samples if one.key == key]
    table = tomlkit.table()
    for name in SCALARS:
        table[name] = rounded(getattr(fit.overheads[samples[0].key], name))
    found = provenance(samples)
    table["source"] = f"fitted with {fit.path.parent.name}/{fit.path.name} on {found['rows']} rows, {found['date']}"
    ratios = np.concatenate([own for one, own in zip(fit.samples, unseen, strict=True) if one.key == key])
    predicted = np.concatenate([s.latency_s for s in samples]) / ratios
    if ranges := regions(predicted, ratios):
        table["interval"] = inline_tables(ranges)
    kernels = document.setdefault(operation, tomlkit.table(is_super_table=True))
    types = kernels.setdefault(implementation, tomlkit.table(is_super_table=True))
    types[suffix] = table
    write_file(path, tomlkit.dumps(document).encode())
    return path


def inline_tables(found: Intervals) -> Any:
    """Regions as an array of inline tables."""
    import tomlkit

    array = tomlkit.array()
    for upto, low, high in found:
        entry = tomlkit.inline_table()
        entry.update({"upto_s": upto, "low": rounded(low), "high": rounded(high)})
        array.append(entry)
    return array.multiline(len(found) > 1)


def provenance(samples: Sequence[Sample]) -> dict[str, Any]:
    """What a fit saw: the data and its hash, rows, chips, tables, and when."""
    keys = np.sort(np.concatenate([one.table.key[one.rows] for one in samples]))
    return {
        "date": datetime.date.today().isoformat(), "data": "aiconfigurator-core 0.12.0, calibration rows",
        "chips": sorted({one.table.chip for one in samples}), "rows": len(keys),
        "sha256": hashlib.sha256(keys.tobytes()).hexdigest()[:16],
        "tables": sorted({"/".join((*one.key[:2], one.table.operation, one.table.kernel_source, one.key[5]))
                          for one in samples}),
    }  # fmt: skip


def rounded(value: float, digits: int = DIGITS) -> float:
    """To so many significant digits.

    >>> rounded(0.000123456)
    0.0001235
    """
    return float(f"{value:.{digits}g}")
