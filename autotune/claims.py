"""Claims: which worker measures which config, settled by the storage alone, so that nothing is measured twice.

A claim is a trial that is made in one step, with its config and its owner. Trials are numbered in the order they were
made, so of the trials of one config that hold it the lowest owns it; the others withdraw. A trial holds its config
while its owner lives, and for good once it has a measurement. The measurement is stored before the trial is closed, so
that a worker may be killed at any moment: what is stored counts, what is not is claimed again.
"""

from __future__ import annotations

import functools
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ..simulator.tiling import Tile
from .measurement import Measurement
from .sampler import config_at, distributions, parameters
from .space import Space

OWNER, MEASUREMENT, REASON = "owner", "measurement", "reason"
"""User attributes of a trial. reason: why it has no measurement."""
UNTIMED = ("compiled", "correct")
"""Outcomes without a time that are no failures."""


@functools.cache
def this_host() -> str:
    """A name of this host since it was started, and of the process numbers that are seen here."""
    said = [socket.gethostname()]
    for path, read in (("/proc/sys/kernel/random/boot_id", Path.read_text), ("/proc/self/ns/pid", Path.readlink)):
        try:
            said.append(str(read(Path(path))).strip())
        except OSError:
            continue
    return " ".join(said)


def started(pid: int) -> int | None:
    """When a process of this host was started, in ticks of the kernel (0 where it does not say); None: it is dead."""
    try:
        # The name of the program, in brackets, may hold anything.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else int(fields[18])
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0
    return 0


@dataclass(frozen=True)
class Owner:
    """A process that measures. until: when processes of other hosts, which cannot see it, take it for dead."""

    host: str
    pid: int
    started: int
    until: float

    @classmethod
    def here(cls, lease_s: float) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(this_host(), pid, started(pid) or 0, time.time() + lease_s)

    @property
    def alive(self) -> bool:
        """Whether it runs: seen on this host, believed for a while on others."""
        if self.host == this_host():
            return started(self.pid) == self.started
        return time.time() < self.until


def owner_lives(trial: FrozenTrial) -> bool:
    """Whether a trial's owner runs; a trial that was not made here has none."""
    said = trial.user_attrs.get(OWNER)
    return said is not None and Owner(**said).alive


def holds(trial: FrozenTrial) -> bool:
    """Whether a trial keeps others from measuring its config."""
    if MEASUREMENT in trial.user_attrs or trial.state == TrialState.PRUNED:
        return True
    return trial.state == TrialState.RUNNING and owner_lives(trial)


@dataclass
class Book:
    """What the trials say. holders: the trial that has each config."""

    trials: list[FrozenTrial]
    holders: dict[Tile, FrozenTrial] = field(default_factory=dict)
    measurements: dict[Tile, Measurement] = field(default_factory=dict)
    skipped: dict[Tile, str] = field(default_factory=dict)

    @property
    def running(self) -> int:
        """Configs that are being measured."""
        return len(self.holders) - len(self.measurements) - len(self.skipped)

    @property
    def claimed(self) -> int:
        """Configs that are measured or being measured."""
        return len(self.holders) - len(self.skipped)

    @property
    def best_s(self) -> float | None:
        """The shortest median."""
        return min((m.median_s for m in self.measurements.values() if m.median_s is not None), default=None)


def value_of(measurement: Measurement) -> float | None:
    """What a study minimises: the median; spilled bytes of what was not timed; None for failures."""
    if measurement.outcome in UNTIMED:
        return float(measurement.spill_bytes or 0)
    return measurement.median_s


class Claims:
    """A worker's view of a study: take a config, give its measurement."""

    def __init__(self, storage: BaseStorage, study: str, space: Space, lease_s: float) -> None:
        self._storage = storage
        self._study = optuna.load_study(study_name=study, storage=storage)
        self._id = storage.get_study_id_from_name(study)
        self._space = space
        self._lease_s = lease_s
        self._distributions = distributions(space)
        self._read: dict[int, Measurement] = {}

    def trials(self) -> list[FrozenTrial]:
        """All, by number. The study keeps the finished ones of a database, so that only the others are read again."""
        return self._study.get_trials(deepcopy=False)

    def book(self) -> Book:
        """The state of the study, once the trials of dead workers are closed."""
        book = Book(self.trials())
        for trial in book.trials:
            if trial.state == TrialState.RUNNING and not owner_lives(trial):
                self._close_for_dead(trial)
            config = config_at(self._space, trial.params)
            if config is None or config in book.holders or not holds(trial):
                continue
            book.holders[config] = trial
            if MEASUREMENT in trial.user_attrs:
                book.measurements[config] = self._measurement(trial)
            elif trial.state == TrialState.PRUNED:
                book.skipped[config] = trial.user_attrs.get(REASON, "")
        return book

    def claim(self, config: Tile, most: int | None = None) -> int | None:
        """The id of a trial that makes the config this worker's to measure; None where another has it.

        most: how many configs may be claimed in all; those of the lowest numbers are.
        """
        mine = self._create(TrialState.RUNNING, config, {OWNER: asdict(Owner.here(self._lease_s))})
        number = self._storage.get_trial_number_from_id(mine)
        before = [t for t in self.trials() if t.number < number and holds(t)]
        if any(config_at(self._space, t.params) == config for t in before):
            self.withdraw(mine, "another worker has it")
            return None
        claimed = {config_at(self._space, t.params) for t in before if t.state != TrialState.PRUNED}
        if most is not None and len(claimed) >= most:
            self.withdraw(mine, f"the budget of {most} trials is spent")
            return None
        return mine

    def finish(self, trial_id: int, measurement: Measurement) -> None:
        """Store a measurement, then close its trial."""
        try:
            self._storage.set_trial_user_attr(trial_id, MEASUREMENT, measurement.to_dict())
        except UpdateFinishedTrialError:
            # Another host took this worker for dead. What was measured is kept all the same.
            self._create(state_of(measurement), measurement.config, {MEASUREMENT: measurement.to_dict()},
                         value_of(measurement))  # fmt: skip
            return
        self._close(trial_id, measurement)

    def withdraw(self, trial_id: int, reason: str) -> None:
        """Close a trial without a measurement: its config may be claimed again."""
        self._end(trial_id, TrialState.FAIL, reason)

    def skip(self, config: Tile, reason: str) -> None:
        """Say why a config is not measured."""
        self._create(TrialState.PRUNED, config, {REASON: reason})

    def _measurement(self, trial: FrozenTrial) -> Measurement:
        if trial.number not in self._read:
            self._read[trial.number] = Measurement.from_dict(trial.user_attrs[MEASUREMENT])
        return self._read[trial.number]

    def _create(
        self, state: TrialState, config: Tile, attributes: Mapping[str, Any], value: float | None = None
    ) -> int:  # fmt: skip
        template = optuna.create_trial(
            state=state, value=value, params=dict(parameters(self._space, config)),
            distributions=self._distributions, user_attrs=dict(attributes),
        )  # fmt: skip
        return self._storage.create_new_trial(self._id, template_trial=template)

    def _close_for_dead(self, trial: FrozenTrial) -> None:
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._id, trial.number)
        if MEASUREMENT in trial.user_attrs:
            self._close(trial_id, self._measurement(trial))
        else:
            self.withdraw(trial_id, "its worker was killed")

    def _close(self, trial_id: int, measurement: Measurement) -> None:
        value = value_of(measurement)
        if value is None:
            self._end(trial_id, TrialState.FAIL, f"{measurement.outcome}: {measurement.reason}")
        else:
            self._end(trial_id, TrialState.COMPLETE, None, [value])

    def _end(self, trial_id: int, state: TrialState, reason: str | None, values: list[float] | None = None) -> None:
        """Close a trial; nothing happens if it is closed already."""
        try:
            if reason is not None:
                self._storage.set_trial_user_attr(trial_id, REASON, reason)
            self._storage.set_trial_state_values(trial_id, state, values)
        except UpdateFinishedTrialError:
            return


def state_of(measurement: Measurement) -> TrialState:
    return TrialState.FAIL if value_of(measurement) is None else TrialState.COMPLETE
