"""Work on many processes: of this host by joblib's loky, or of a cluster by Ray.

A process that dies costs the item it was on, which is started again in a new one; the others go on.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..simulator.errors import InputError, unknown

if TYPE_CHECKING:
    from joblib.externals.loky import ProcessPoolExecutor

ENGINES = ("loky", "ray")
TRIES = 3
"""How often an item is started: a third death is its own fault."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def check(engine: str, address: str | None) -> None:
    """Raises InputError for an engine that does not exist, and for an address that it has no use for."""
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if address is not None and engine != "ray":
        raise InputError(f"address {address!r} is of a Ray cluster; it needs engine ray")


def run(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int = 1, engine: str = "loky",
    address: str | None = None, gpus: bool = False,
) -> list[Result]:  # fmt: skip
    """The function's result for each item, in their order. What it raises is raised here.

    gpus: give every worker a GPU of its own. address: of a Ray cluster; one of this host is started without it.
    Raises InputError for an item that took its process down each time.
    """
    check(engine, address)
    if engine == "ray":
        return run_ray(function, items, workers, address, gpus)
    return run_loky(function, items, workers, gpus)


def run_loky(function: Callable[[Item], Result], items: Sequence[Item], workers: int, gpus: bool) -> list[Result]:
    """On processes of this host, each with an executor of its own: loky ends all workers of one when one dies."""
    count = min(workers, len(items))
    seats = [Seat(gpu) for gpu in (visible_gpus(count) if gpus else [None] * count)]
    return on_seats(seats, items, lambda seat, item: seat.run(function, item))


def on_seats(seats: Sequence[Closable], items: Sequence[Item], work: Callable[[Any, Item], Result]) -> list[Result]:
    """The result of `work(seat, item)` for each item, in their order, each on a seat that is free then; the seats are
    closed in the end."""
    try:
        from joblib import Parallel, delayed
    except ModuleNotFoundError:
        raise InputError("several workers need joblib: pip install 'attnsim[tune]'") from None
    free: queue.SimpleQueue[Closable] = queue.SimpleQueue()
    for seat in seats:
        free.put(seat)

    def one(item: Item) -> Result:
        seat = free.get()
        try:
            return work(seat, item)
        finally:
            free.put(seat)

    try:
        found: list[Result] = Parallel(n_jobs=max(len(seats), 1), backend="threading")(delayed(one)(i) for i in items)
        return found
    finally:
        for seat in seats:
            seat.close()


class Closable(Protocol):
    """A seat: a process to work in."""

    def close(self) -> None: ...


class Seat:
    """A worker process of this host, replaced when it dies."""

    def __init__(self, gpu: str | None) -> None:
        self._environment = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        self._executor: ProcessPoolExecutor | None = None

    def run(self, function: Callable[[Item], Result], item: Item) -> Result:
        """The function's result. Raises InputError where the process died each time."""
        from joblib.externals.loky import ProcessPoolExecutor
        from joblib.externals.loky.process_executor import BrokenProcessPool

        for _ in range(TRIES):
            if self._executor is None:
                self._executor = ProcessPoolExecutor(1, env=self._environment, initializer=spawn_plainly)
            try:
                done: Result = self._executor.submit(function, item).result()
                return done
            except BrokenProcessPool:
                self.close()
        raise InputError(f"a worker process died {TRIES} times")

    def close(self) -> None:
        """Stop the process, whatever it does."""
        if self._executor is not None:
            self._executor.shutdown(kill_workers=True)
            self._executor = None


def spawn_plainly() -> None:
    """In a worker: what it starts in turn are plain processes, since those do not know loky's way to start."""
    multiprocessing.set_start_method("spawn", force=True)


def visible_gpus(workers: int) -> list[str]:
    """A GPU for each worker, of those that this process may use. Raises InputError where there are fewer."""
    import torch

    said = os.environ.get("CUDA_VISIBLE_DEVICES")
    mine = said.split(",") if said else [str(index) for index in range(torch.cuda.device_count())]
    if workers > len(mine):
        raise InputError(f"{workers} workers need a GPU each; there are {len(mine)}: timings on a shared one are wrong")
    return mine[:workers]


def run_ray(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, address: str | None, gpus: bool
) -> list[Result]:  # fmt: skip
    """On a Ray cluster, which starts a task again when its worker dies."""
    try:
        import ray
        from ray.exceptions import RayTaskError, WorkerCrashedError
    except ModuleNotFoundError:
        raise InputError("engine ray needs ray: pip install 'attnsim[cluster]'") from None
    options: dict[str, Any] = {"num_cpus": 1, "num_gpus": int(gpus), "max_retries": TRIES - 1}
    started = not ray.is_initialized()
    if started:
        start_ray(workers, address)
    try:
        task = ray.remote(**options)(function)
        return wait(task, items, workers)
    except RayTaskError as error:
        raise error.cause from None
    except WorkerCrashedError:
        raise InputError(f"a worker process died {TRIES} times") from None
    finally:
        if started:
            ray.shutdown()


def start_ray(workers: int, address: str | None) -> None:
    """Join a cluster, or start one on this host. Raises InputError where there is none."""
    import logging

    import ray

    where: dict[str, Any] = {"num_cpus": workers, "include_dashboard": False}
    try:
        if address is not None:
            where = {"address": address}
            check_reachable(address)
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **where)
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot join the Ray cluster at {address!r}: {error}") from None


def check_reachable(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), timeout=10).close()


def wait(task: Any, items: Sequence[Item], workers: int) -> list[Any]:
    """Results in the order of the items, at most `workers` of them in work at once."""

    running: dict[Any, int] = {}
    done: dict[int, Any] = {}
    for index, item in enumerate(items):
        if len(running) >= workers:
            collect(running, done)
        running[task.remote(item)] = index
    while running:
        collect(running, done)
    return [done[index] for index in range(len(items))]


def collect(running: dict[Any, int], done: dict[int, Any]) -> None:
    """Move the next finished item from running to done."""
    import ray

    (ready,), _ = ray.wait(list(running))
    done[running.pop(ready)] = ray.get(ready)
