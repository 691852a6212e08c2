"""Measured silicon: the public latency tables of `aiconfigurator-core`, read in place.

The package (extra `silicon`) carries times of attention operators on NVIDIA chips inside TensorRT-LLM, vLLM and
SGLang, one Parquet file per chip, framework, version and operator. `tables()` yields them as columns in the terms
of `Problem`. A time is one framework call, replayed as a CUDA graph over the same buffers: the kernel, what the
framework launches around it (append to the KV cache, mostly RoPE), and an L2 as warm as the buffers let it be: even
slightly larger than the L2 they stay in part (floors: only the bytes beyond its capacity must come from memory).

What the published columns mean was read from the collectors that wrote them (ai-dynamo/aiconfigurator,
`collector/*/collect_attn*.py`, `collect_mla.py`, `cases/models/*.yaml`) and checked against the numbers:

- context: `isl` queries, causal; keys `isl + step`, and `step` is 0 in every row. Encoder: no mask, as many K/V heads.
- decode: `step` is the history before the new token, which attends to itself too: 1 query, `step + 1` keys.
- `window_size` counts keys, the query among them; 0 is none. SGLang is given Llama 4's 8192 as the length of fixed
  chunks, not as a window: `fa3` runs it so (`chunk`; 0.52x dense at N = 16384, where a window would cost 0.75x), every
  other backend of it ignores it and runs dense (1.00x at any N), and so it is mapped.
- SGLang's head_dim 192 is MiMo-V2, whose V has 128; read as 192, some rows would beat the HBM.
- MLA has DeepSeek-V3's geometry. Decode is absorbed: 576 and 512, one latent K/V head whose V lies inside K (`v_in_k`).
  Prefill is expanded (192 and 128), except that SGLang's `flash_attention` and `triton` run it absorbed too: read as
  expanded, H100 would reach 193 TFLOP/s, not 654. SGLang's `trtllm_mla` is given one K/V head in prefill.
- `dtype` is what the matrix units run. On an fp8 cache many kernels turn Q into fp8 and compute in fp8, although the
  row is labelled bfloat16 (`QUANTISES_QUERIES`): TensorRT-LLM's H100 prefill then beats the bf16 peak.

Rows that do not show what they say are marked by the rules of `silicon_known_bad.toml`, each with its reason.
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..simulator.errors import InputError, unknown

Floats = NDArray[np.float64]

PACKAGE = "aiconfigurator_core"
CHIPS = {
    "a100_sxm": "a100", "h100_sxm": "h100", "h200_sxm": "h200", "b200_sxm": "b200", "b300_sxm": "b300",
    "gb200": "gb200", "gb300": "gb300", "l40s": "l40s", "rtx_pro_6000_server": "rtx-pro-6000",
}  # fmt: skip
"""The package's directory of a chip, and our profile of it."""
FRAMEWORKS = ("trtllm", "vllm", "sglang")
OPERATIONS = {
    "context_attention_perf": "context", "encoder_attention_perf": "encoder", "generation_attention_perf": "decode",
    "context_mla_perf": "mla context", "generation_mla_perf": "mla decode",
}  # fmt: skip
"""A file of the package, and the operation in it."""
UNMAPPED = {
    "mla_bmm_": "the up-projection of MLA alone",
    **dict.fromkeys(("mla_", "wideep_context_mla_", "wideep_generation_mla_"), "a whole layer: projections included"),
    **dict.fromkeys(("gdn_", "kda_", "mamba2_", "dsa_", "msa_", "dsv4_csa_", "dsv4_hca_", "dsv4_paged_", "glm5_"),
                    "another mechanism, not mapped yet"),
}  # fmt: skip
"""How the names of files about attention begin that are left out, and why; all others are about other operators."""

FITTED_CHIPS = ("a100", "h100", "b200")
"""Chips whose calibration rows may be fitted; every row of another chip is zero-shot."""
SPLITS = ("calibration", "held-out", "zero-shot")
"""What the codes in `Table.split` stand for."""
CALIBRATION_ONE_IN = 10

QUANTISES_QUERIES = {
    "context": {"torch_flow", "torch_flow_flashinfer", "vllm_flash_attn_fa3", "vllm_flashinfer", "vllm_triton_attn",
                "vllm_flashinfer_trtllmprefill", "vllm_flashinfer_trtllmdecode"},
    "decode": {"torch_flow", "torch_flow_flashinfer", "vllm_flash_attn_fa3", "vllm_flashinfer", "vllm_triton_attn",
               "vllm_flashinfer_trtllmdecode", "fa3", "trtllm_mha"},
    "mla context": {"default", "trtllm_mla"},
    "mla decode": {"default", "trtllm_mla"},
}  # fmt: skip
"""Kernel sources that compute in fp8 on an fp8 cache whatever the label says, by operation."""
KEEPS_QUERIES = (("torch_flow", "l40s"), ("torch_flow", "rtx-pro-6000"), ("default", "a100"), ("default", "l40s"))
"""Except these on these chips: no faster on an fp8 cache (0.97 to 1.00x), where fp8 operands take 0.55 to 0.6x."""

KEY_COLUMNS = ("batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim", "window_size")
"""Published columns that a row's key hashes, in this order; a column that a file lacks counts as 0."""


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

    def __len__(self) -> int:
        return len(self.latency_s)

    def rows(self, split: str) -> NDArray[np.bool_]:
        """The rows of one of SPLITS that no rule excludes."""
        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        chosen: NDArray[np.bool_] = (self.split == SPLITS.index(split)) & ~self.excluded
        return chosen


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
_RULE_RANGES = ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "v_dim", "window", "chunk")


def known_bad(path: Path | None = None) -> list[Rule]:
    """The rules of a file like `silicon_known_bad.toml`, checked."""
    path = path or Path(__file__).with_name("silicon_known_bad.toml")
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


def row_keys(identity: str, columns: Mapping[str, Floats]) -> NDArray[np.uint64]:
    """A 64-bit hash of each row, the same on every machine and for good.

    `identity` (what all rows share) gives the first state, the first 8 bytes of its BLAKE2b, little-endian; each of
    KEY_COLUMNS in turn is added to the state with the golden-ratio constant and mixed by SplitMix64's finaliser.
    """
    size = len(next(iter(columns.values())))
    start = int.from_bytes(blake2b(identity.encode(), digest_size=8).digest(), "little")
    state = np.full(size, start, dtype=np.uint64)
    for name in KEY_COLUMNS:
        state += columns[name].astype(np.uint64) if name in columns else np.uint64(0)
        state += np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state


def splits(chip: str, key: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Index into SPLITS for each row: by its key where the chip may be fitted, else zero-shot."""
    if chip not in FITTED_CHIPS:
        return np.full(len(key), SPLITS.index("zero-shot"), dtype=np.uint8)
    return np.where(key % np.uint64(CALIBRATION_ONE_IN) == 0, 0, 1).astype(np.uint8)


def data_directory() -> Path:
    """Where the installed package keeps its tables; the package itself is not imported."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("pyarrow") is None:
        raise InputError("the silicon tables need aiconfigurator-core and pyarrow: pip install 'attnsim[silicon]'")
    directory = Path(spec.submodule_search_locations[0]) / "systems" / "data"
    if not directory.is_dir():
        raise InputError(f"{directory} does not exist; reinstall: pip install 'attnsim[silicon]'")
    return directory


def tables(
    chips: Collection[str] | None = None,
    frameworks: Collection[str] | None = None,
    operations: Collection[str] | None = None,
) -> Iterator[Table]:
    """The mapped tables, in the order of chip, operation, framework and version; all of them, or those named.

    A chip goes by our name or by the package's (`h100` or `h100_sxm`). Only files that were asked for are opened.
    """
    chips = None if chips is None else {CHIPS.get(name, name) for name in chips}
    for kind, given, known in (
        ("chip of the silicon tables", chips, CHIPS.values()),
        ("framework of the silicon tables", frameworks, FRAMEWORKS),
        ("operation of the silicon tables", operations, OPERATIONS.values()),
    ):
        for name in given or ():
            if name not in known:
                raise unknown(kind, name, known)
    root, rules = data_directory(), known_bad()
    origins = [
        (path, (chip, path.parts[-3], path.parts[-2], operation))
        for directory, chip in CHIPS.items()
        for stem, operation in OPERATIONS.items()
        for path in sorted(root.glob(f"{directory}/*/*/*/{stem}.parquet"))
        if (chips is None or chip in chips)
        and (frameworks is None or path.parts[-3] in frameworks)
        and (operations is None or operation in operations)
    ]
    return (table for path, origin in origins for table in _tables_of(path, root, origin, rules))


def unread() -> Iterator[tuple[str, int, str]]:
    """Attention files that `tables` leaves out: path inside the package, rows, why."""
    import pyarrow.parquet as parquet

    root = data_directory()
    for path in sorted(root.glob("*/*/*/*/*.parquet")):
        why = next((why for prefix, why in UNMAPPED.items() if path.stem.startswith(prefix)), "")
        if path.stem in OPERATIONS and path.parts[-5] not in CHIPS:
            why = f"no hardware profile of {path.parts[-5]}"
        if why:
            yield str(path.relative_to(root)), int(parquet.read_metadata(path).num_rows), why


def _tables_of(path: Path, root: Path, origin: tuple[str, str, str, str], rules: list[Rule]) -> list[Table]:
    """The tables in one file: one for each kernel source and pair of dtypes."""
    import pyarrow
    import pyarrow.parquet as parquet

    label = "mla_dtype" if origin[3].startswith("mla") else "attn_dtype"
    try:
        data = parquet.read_table(path)
        raw: dict[str, Floats] = {
            column: data[column].to_numpy().astype(np.float64)
            for column in (*KEY_COLUMNS, "latency")
            if column in data.column_names
        }
        names = ["kernel_source", label, "kv_cache_dtype" if "kv_cache_dtype" in data.column_names else label]
        codes = [data[name].combine_chunks().dictionary_encode() for name in names]
        sources, labels, caches = (code.dictionary.to_pylist() for code in codes)
        made = np.stack([code.indices.to_numpy() for code in codes], axis=1)
        kinds, index = np.unique(made, axis=0, return_inverse=True)
        return [
            _table(
                str(path.relative_to(root)), origin, sources[s], _DTYPES[labels[d]], _DTYPES[caches[c]],
                {column: values[index.reshape(-1) == number] for column, values in raw.items()}, rules,
            )
            for number, (s, d, c) in enumerate(kinds.tolist())
        ]  # fmt: skip
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} is not the table that was expected: {error!r}") from error


_DTYPES = {"bfloat16": "bf16", "fp8": "fp8"}


def _table(
    path: str,
    origin: tuple[str, str, str, str],
    source: str,
    label_dtype: str,
    kv_dtype: str,
    raw: Mapping[str, Floats],
    rules: list[Rule],
) -> Table:
    chip, framework, version, operation = origin
    ones = np.ones_like(raw["latency"])
    zeros = np.zeros_like(ones)
    heads, head_dim, window, chunk = raw["num_heads"], raw.get("head_dim", ones), raw.get("window_size", zeros), zeros
    kv_heads, v_dim, v_in_k = raw.get("num_key_value_heads", heads), head_dim, False
    if framework == "sglang":
        v_dim = np.where(head_dim == 192, 128.0, head_dim)
        chunk = np.where((window == 8192) & (source == "fa3"), window, 0.0)
        window = np.where(window == 8192, 0.0, window)
    if operation.startswith("mla"):
        v_in_k = operation == "mla decode" or source in ("flash_attention", "triton")
        head_dim, v_dim = (576 * ones, 512 * ones) if v_in_k else (192 * ones, 128 * ones)
        kv_heads = ones if v_in_k or source == "trtllm_mla" else heads
    quantised = kv_dtype == "fp8" and source in QUANTISES_QUERIES.get(operation, ())
    dtype = "fp8" if quantised and (source, chip) not in KEEPS_QUERIES else label_dtype
    key = row_keys("/".join((*origin, source, label_dtype, kv_dtype)), raw)
    table = Table(
        chip, framework, version, operation, source, dtype, kv_dtype, label_dtype, path, batch=raw["batch_size"],
        heads=heads, kv_heads=kv_heads, seq=raw["isl"], kv_len=raw["isl"] + raw.get("step", zeros), head_dim=head_dim,
        v_dim=v_dim, v_in_k=v_in_k, window=window, chunk=chunk, latency_s=raw["latency"] * 1e-3, key=key,
        split=splits(chip, key), excluded=zeros.astype(np.bool_), reasons={},
    )  # fmt: skip
    return exclude(table, rules)


def exclude(table: Table, rules: Collection[Rule]) -> Table:
    """The table with the rows marked that the rules match, and counted under the first that does."""
    excluded, reasons = table.excluded, dict(table.reasons)
    for rule in rules:
        found = rule.matches(table) & ~excluded
        if found.any():
            reasons[rule.name] = reasons.get(rule.name, 0) + int(found.sum())
            excluded = excluded | found
    return replace(table, excluded=excluded, reasons=reasons)
