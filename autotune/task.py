"""Task: what is tuned. One variant at one size on one chip by one kernel, as plain data that any process can take."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from ..simulator import api, implementations, variants
from ..simulator.config import Tunable
from ..simulator.errors import InputError
from ..simulator.graph import Part
from ..simulator.hardware import Hardware
from ..simulator.predict import Choice, evaluate
from ..simulator.prediction import as_tuples, plain
from ..simulator.problem import Problem
from ..simulator.tiling import Tile
from ..simulator.variants import Variant


@dataclass(frozen=True, eq=False)
class Task:
    """variant and its parameters, sizes (arguments of `Problem.make`), a profile's name or file, a kernel's name.

    Build it with `make`, which checks them. Two tasks with the same `key` are the same task.
    """

    variant: str
    parameters: Mapping[str, Any]
    sizes: Mapping[str, Any]
    hardware: str
    implementation: str

    @classmethod
    def make(cls, variant: str, hardware: str, implementation: str | None = None, **arguments: Any) -> Task:
        """Arguments as of `attnsim.predict`; without an implementation the fastest predicted one of ours.

        Raises InputError where no kernel that can be tuned takes the problem, with the reason of each.
        """
        made, sizes, choice = api.split_arguments(variant, arguments)
        if choice:
            raise InputError(f"{next(iter(choice))} is what a tuner chooses; leave it out")
        problem, chip = made.prepare(Problem.make(**sizes)), api.load_hardware(hardware)
        kernel = pick(made, problem, chip, Choice(implementation=implementation), Tunable)
        refusal = kernel.refuses(made.graph(problem).main, chip)
        if refusal is not None:
            raise InputError(refusal)
        return cls(made.id, {name: arguments[name] for name in made.parameters() if name in arguments}, sizes,
                   str(hardware), kernel.name)  # fmt: skip

    @functools.cached_property
    def made(self) -> Variant:
        """The variant with its parameters."""
        return variants.make(self.variant, dict(self.parameters))

    @functools.cached_property
    def problem(self) -> Problem:
        """The problem as the variant sees it."""
        return self.made.prepare(Problem.make(**self.sizes))

    @functools.cached_property
    def part(self) -> Part:
        """The part of the operator that the kernel runs."""
        return self.made.graph(self.problem).main

    @property
    def chip(self) -> Hardware:
        return api.load_hardware(self.hardware)

    @property
    def kernel(self) -> Tunable:
        found = implementations.get(self.implementation)
        assert isinstance(found, Tunable)
        return found

    @functools.cached_property
    def key(self) -> str:
        """A short name that is the same for the same task in every process: of the prepared problem, not of how it was
        asked for."""
        what = [self.made.id, plain_parameters(self.made), self.problem.to_dict(), self.chip.name, self.implementation]
        return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it. Raises InputError for parameters that are arrays or functions: they have no name to keep."""
        for name, value in self.parameters.items():
            if callable(value) or hasattr(value, "__array__"):
                raise InputError(f"{name} is a {type(value).__name__}; a task that is kept takes a file's path there")
        return {name: plain_mapping(value) if isinstance(value, Mapping) else value
                for name, value in asdict(self).items()}  # fmt: skip

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Task:
        """From what `to_dict` gave."""
        try:
            parameters, sizes = (as_tuples(data[name]) for name in ("parameters", "sizes"))
            return cls(data["variant"], parameters, sizes, data["hardware"], data["implementation"])
        except (KeyError, TypeError) as error:
            raise InputError(f"a task lacks {error}") from None

    def config(self, given: Mapping[str, Any]) -> Tile:
        """A config of the task's kernel from its fields. Raises InputError for fields that it does not have."""
        try:
            found: Tile = self.kernel.config_type(**as_tuples(given))
        except TypeError as error:
            raise InputError(f"no config of {self.implementation}: {error}") from None
        return found

    def __getstate__(self) -> dict[str, Any]:
        """For other processes: without what it has worked out for itself, which need not fit through a pipe."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        p = self.problem
        size = "x".join(map(str, p.shape)) + (f" keys {p.kv_len}" if p.kv_len != p.queries else "")
        said = " ".join(f"{name}={value}" for name, value in plain_mapping(self.parameters).items())
        return f"{self.variant} {said + ' ' if said else ''}{size}, {p.batch}x{p.heads} heads of {p.head_dim}, " \
               f"{p.dtype}, {p.direction}{', causal' if p.causal else ''} on {self.chip.name} by " \
               f"{self.implementation}"  # fmt: skip


def plain_mapping(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in values.items()}


def plain_parameters(variant: Variant) -> dict[str, Any]:
    return plain_mapping(variant.parameters())


Kernel = TypeVar("Kernel", bound=Tunable)


def pick(variant: Variant, problem: Problem, hardware: Hardware, choice: Choice, kind: type[Kernel]) -> Kernel:
    """The kernel that was asked for, or of those of a kind that take the problem the one predicted to be fastest; of
    equal ones the kernel made for such masks comes before the one for any.

    Raises InputError with the reason of each where none does.
    """
    known = map(implementations.get, implementations.names())
    ours = [i for i in known if isinstance(i, kind) and i.generations]  # others' kernels are asked for by name
    if choice.implementation is not None:
        found = implementations.get(choice.implementation)
        if not isinstance(found, kind):
            raise InputError(f"{found.name} is not a kernel that attnsim runs; those are "
                             f"{', '.join(i.name for i in ours)}")  # fmt: skip
        return found
    part = variant.graph(problem).main
    reasons = {i: i.refuses(part, hardware, choice.tile) for i in ours}
    if choice.tile is None:
        empty = (i for i, reason in reasons.items() if reason is None and not i.configs(part, hardware))
        reasons |= {i: f"{i.name} has no tile for it" for i in empty}
    taking = [i for i, reason in reasons.items() if reason is None]
    if not taking:
        why = "; ".join(str(r) for i, r in reasons.items() if hardware.generation in i.generations)
        raise InputError(f"no kernel here runs {variant.id} on {hardware.name}: "
                         f"{why or 'none is written for such chips'}")  # fmt: skip

    def order(kernel: Kernel) -> tuple[float, bool]:
        time_s = evaluate(variant, problem, hardware, Choice(choice.tile, kernel.name)).chosen.time_s
        return float("inf") if time_s is None else float(time_s), kernel.mask_kinds is None

    return min(taking, key=order) if len(taking) > 1 else taking[0]
