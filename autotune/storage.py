"""Where studies are kept: SQLite for one worker, Optuna's journal file for several, or any database by its URL.

A location is a URL (`sqlite:///...`, `postgresql://...`), `journal:PATH`, or a path: one that ends in .log is a
journal, any other an SQLite file. `$ATTNSIM_STUDIES` or `~/.cache/attnsim/studies.db` is the default.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..simulator.errors import InputError

try:
    import optuna
    import sqlalchemy
    from optuna.storages import BaseStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
except ModuleNotFoundError as error:
    raise InputError(f"tuning needs {error.name}: pip install 'attnsim[tune]'") from None

BUSY_S = 60.0
"""How long to wait for another process that writes to the same SQLite file."""


def default_file() -> Path:
    """The SQLite file that studies are kept in."""
    return Path(os.environ.get("ATTNSIM_STUDIES") or Path.home() / ".cache" / "attnsim" / "studies.db").expanduser()


def locations(text: str | None, workers: int) -> tuple[str, ...]:
    """Where to look for a study, first where to put a new one; paths are absolute, so that any process finds them."""
    if text is not None:
        return (locate(text),)
    database, journal = default_file(), default_file().with_suffix(".log")
    if database == journal:
        return (locate(str(database)),)
    both = (f"sqlite:///{database.absolute()}", f"journal:{journal.absolute()}")
    return both if workers == 1 else both[::-1]


def locate(text: str) -> str:
    """A location in full. Raises InputError for an empty one.

    >>> locate("/tmp/a.log"), locate("journal:/tmp/b"), locate("/tmp/c.db")
    ('journal:/tmp/a.log', 'journal:/tmp/b', 'sqlite:////tmp/c.db')
    """
    kind, colon, rest = text.partition(":")
    if "://" in text:
        return text
    path = rest if colon and kind == "journal" else text
    if not path.strip():
        raise InputError(f"storage {text!r}; allowed: a path, journal:PATH, or a database's URL")
    full = Path(path).expanduser().absolute()
    return f"journal:{full}" if kind == "journal" or full.suffix == ".log" else f"sqlite:///{full}"


def file_of(location: str) -> Path | None:
    """The file of a location, None for databases elsewhere and in memory."""
    for start in ("journal:", "sqlite:///"):
        if location.startswith(start) and location != start:
            return Path(location.removeprefix(start))
    return None


def exists(location: str) -> bool:
    """Whether there is something to read; True for databases elsewhere."""
    path = file_of(location)
    return path is None or path.exists()


def open_storage(location: str) -> BaseStorage:
    """The storage at a location, made if it is new. Raises InputError where it cannot be opened."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = file_of(location)
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        if location.startswith("journal:"):
            return JournalStorage(JournalFileBackend(str(path), lock_obj=JournalLock(str(path))))
        if path is None:
            return RDBStorage(location)
        with alone(path.parent):  # two processes cannot make the same tables
            return RDBStorage(location, engine_kwargs={"connect_args": {"timeout": BUSY_S}})
    except ImportError as error:
        raise InputError(f"storage {shown(location)!r} needs a database driver: {error}") from None
    except (OSError, RuntimeError, ValueError, sqlalchemy.exc.SQLAlchemyError) as error:
        raise InputError(f"cannot open the storage {shown(location)!r}: {first_line(error)}") from None


def shown(location: str) -> str:
    """A location as it is written in messages: without a password."""
    if file_of(location) is not None:
        return location
    try:
        return sqlalchemy.engine.make_url(location).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return location


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process is in this block for the same folder."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class JournalLock(JournalFileOpenLock):
    """A journal's lock that the kernel holds: it goes with its process, however that ends.

    Optuna's own locks are files, which a killed process leaves behind. A line that a killed process wrote half of is
    cut off by the next that gets the lock, or else it would spoil the line after it.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path
        self._file: IO[bytes] | None = None

    def acquire(self) -> bool:
        file = open(self._path, "rb+")  # noqa: SIM115 (held until release)
        fcntl.flock(file, fcntl.LOCK_EX)
        cut_torn_line(file)
        self._file = file
        return True

    def release(self) -> None:
        assert self._file is not None
        self._file.close()
        self._file = None


def cut_torn_line(file: IO[bytes]) -> None:
    """Remove what follows the last line end of a journal."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
