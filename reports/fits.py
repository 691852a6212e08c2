"""What the predicted times of measured rows rest on: constants of kernels, and of frameworks around them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from ..autotune.validate import Checked
from ..simulator import calibration, implementations
from ..simulator.calibration import overhead
from ..simulator.hardware import Hardware
from .document import Column, Table, count
from .provenance import digest, profile_hash


def constants_table(checked: Iterable[Checked], profiles: Mapping[str, Hardware]) -> Table:
    """One line a file of constants: whether and on what it was fitted."""
    kernels: dict[Path, set[str]] = {}
    own: dict[tuple[str, ...], tuple[str | float | None, ...]] = {}
    for one in checked:
        table, profile = one.table, profiles[one.table.chip]
        direction = "backward" if "backward" in table.operation else "forward"
        for name in {name for name in one.implementation.tolist() if name is not None}:
            if given := profile.calibration.get(name):
                own[profile.name, name] = (
                    name, f"of the profile {profile.name}", "fitted", None, profile.name, given.get("source", "-"),
                    given.get("error_percent"), profile_hash(profile),
                )  # fmt: skip
                continue
            folder = implementations.get(name).calibration or name
            path = calibration.path_of(folder, profile.generation, direction, table.dtype, table.kv_dtype)
            if path is not None:
                kernels.setdefault(path, set()).add(name)
    rows = [own[key] for key in sorted(own)]
    for path in sorted(kernels):
        data = calibration.document(path)
        fit = data.get("fit", {})
        rows.append((
            ", ".join(sorted(kernels[path])), f"{path.parent.name}/{path.stem}", data["confidence"], fit.get("rows"),
            ", ".join(fit.get("chips", ())) or "-", ", ".join(fit.get("tables", ())) or "-", data["error_percent"],
            digest(path.read_bytes()),
        ))  # fmt: skip
    columns = (
        Column("kernels"), Column("constants"), Column("from"), count("rows fitted", "measured"),
        Column("chips fitted"), Column("tables fitted"), Column("known error", "{:.0f} %".format, "measured"),
        Column("digest"),
    )  # fmt: skip
    return Table(columns, tuple(rows))


def overhead_lines(checked: Iterable[Checked], profiles: Mapping[str, Hardware]) -> list[str]:
    """The files of what frameworks add around a kernel, with their digests."""
    asked = {(one.table.framework, one.table.version, profiles[one.table.chip].generation) for one in checked}
    paths = [path for key in sorted(asked) if (path := overhead.path_of(*key)).exists()]
    return [f"around kernels, {path.parent.name} on {path.stem}: sha256 {digest(path.read_bytes())}" for path in paths]
