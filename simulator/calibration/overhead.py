"""What a serving framework adds to an attention kernel: launches, host work, passes that append to the KV cache.

    overhead/<framework>-<version>.toml     one table an operation (context, encoder, decode), each constant sourced

Measured latencies of public tables are calls of a framework's layer; `schedule` is the kernel alone. The two
separate cleanly: a kernel's part carries over between frameworks, this one does not.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from ..algebra import Number
from ..errors import InputError
from ..hardware import Hardware
from . import FORMAT

FOLDER = Path(__file__).parent / "overhead"


@dataclass(frozen=True, slots=True)
class Overhead:
    """Cost of one call around its kernel.

    fixed_s: launches and host, the kernel's own launch included. query_passes, kv_passes: how often the queries, and
    the keys and values of the new tokens, move through memory besides. token_clocks: clocks a token costs on one
    compute unit.
    """

    fixed_s: float = 0.0
    query_passes: float = 0.0
    kv_passes: float = 0.0
    token_clocks: float = 0.0

    def seconds(self, query_bytes: Number, new_kv_bytes: Number, tokens: Number, hardware: Hardware) -> Number:
        """Seconds over the kernel for a call of `tokens` new tokens."""
        bandwidth, clock = hardware.hbm_bandwidth_bytes_per_s, hardware.clock_sustained_hz
        if not bandwidth or not clock:
            raise InputError(f"{hardware.name} lacks the memory bandwidth or clock that an overhead needs")
        moved = self.query_passes * query_bytes + self.kv_passes * new_kv_bytes
        return self.fixed_s + moved / bandwidth + self.token_clocks * tokens / hardware.sm_count / clock


@functools.cache
def load(framework: str, version: str, operation: str) -> Overhead | None:
    """The overhead of an operation: of this version, else of the framework's last known one, else None.

    Raises InputError for a file with an unknown or unsourced constant.
    """
    known = sorted(FOLDER.glob(f"{framework}-*.toml"))
    if not known:
        return None
    exact = FOLDER / f"{framework}-{version}.toml"
    path = exact if exact in known else known[-1]
    data = tomllib.loads(path.read_text(encoding="utf-8"))
    if data.get("format") != FORMAT:
        raise InputError(f"{path.name}: calibration format {data.get('format')!r}; this version reads {FORMAT}")
    names = {f.name for f in fields(Overhead)}
    values: dict[str, float] = {}
    for name, entry in data.get(operation, {}).items():
        if name not in names:
            raise InputError(f"{path.name}: unknown constant {name!r}")
        if not entry.get("source"):
            raise InputError(f"{path.name}: constant {name!r} has no source")
        values[name] = float(entry["value"])
    return Overhead(**values)
