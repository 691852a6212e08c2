"""Studies of a storage: how they are named, made, found again, and what is kept in them beside their trials."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from .. import __version__
from ..simulator.errors import InputError
from .measurement import Measurement
from .sampler import choice
from .space import Space
from .storage import exists, open_storage, shown
from .task import Task

TASK, DEVICE, VERSION, SPACE, OBJECTIVE = "task", "device", "attnsim", "space", "objective"
COMPILED, FINALISTS, STOPPED = "compiled", "finalists", "stopped"
"""User attributes of a study."""


@dataclass(frozen=True)
class Kept:
    """A study of a storage. Its name ends in the time it was made, after what tells its task and device."""

    location: str
    name: str
    storage: BaseStorage

    @property
    def id(self) -> int:
        return self.storage.get_study_id_from_name(self.name)

    @property
    def attributes(self) -> dict[str, Any]:
        return self.storage.get_study_user_attrs(self.id)

    def keep(self, name: str, value: Any) -> None:
        """Set a user attribute."""
        self.storage.set_study_user_attr(self.id, name, value)

    def keep_measurements(self, name: str, found: Sequence[Measurement]) -> None:
        self.keep(name, [m.to_dict() for m in found])

    def measurements(self, name: str) -> list[Measurement]:
        """What `keep_measurements` kept, empty where nothing was."""
        return [Measurement.from_dict(m) for m in self.attributes.get(name, [])]


def digest(task: Task, device: str) -> str:
    """What the studies of a task on a device have in their names."""
    return hashlib.sha256(f"{task.key} {device}".encode()).hexdigest()[:12]


def name_of(task: Task, device: str) -> str:
    """The name of a new study."""
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return f"{task.variant} {task.chip.name} {device.partition(':')[0]} {digest(task, device)} {now} {uuid4().hex[:6]}"


def create(location: str, task: Task, device: str) -> Kept:
    """A new study."""
    storage = open_storage(location)
    name = name_of(task, device)
    storage.create_new_study([StudyDirection.MINIMIZE], name)
    return Kept(location, name, storage)


def latest(places: Sequence[str], task: Task, device: str) -> Kept:
    """The latest study of a task on a device. Raises InputError where there is none, with what there is."""
    mark = f" {digest(task, device)} "
    found, others = [], []
    for location in places:
        if not exists(location):
            continue
        storage = open_storage(location)
        for study in storage.get_all_studies():
            if mark in study.study_name:
                found.append(Kept(location, study.study_name, storage))
            else:
                others.append(told(study.study_name, study.user_attrs))
    if not found:
        there = "; ".join(list(dict.fromkeys(others))[:5]) or "none"
        raise InputError(f"no study of {task} on {device} to resume in {' or '.join(map(shown, places))}; "
                         f"studies there: {there}")  # fmt: skip
    return max(found, key=lambda kept: kept.name.split()[-2])


def told(name: str, attributes: Mapping[str, Any]) -> str:
    """A study in words: its task and device, or its name where it is not one of ours."""
    try:
        return f"{Task.from_dict(attributes[TASK])} on {attributes[DEVICE]}"
    except (KeyError, InputError):
        return name


def describe(kept: Kept, task: Task, device: str, space: Space, timed: bool) -> None:
    """Write down what a study is of. Raises InputError where it was made with another space."""
    choices = {d.name: [choice(value) for value in d.values] for d in space.dimensions}
    before = kept.attributes
    if before.get(SPACE, choices) != choices:
        raise InputError(f"the study {kept.name!r} was made with another space of configs; start a new one")
    new = {
        TASK: task.to_dict(), DEVICE: device, VERSION: __version__, SPACE: choices,
        OBJECTIVE: "median seconds" if timed else "spilled bytes of a thread",
    }  # fmt: skip
    for name, value in new.items():
        if name not in before:
            kept.keep(name, value)
