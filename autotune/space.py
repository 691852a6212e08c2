"""Spaces: the legal configs of a kernel for a problem on a chip, along dimensions.

Legality is the kernel's own function (`Tunable.refuses`), so that what a space offers, what `--dry-run` says and what
an error says cannot disagree. Nothing that a space offers exceeds the chip's shared memory or registers.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..simulator.tiling import Tile
from .task import Task

Point = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that a tuner may set: its values in their order, and the kernel's own choice of it."""

    name: str
    values: tuple[Any, ...]
    default: Any

    def neighbours(self, value: Any) -> tuple[Any, ...]:
        """The values one step away.

        >>> Dimension("warps", (2, 4, 8), 4).neighbours(4)
        (2, 8)
        """
        at = self.values.index(value)
        return self.values[max(at - 1, 0) : at] + self.values[at + 1 : at + 2]


@dataclass(frozen=True)
class Space:
    """Dimensions, and the configs among their combinations that are legal, the kernel's first choice first."""

    dimensions: tuple[Dimension, ...]
    configs: tuple[Tile, ...]

    @classmethod
    def of(cls, task: Task) -> Space:
        """Every legal combination of the values that the kernel's candidates have."""
        kernel, part, chip = task.kernel, task.part, task.chip
        candidates = kernel.configs(part, chip)
        if not candidates:
            return cls((), ())
        made = dimensions_of(candidates)
        combined = (
            type(candidates[0])(**dict(zip((d.name for d in made), values, strict=True)))
            for values in itertools.product(*(d.values for d in made))
        )
        others = (c for c in combined if kernel.offers(part, chip, c) and kernel.refuses(part, chip, c) is None)
        return cls(made, tuple(dict.fromkeys((*candidates, *others))))

    @classmethod
    def among(cls, configs: Iterable[Tile]) -> Space:
        """A space of given configs: those of a recording, or of somebody else's kernel."""
        found = tuple(dict.fromkeys(configs))
        return cls(dimensions_of(found), found)

    @functools.cached_property
    def default(self) -> Tile:
        """The kernel's own first choice."""
        return self.configs[0]

    @functools.cached_property
    def _by_point(self) -> dict[tuple[Any, ...], Tile]:
        return {tuple(self.point(config).values()): config for config in self.configs}

    def point(self, config: Tile) -> Point:
        """A config by the names of the dimensions."""
        return {d.name: getattr(config, d.name) for d in self.dimensions}

    def config(self, point: Mapping[str, Any]) -> Tile | None:
        """The legal config at a point, None where there is none."""
        return self._by_point.get(tuple(point[d.name] for d in self.dimensions))

    def neighbours(self, config: Tile) -> tuple[Tile, ...]:
        """Legal configs that differ in one dimension, by one step."""
        here = self.point(config)
        steps = ((d.name, value) for d in self.dimensions for value in d.neighbours(here[d.name]))
        found = (self.config(here | {name: value}) for name, value in steps)
        return tuple(config for config in found if config is not None)

    def __len__(self) -> int:
        return len(self.configs)


def dimensions_of(configs: tuple[Tile, ...]) -> tuple[Dimension, ...]:
    """A dimension for each field of the configs, its values those that occur."""
    if not configs:
        return ()
    found = []
    for field in fields(configs[0]):
        values = {getattr(config, field.name) for config in configs}
        found.append(Dimension(field.name, tuple(sorted(values, key=none_first)), getattr(configs[0], field.name)))
    return tuple(found)


def none_first(value: Any) -> tuple[bool, Any]:
    """Sorts None, which stands for an option that is left alone, before values."""
    return value is not None, value
