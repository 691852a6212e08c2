"""replay:FILE: a recording as a device. Trying a config gives what was recorded, and costs what it cost then.

FILE is a recording of attnsim, or a file of another tool that states its task (see archives/).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...simulator.errors import InputError
from ...simulator.tiling import Tile
from .. import archives
from ..measurement import Measurement, Recording
from ..space import Space
from ..task import Task


class Replay:
    """A device that never waits: measurements as recorded, those of a config in the order of the file."""

    def __init__(self, name: str, recording: Recording) -> None:
        if not recording.measurements:
            raise InputError(f"{name} holds no measurements")
        self.name = name
        self.recording = recording
        self.timed = any(m.seconds for m in recording.measurements)
        self._tried: dict[str, dict[Tile, list[Measurement]]] = {}
        for m in recording.measurements:
            self._tried.setdefault(m.task.key, {}).setdefault(m.config, []).append(m)

    @property
    def hardware(self) -> str:
        """The chip of the first recorded task."""
        return self.recording.tasks[0].hardware

    def space(self, task: Task) -> Space:
        """The recorded configs. Raises InputError for a task that was not recorded."""
        return Space.among(self._of(task))

    def measure(self, task: Task, config: Tile, time_limit_s: float) -> Measurement:
        """The first measurement of a config, with the seconds that compiling and measuring took."""
        found = self._of(task).get(config)
        if found is None:
            return Measurement(task, config, "invalid", reason="it was not recorded")
        return found[0]

    def finalists(self, task: Task, configs: Sequence[Tile]) -> list[Measurement]:
        """The last measurement of each, which is that among the finalists where there was such a round."""
        found = self._of(task)
        return [found[config][-1] for config in configs if config in found]

    def _of(self, task: Task) -> dict[Tile, list[Measurement]]:
        found = self._tried.get(task.key)
        if found is None:
            said = "; ".join(map(str, self.recording.tasks[:3]))
            more = f" and {len(self.recording.tasks) - 3} more" if len(self.recording.tasks) > 3 else ""
            raise InputError(f"{self.name} has no measurement of {task}; it has {said}{more}")
        return found


def open_device(argument: str) -> Replay:
    """The recording in a file. Raises InputError."""
    if not argument:
        raise InputError("replay needs a file: --device replay:FILE")
    if not Path(argument).is_file():
        raise InputError(f"cannot read {argument!r}: no such file")
    return Replay(f"replay:{argument}", archives.read(argument))
