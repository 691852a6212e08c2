"""What is kept in a storage: its studies in a few words each, and one as a recording."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...autotune.measurement import Measurement, Recording
from ...simulator.errors import InputError

if TYPE_CHECKING:
    from ...autotune.studies import Kept


@dataclass(frozen=True)
class Summary:
    """One study. id: the last word of its name, enough to ask for it. best_s: None where nothing was timed."""

    id: str
    name: str
    location: str
    said: str
    measured: int
    best_s: float | None
    stopped: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"id": self.id, "name": self.name, "storage": self.location, "task": self.said,
                "measured": self.measured, "best_s": self.best_s, "stopped": self.stopped}  # fmt: skip


def kept(storage: str | None) -> Iterator[Kept]:
    """Every study of a storage, or of the default ones. Raises InputError for a storage that cannot be opened."""
    from ...autotune.storage import exists, locations, open_storage, shown
    from ...autotune.studies import Kept

    places = locations(storage, 1)
    if storage is not None and not exists(places[0]):
        raise InputError(f"there is no storage {shown(places[0])!r}")
    for location in filter(exists, places):
        opened = open_storage(location)
        for study in opened.get_all_studies():
            yield Kept(location, study.study_name, opened)


def measurements(study: Kept) -> list[Measurement]:
    """All that were made: of trials by their number, then of the finalists."""
    from ...autotune.claims import MEASUREMENT
    from ...autotune.studies import FINALISTS

    trials = sorted(study.storage.get_all_trials(study.id, deepcopy=False), key=lambda trial: trial.number)
    found = [Measurement.from_dict(t.user_attrs[MEASUREMENT]) for t in trials if MEASUREMENT in t.user_attrs]
    first = {m.config: m for m in found}
    return [*found, *(completed(m, first.get(m.config)) for m in study.measurements(FINALISTS))]


def completed(final: Measurement, first: Measurement | None) -> Measurement:
    """One of the finalists with what the compiler said of it."""
    names = ("registers", "spill_bytes", "shared_memory_bytes")
    known = {n: getattr(first, n) for n in names if first is not None and getattr(final, n) is None}
    return replace(final, **known)


def summary(study: Kept) -> Summary:
    """A study in a few words."""
    from ...autotune.storage import shown
    from ...autotune.studies import STOPPED, told

    found = measurements(study)
    best = min((m.median_s for m in found if m.median_s is not None), default=None)
    attributes = study.attributes
    return Summary(study.name.split()[-1], study.name, shown(study.location), told(study.name, attributes),
                   len({m.config for m in found}), best, attributes.get(STOPPED, "not finished"))  # fmt: skip


def recording_of(asked: str, storage: str | None) -> Recording:
    """The study with this name, or the only one with this in its name, as a recording. Raises InputError."""
    from ...autotune.studies import DEVICE, VERSION

    every = list(kept(storage))
    found = [study for study in every if study.name == asked] or [study for study in every if asked in study.name]
    if not found:
        ids = ", ".join(study.name.split()[-1] for study in every[-8:])
        raise InputError(f"{asked!r} is neither a file nor a study; studies: {ids or 'none'}")
    if len({(study.location, study.name) for study in found}) > 1:
        raise InputError(f"{len(found)} studies have {asked!r} in their names; give one of: "
                         f"{', '.join(study.name.split()[-1] for study in found[-8:])}")  # fmt: skip
    study = found[0]
    attributes = study.attributes
    provenance = {"study": study.name, "device": attributes.get(DEVICE), "attnsim": attributes.get(VERSION)}
    return Recording(provenance, tuple(measurements(study)))
