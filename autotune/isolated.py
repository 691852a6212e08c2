"""Work in a process of its own, which a hang or a crash takes down in place of the tuner."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..simulator.errors import InputError

if TYPE_CHECKING:
    from pebble import ProcessPool

Result = TypeVar("Result")


class HungError(Exception):
    """The work took longer than it may; its process was killed."""


class CrashedError(Exception):
    """The work took its process down."""


class Isolated:
    """One spawned process, started when first needed, kept for the next work, replaced after a hang or a crash.

    environment: set in it before anything is imported (None: unset). Close it, or use it in a `with`.
    """

    def __init__(self, environment: dict[str, str | None] | None = None) -> None:
        self._environment = environment or {}
        self._pool: ProcessPool | None = None

    def run(self, function: Callable[..., Result], *arguments: Any, limit_s: float) -> Result:
        """The function's result; what it raises is raised here. Raises HungError and CrashedError."""
        pool = self._started()
        from pebble import ProcessExpired

        try:
            done: Result = pool.schedule(function, args=list(arguments), timeout=limit_s).result()
        except TimeoutError:
            raise HungError(f"no result within {limit_s:g} s") from None
        except ProcessExpired as error:
            raise CrashedError(f"its process ended with exit code {error.exitcode}") from None
        return done

    def _started(self) -> ProcessPool:
        if self._pool is None:
            try:
                from pebble import ProcessPool
            except ModuleNotFoundError:
                raise InputError("tuning needs pebble: pip install 'attnsim[tune]'") from None
            self._pool = ProcessPool(
                1, context=multiprocessing.get_context("spawn"), initializer=set_environment,
                initargs=[self._environment],
            )  # fmt: skip
        return self._pool

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which starts one of its own."""
        return {"_environment": self._environment, "_pool": None}

    def close(self) -> None:
        """Stop the process, whatever it does."""
        if self._pool is not None:
            self._pool.stop()  # type: ignore[no-untyped-call]
            self._pool.join()
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OwnsProcess:
    """What has a process of its own: close it, or use it in a `with`."""

    def __init__(self, environment: dict[str, str | None]) -> None:
        self._process = Isolated(environment)

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def set_environment(environment: dict[str, str | None]) -> None:
    """Variables of this process; None unsets one."""
    import os

    for name, value in environment.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
