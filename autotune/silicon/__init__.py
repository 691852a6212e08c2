"""Measured silicon: the public latency tables of `aiconfigurator-core`, read in place.

The package (extra `silicon`) carries times of attention operators on NVIDIA chips inside TensorRT-LLM, vLLM and
SGLang, one Parquet file per chip, framework, version and operator. `tables()` yields them as columns in the terms
of `Problem`. A time is one framework call, replayed as a CUDA graph over the same buffers: the kernel, what the
framework launches around it (append to the KV cache, mostly RoPE), and an L2 as warm as the buffers let it be: even
slightly larger than the L2 they stay in part (floors: only the bytes beyond its capacity must come from memory).

One file a kind of table (in `readers`) says what its columns mean, read from the collectors that wrote them
(ai-dynamo/aiconfigurator, `collector/`) and checked against the numbers; `kernels` says which known kernels stand for
what a table names. Rows that do not show what they say are marked by the rules of `silicon_known_bad.toml`, each with
its reason.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...simulator.errors import InputError, unknown
from .rules import Rule, exclude, known_bad
from .table import FITTED_CHIPS, SPLITS, Floats, Table, row_keys, splits

__all__ = ["FITTED_CHIPS", "SPLITS", "Floats", "Rule", "Table", "exclude", "known_bad", "row_keys", "splits", "tables"]

PACKAGE = "aiconfigurator_core"
CHIPS = {
    "a100_sxm": "a100", "h100_sxm": "h100", "h200_sxm": "h200", "b200_sxm": "b200", "b300_sxm": "b300",
    "gb200": "gb200", "gb300": "gb300", "l40s": "l40s", "rtx_pro_6000_server": "rtx-pro-6000",
}  # fmt: skip
"""The package's directory of a chip, and our profile of it."""
FRAMEWORKS = ("trtllm", "vllm", "sglang")
UNMAPPED = {
    "mla_bmm_": "the up-projection of MLA alone",
    **dict.fromkeys(("mla_", "wideep_context_mla_", "wideep_generation_mla_"), "a whole layer: projections included"),
    "mamba2_": "the convolution before Mamba-2's scan; the scan itself is in no table",
    **dict.fromkeys(("dsv4_csa_", "dsv4_hca_", "dsv4_paged_"),
                    "DeepSeek-V4's compressed sparse attention, which is no variant yet"),
    "msa_": "another mechanism, not mapped yet",
}  # fmt: skip
"""How the names of files about attention begin that are left out, and why; all others are about other operators."""
DTYPES = {"bfloat16": "bf16", "fp8": "fp8"}


class Reader(Protocol):
    """A kind of table: which files, and what their columns mean."""

    FILES: Mapping[str, tuple[str, ...]]
    """A file's stem -> the operations that its rows are of."""
    TEXT: tuple[str, ...]
    """Text columns besides kernel_source; rows that are alike in all of them make a table."""
    NUMBERS: tuple[str, ...]
    """Columns that hold numbers, beside latency (ms)."""
    KEY_COLUMNS: tuple[str, ...]
    """Published numbers that a row's key hashes, in this order; one that a file lacks counts as 0."""

    def columns(self, origin: Origin, kind: Mapping[str, str], raw: Mapping[str, Floats]) -> dict[str, Any] | None:
        """Fields of Table for rows of one kind, `identity` (hashed with the key columns) among them; None for rows that
        are not attention. kind: kernel_source and the TEXT columns, empty where the file lacks one."""


Origin = tuple[str, str, str, str]
"""Chip, framework, version, and the file's stem."""


@functools.cache
def known_readers() -> tuple[Reader, ...]:
    """The readers, by the files of their folder."""
    stems = sorted(path.stem for path in (Path(__file__).parent / "readers").glob("*.py") if path.stem != "__init__")
    found: list[Any] = [importlib.import_module(f"{__name__}.readers.{stem}") for stem in stems]
    return tuple(found)


def known_operations() -> tuple[str, ...]:
    """All operations that are read."""
    return tuple(dict.fromkeys(name for r in known_readers() for names in r.FILES.values() for name in names))


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
    """The mapped tables, in the order of chip, kind of file, framework and version; all of them, or those named.

    A chip goes by our name or by the package's (`h100` or `h100_sxm`). Only files that were asked for are opened.
    """
    chips = None if chips is None else {CHIPS.get(name, name) for name in chips}
    for kind, given, known in (
        ("chip of the silicon tables", chips, tuple(CHIPS.values())),
        ("framework of the silicon tables", frameworks, FRAMEWORKS),
        ("operation of the silicon tables", operations, known_operations()),
    ):
        for name in given or ():
            if name not in known:
                raise unknown(kind, name, known)
    root, rules = data_directory(), known_bad()
    found = [
        (path, (chip, path.parts[-3], path.parts[-2], stem), reader)
        for directory, chip in CHIPS.items()
        for reader in known_readers()
        for stem, names in reader.FILES.items()
        for path in sorted(root.glob(f"{directory}/*/*/*/{stem}.parquet"))
        if (chips is None or chip in chips)
        and (frameworks is None or path.parts[-3] in frameworks)
        and (operations is None or not set(names).isdisjoint(operations))
    ]
    return (
        table
        for path, origin, reader in found
        for table in _tables_of(path, root, origin, reader, rules)
        if operations is None or table.operation in operations
    )


def unread() -> Iterator[tuple[str, int, str]]:
    """Attention files that `tables` leaves out: path inside the package, rows, why."""
    import pyarrow.parquet as parquet

    root = data_directory()
    read = {stem for reader in known_readers() for stem in reader.FILES}
    for path in sorted(root.glob("*/*/*/*/*.parquet")):
        why = next((why for prefix, why in UNMAPPED.items() if path.stem.startswith(prefix)), "")
        if path.stem in read:
            why = "" if path.parts[-5] in CHIPS else f"no hardware profile of {path.parts[-5]}"
        if why:
            yield str(path.relative_to(root)), int(parquet.read_metadata(path).num_rows), why


def _tables_of(path: Path, root: Path, origin: Origin, reader: Reader, rules: list[Rule]) -> list[Table]:
    """The tables in one file: one for each kernel source and combination of its text columns."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        data = parquet.read_table(path)
        present = set(data.column_names)
        raw = {
            name: data[name].to_numpy().astype(np.float64) for name in (*reader.NUMBERS, "latency") if name in present
        }
        names = [name for name in ("kernel_source", *reader.TEXT) if name in present]
        codes = [data[name].combine_chunks().dictionary_encode() for name in names]
        values = [code.dictionary.to_pylist() for code in codes]
        kinds, index = np.unique(np.stack([c.indices.to_numpy() for c in codes], axis=1), axis=0, return_inverse=True)
        made = []
        for number, kind in enumerate(kinds.tolist()):
            rows = {column: numbers[index.reshape(-1) == number] for column, numbers in raw.items()}
            text = {name: value[code] for name, value, code in zip(names, values, kind, strict=True)}
            read = reader.columns(origin, dict.fromkeys(reader.TEXT, "") | text, rows)
            if read is not None:
                made.append(exclude(_table(str(path.relative_to(root)), origin, reader, rows, text, read), rules))
        return made
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise InputError(f"{path} is not the table that was expected: {error!r}") from error


def _table(
    path: str, origin: Origin, reader: Reader, raw: Mapping[str, Floats], text: Mapping[str, str], read: dict[str, Any]
) -> Table:  # fmt: skip
    """What a reader found, with the key, split and time of each row."""
    chip, framework, version, _ = origin
    key = row_keys(read.pop("identity"), raw, reader.KEY_COLUMNS)
    return Table(
        chip=chip, framework=framework, version=version, kernel_source=text["kernel_source"], path=path,
        latency_s=raw["latency"] * 1e-3, key=key, split=splits(chip, text["kernel_source"], key),
        excluded=np.zeros(len(key), dtype=np.bool_), reasons={}, **read,
    )  # fmt: skip
