"""Studies: the configs of a task tried on a device in the model's order, kept so that they can be resumed and shared.

The order comes from predictions, what is skipped from floors, the winner from measurements: of the fastest few, timed
again in rotation. Everything is kept in an Optuna storage (storage.py); who measures what is settled in claims.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..simulator.errors import InputError
from ..simulator.tiling import Tile
from .measurement import Measurement
from .profiles import kind_of
from .rank import Ranked, rank
from .space import Space
from .task import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from optuna.samplers import BaseSampler

    from .claims import Book, Claims
    from .devices import Device
    from .studies import Kept
    from .worker import Plan

Progress = Callable[[int, int, float | None], None]
"""Called with the configs done, the configs there are, and the best time so far (seconds)."""


@dataclass(frozen=True)
class Trial:
    """A config that was tried or skipped, with its place in the model's order from 1, what the model says of it, and
    its measurement: the last one, if it was timed again."""

    config: Tile
    place: int
    predicted_s: float | None
    floor_s: float | None
    measurement: Measurement | None
    skipped: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a study. trials: those with a time first, fastest first, then the others in the model's order.

    best: the winner, None where nothing ran right. default: the kernel's own choice, None where it was not measured.
    measurements: all that were made, those of finalists last. stopped: why no more was tried. study, location: where it
    is kept. notes: what is doubtful, in words. recorded: whether `attention` uses the winner from now on.
    """

    task: Task
    device: str
    timed: bool
    trials: tuple[Trial, ...]
    best: Trial | None
    default: Trial | None
    measurements: tuple[Measurement, ...]
    stopped: str
    study: str
    location: str
    notes: tuple[str, ...] = ()
    recorded: bool = False


def tune(
    task: Task, device: Device, *, trials: int | None = None, budget_s: float | None = None,
    storage: str | None = None, resume: bool = False, engine: str = "loky", workers: int = 1,
    address: str | None = None, compile_first: int = 0, time_limit_s: float = 60.0,
    sampler: BaseSampler | None = None, progress: Progress | None = None,
) -> Result:  # fmt: skip
    """Find the fastest config of a task on a device.

    trials: most measurements of the study. budget_s: most seconds of this call; what a recording says its measurements
    took counts. storage: see storage.py. resume: go on with the latest study of this task on this device. engine,
    workers, address: see engine.py. compile_first: compile so many for the chip first, and order them again by what
    the compiler says. time_limit_s: of one measurement. sampler: any of Optuna's in place of the model's order.

    Raises InputError for what cannot be tuned or stored, and for a study to resume that does not exist.
    """
    from .engine import check
    from .storage import locations

    check(engine, address)
    check_limits(trials=trials, budget_s=budget_s, workers=workers, time_limit_s=time_limit_s)
    check_workers(device, engine, workers)
    space = device.space(task)
    if not space:
        raise InputError(f"there is no config to try for {task} on {device.name}")
    places = locations(storage, workers)
    from . import studies

    ranked = rank(task, space.configs)
    task.to_dict()  # a task that cannot be kept is told before a study is made of it
    kept = studies.latest(places, task, device.name) if resume else studies.create(places[0], task, device.name)
    studies.describe(kept, task, device.name, space, device.timed)
    if compile_first:
        ranked = compiled_order(kept, task, ranked, compile_first, workers)
    plan = planned(task, device, space, ranked, kept, trials, budget_s, time_limit_s, sampler)
    claims = claims_of(kept, plan)
    stopped = measure_all(plan, claims, engine, workers, address, progress)
    finals = finals_of(kept, plan, claims.book())
    kept.keep(studies.STOPPED, stopped)
    return recorded(result_of(plan, claims.book(), finals, kept.measurements(studies.COMPILED), stopped))


def check_limits(**limits: float | None) -> None:
    """Raises InputError for limits that let nothing be done."""
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise InputError(f"{name} is {limit:g}; allowed: above 0")


def check_workers(device: Device, engine: str, workers: int) -> None:
    """Raises InputError for several workers that would disturb each other's timings."""
    one = (device.name == "cpu" and engine == "loky") or device.name.startswith("cuda:")
    if one and workers > 1:
        raise InputError(f"{workers} workers on one {device.name} would disturb each other's timings; allowed: 1")


def on_gpu(device: Device) -> bool:
    """Whether it is a GPU of this machine: workers get one each, and what wins is worth keeping."""
    return kind_of(device.name) == "cuda"


def planned(
    task: Task, device: Device, space: Space, ranked: Sequence[Ranked], kept: Kept, trials: int | None,
    budget_s: float | None, time_limit_s: float, sampler: BaseSampler | None,
) -> Plan:  # fmt: skip
    """What the workers have to know."""
    from .claims import Owner
    from .worker import Plan

    return Plan(task, device, space, tuple(ranked), kept.location, kept.name, Owner.here(float("inf")), trials,
                budget_s, time_limit_s, sampler)  # fmt: skip


def claims_of(kept: Kept, plan: Plan) -> Claims:
    from .claims import Claims

    return Claims(kept.storage, kept.name, plan.space, plan.lease_s)


def compiled_order(
    kept: Kept, task: Task, ranked: Sequence[Ranked], count: int, workers: int
) -> list[Ranked]:  # fmt: skip
    """The order by what the compiler says of the first few; a study that is resumed remembers it."""
    from . import studies
    from .devices.offline import compile_configs
    from .rank import rerank

    compiled = kept.measurements(studies.COMPILED)
    if len(compiled) < min(count, len(ranked)):
        compiled = compile_configs(task, [one.config for one in ranked[:count]], workers)
        kept.keep_measurements(studies.COMPILED, compiled)
    return rerank(task, ranked, compiled)


def measure_all(
    plan: Plan, claims: Claims, engine: str, workers: int, address: str | None, progress: Progress | None
) -> str:
    """Run the workers; why the first of them stopped."""
    from . import worker
    from .engine import run

    def report(book: Book) -> None:
        if progress is not None:
            progress(len(book.measurements) + len(book.skipped), min(len(plan.order), plan.trials or len(plan.order)),
                     book.best_s)  # fmt: skip

    if workers == 1 and engine == "loky":
        return worker.Worker(plan, claims, report).run()
    with watching(plan, report):
        return run(worker.work, [plan] * workers, workers, engine, address, on_gpu(plan.device))[0]


@contextmanager
def watching(plan: Plan, report: Callable[[Book], None]) -> Iterator[None]:
    """Report what other processes do, from a thread that looks at the storage."""
    from .claims import Claims
    from .storage import open_storage
    from .worker import POLL_S

    done = threading.Event()
    claims = Claims(open_storage(plan.location), plan.study, plan.space, plan.lease_s)

    def watch() -> None:
        while not done.wait(POLL_S):
            report(claims.book())
        report(claims.book())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def finals_of(kept: Kept, plan: Plan, book: Book) -> list[Measurement]:
    """The fastest few and the kernel's own choice, timed again; a study that is resumed remembers them."""
    from . import studies, worker

    timed = [m for m in book.measurements.values() if m.outcome == "ok"]
    if not plan.device.timed or not timed:
        return []
    fastest = sorted(timed, key=lambda m: m.median_s or 0.0)[: worker.FINALISTS]
    compared = [m for m in timed if m.config == plan.space.default and m not in fastest]
    configs = [m.config for m in (*fastest, *compared)]
    before = kept.measurements(studies.FINALISTS)
    if {m.config for m in before} == set(configs):
        return before
    found = plan.device.finalists(plan.task, configs)
    kept.keep_measurements(studies.FINALISTS, found)
    return found


def result_of(
    plan: Plan, book: Book, finals: Sequence[Measurement], compiled: Sequence[Measurement], stopped: str
) -> Result:
    """The result from what is stored; what was left out because it does not compile comes last."""
    again = {m.config: with_costs(m, book.measurements[m.config]) for m in finals if m.config in book.measurements}
    found = [
        Trial(one.config, place, one.predicted_s, one.floor_s,
              again.get(one.config, book.measurements.get(one.config)), book.skipped.get(one.config, ""))
        for place, one in enumerate(plan.order, start=1) if one.config in book.holders
    ]  # fmt: skip
    left_out = [m for m in compiled if m.config not in {one.config for one in plan.order}]
    found += [Trial(m.config, place, None, None, m) for place, m in enumerate(left_out, start=len(plan.order) + 1)]
    timed = [trial for trial in found if time_of(trial) is not None]
    ordered = (*sorted(timed, key=lambda t: time_of(t) or 0.0), *(t for t in found if t not in timed))
    default = next((t for t in ordered if t.config == plan.space.default and t.measurement), None)
    best = winner(ordered, again, plan.device.timed)
    made = (*book.measurements.values(), *left_out, *again.values())
    return Result(plan.task, plan.device.name, plan.device.timed, ordered, best, default, made, stopped, plan.study,
                  plan.location, notes_of(plan, book))  # fmt: skip


def with_costs(final: Measurement, first: Measurement) -> Measurement:
    """A measurement among the finalists with what only the first one knows: what it cost, what the compiler said."""
    names = ("compile_s", "measure_s", "registers", "spill_bytes", "shared_memory_bytes")
    return replace(final, **{n: getattr(first, n) for n in names if getattr(final, n) is None})


def time_of(trial: Trial) -> float | None:
    return None if trial.measurement is None else trial.measurement.median_s


def winner(ordered: Sequence[Trial], again: dict[Tile, Measurement], timed: bool) -> Trial | None:
    """The fastest of those timed again, or of the others where none of them ran right; without times the first in the
    model's order that is right and spills nothing."""
    if not timed:
        from .claims import UNTIMED

        right_ones = (t for t in ordered if t.measurement is not None and t.measurement.outcome in UNTIMED)
        return next((t for t in right_ones if t.measurement is not None and not t.measurement.spill_bytes), None)
    right = [t for t in ordered if time_of(t) is not None]
    finals = [t for t in right if t.config in again]
    return next(iter(finals or right), None)


def notes_of(plan: Plan, book: Book) -> tuple[str, ...]:
    """What is doubtful about the result."""
    from .worker import beaten

    below = beaten(book, {one.config: one.floor_s for one in plan.order})
    if below:
        return (f"{len(below)} measured times are below their floors, which must not happen: {plan.device.name} is no "
                f"{plan.task.chip.name}, or the model is wrong; floors have skipped nothing since",)  # fmt: skip
    return ()


def recorded(result: Result) -> Result:
    """Keep what won on a GPU of this machine for `attention` to use."""
    if result.best is None or result.best.measurement is None or kind_of(result.device) != "cuda":
        return result
    from ..kernels.records import save_result

    save_result(result.task, result.best.measurement)
    return replace(result, recorded=True)
