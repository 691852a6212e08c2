"""What a worker of a study does: claim the next config, measure it, say so, until there is a reason to stop."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from ..simulator.tiling import Tile
from .claims import Book, Claims, Owner
from .devices import Device
from .measurement import Measurement
from .rank import Ranked
from .sampler import ModelSampler, config_at, distributions
from .space import Space
from .storage import open_storage
from .task import Task

FINALISTS = 3
"""How many of the fastest are timed again in the end, with the kernel's own choice."""
POLL_S = 0.2
"""How often to look whether the configs that others measure are done."""
Progress = Callable[[Book], None]


@dataclass(frozen=True)
class Plan:
    """What every worker of a study has to know; it can be sent to another process.

    order: what may be tried, in the order to try it, the kernel's own choice first. trials, budget_s: measurements of
    the whole study, and seconds that this worker and the finalists after it may take (those that a recording charges
    count). driver: the process
    that started the workers, without which they stop.
    """

    task: Task
    device: Device
    space: Space
    order: tuple[Ranked, ...]
    location: str
    study: str
    driver: Owner
    trials: int | None = None
    budget_s: float | None = None
    time_limit_s: float = 60.0
    sampler: BaseSampler | None = None

    @property
    def lease_s(self) -> float:
        """How long workers on other hosts believe that a trial is being measured: compiling and checking take time."""
        return 600.0 + 10 * self.time_limit_s


def work(plan: Plan) -> str:
    """Run a worker in this process, with a device of its own; why it stopped."""
    try:
        return Worker(plan, Claims(open_storage(plan.location), plan.study, plan.space, plan.lease_s)).run()
    finally:
        if hasattr(plan.device, "close"):
            plan.device.close()


class Worker:
    """One worker."""

    def __init__(self, plan: Plan, claims: Claims, progress: Progress | None = None) -> None:
        self._plan = plan
        self._claims = claims
        self._progress = progress or (lambda book: None)
        self._floors = {ranked.config: ranked.floor_s for ranked in plan.order}
        self._proposals = Proposals(plan)
        self._start = time.monotonic()
        self._charged_s = 0.0
        self._took_s: list[float] = []

    def run(self) -> str:
        """Measure until there is a reason to stop, which is returned."""
        while True:
            book = self._claims.book()
            self._progress(book)
            stop = self._stop(book)
            if stop is not None:
                return stop
            config = self._proposals.next(book)
            if config is None and not book.running:
                return self._exhausted(book)
            if config is None:
                time.sleep(POLL_S)  # if the worker that measures it is killed, its config is ours
                continue
            hopeless = self.hopeless(config, book)
            if hopeless is not None:
                self._claims.skip(config, hopeless)
                continue
            trial = self._claims.claim(config, self._plan.trials)
            if trial is not None:
                self._measure(trial, config)

    def _measure(self, trial: int, config: Tile) -> None:
        begin = time.monotonic()
        try:
            found = self._plan.device.measure(self._plan.task, config, self._plan.time_limit_s)
        except BaseException:
            self._claims.withdraw(trial, "interrupted")
            raise
        self._charged_s += found.cost_s
        self._took_s.append(time.monotonic() - begin)
        self._claims.finish(trial, found)

    def _stop(self, book: Book) -> str | None:
        """A budget that is spent, or a driver that is gone."""
        plan = self._plan
        spent_s = max(time.monotonic() - self._start + self._finals_s(book), self._charged_s)
        if plan.trials is not None and book.claimed >= plan.trials:
            return f"the budget of {plan.trials} trials is spent"
        if plan.budget_s is not None and spent_s >= plan.budget_s:
            return f"the budget of {plan.budget_s:g} s is spent"
        if not plan.driver.alive:
            return "the process that started it is gone"
        return None

    def _finals_s(self, book: Book) -> float:
        """Seconds to keep for timing the finalists, by what a measurement took here (a recording takes none)."""
        timed = sum(m.outcome == "ok" for m in book.measurements.values())
        if not self._plan.device.timed or not self._took_s:
            return 0.0
        return min(timed, FINALISTS + 1) * statistics.fmean(self._took_s)

    def hopeless(self, config: Tile, book: Book) -> str | None:
        """A sentence where a config's floor shows that it cannot win.

        Floors that a measurement has beaten show nothing; the kernel's own choice is always measured, to compare with.
        """
        best_s, floor_s = book.best_s, self._floors.get(config)
        if not self._plan.device.timed or best_s is None or floor_s is None or config == self._plan.space.default:
            return None
        if floor_s <= best_s or beaten(book, self._floors):
            return None
        return f"cannot win: its floor of {floor_s * 1e6:.3g} us is above the best time, {best_s * 1e6:.3g} us"

    def _exhausted(self, book: Book) -> str:
        if book.skipped:
            return (f"nothing is left that can win: {len(book.skipped)} of {len(self._plan.order)} configs have floors "
                    "above the best time")  # fmt: skip
        return f"all {len(self._plan.order)} configs were tried"


def beaten(book: Book, floors: dict[Tile, float | None]) -> list[Measurement]:
    """Measurements below the floor of their config: the chip is not the one that the floors are of."""
    return [
        m for config, m in book.measurements.items()
        if m.median_s is not None and (floor := floors.get(config)) is not None and m.median_s < floor
    ]  # fmt: skip


class Proposals:
    """The next config by a sampler, asked in a study in memory that knows what the shared one has finished.

    In this way any sampler of Optuna's can be used, though a claim is made in one step and not by asking. A sampler
    that proposes what is taken or illegal is asked again; in the end the next of the order is taken.
    """

    def __init__(self, plan: Plan) -> None:
        self._space = plan.space
        self._order = [ranked.config for ranked in plan.order]
        self._distributions = distributions(plan.space)
        sampler = plan.sampler or ModelSampler(plan.space, self._order)
        self._study = optuna.create_study(sampler=sampler)
        self._known: set[int] = set()

    def next(self, book: Book) -> Tile | None:
        """A config that nobody holds, None where there is none."""
        free = [config for config in self._order if config not in book.holders]
        if not free:
            return None
        if self._space.default in free:
            return self._space.default
        for trial in book.trials:
            if trial.number not in self._known and trial.state == TrialState.COMPLETE:
                self._study.add_trial(trial)
                self._known.add(trial.number)
        for _ in self._order:
            asked = self._study.ask(self._distributions)
            self._study.tell(asked, state=TrialState.FAIL)
            config = config_at(self._space, asked.params)
            if config is not None and config in free:
                return config
        return free[0]
