"""Rows of one published table as columns, and the split that each of them falls into for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...simulator.errors import unknown

Floats = NDArray[np.float64]

FITTED_CHIPS = ("a100", "h100", "b200")
"""Chips whose calibration rows may be fitted; every row of another chip is zero-shot."""
FITTED_TABLES = {"l40s": ("triton", "vllm_triton_attn")}
"""Kernel sources of further chips that may be: no chip above has a Triton kernel of their generation (see README)."""
SPLITS = ("calibration", "held-out", "zero-shot")
"""What the codes in `Table.split` stand for."""
CALIBRATION_ONE_IN = 10


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of one chip, framework, version, operation, kernel source and pair of dtypes, as equal-long columns."""

    chip: str
    framework: str
    version: str
    operation: str
    kernel_source: str
    """The package's name for what ran, rarely one kernel (`torch_flow` is all of TensorRT-LLM)."""
    dtype: str
    kv_dtype: str
    label_dtype: str
    """The published one, where `dtype` is what ran."""
    path: str
    batch: Floats
    heads: Floats
    kv_heads: Floats
    seq: Floats
    """Queries of one batch element."""
    kv_len: Floats
    head_dim: Floats
    v_dim: Floats
    v_in_k: bool
    """V is a part of K's memory, which is read once."""
    window: Floats
    """Keys of a causal sliding window, the query among them; 0: none."""
    chunk: Floats
    """Length of the fixed chunks that causal attention stays in; 0: none."""
    latency_s: Floats
    key: NDArray[np.uint64]
    """Identity of a row, from what is published (never from how we read it); equal only for repeated measurements."""
    split: NDArray[np.uint8]
    """Index into SPLITS."""
    excluded: NDArray[np.bool_]
    """Rows that a rule of `silicon_known_bad.toml` marks."""
    reasons: Mapping[str, int]
    """Rows marked, by the rule's name; a row counts under the first rule that marks it."""
    variant: str = ""
    """The mechanism by its name among the variants; empty: softmax attention of the columns above."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the variant that all rows share."""

    def __len__(self) -> int:
        return len(self.latency_s)

    @property
    def tokens(self) -> Floats:
        """Queries of all batch elements."""
        return self.batch * self.seq

    def rows(self, split: str) -> NDArray[np.bool_]:
        """The rows of one of SPLITS that no rule excludes."""
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        chosen: NDArray[np.bool_] = (self.split == SPLITS.index(split)) & ~self.excluded
        return chosen


def row_keys(identity: str, columns: Mapping[str, Floats], names: Sequence[str]) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, the same on every machine and for good.

    `identity` (what all rows share) gives the first state, the first 8 bytes of its BLAKE2b, little-endian; each of
    `names` in turn (a column that a file lacks counts as 0) is added to the state with the golden-ratio constant and
    mixed by SplitMix64's finaliser.
    """
    size = len(next(iter(columns.values())))
    start = int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "little")
    state = np.full(size, start, dtype=np.uint64)
    for name in names:
        state += columns[name].astype(np.uint64) if name in columns else np.uint64(0)
        state += np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def splits(chip: str, kernel_source: str, key: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Index into SPLITS for each row: by its key where the table may be fitted, else zero-shot."""
    if chip not in FITTED_CHIPS and kernel_source not in FITTED_TABLES.get(chip, ()):
        return np.full(len(key), SPLITS.index("zero-shot"), dtype=np.uint8)
    return np.where(key % np.uint64(CALIBRATION_ONE_IN) == 0, 0, 1).astype(np.uint8)
