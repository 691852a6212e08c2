"""Attention mechanisms, one file each, found by name: the file's stem is the id.

A variant is a frozen dataclass of its parameters. It says how a problem becomes a graph, what it is compared
with, and what its paper claims. Masked softmax variants also state the paper's pair rule (in their mask).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

from ..algebra import Number
from ..errors import InputError, unknown
from ..families.dense import plain_projections
from ..graph import Graph
from ..problem import Problem


@dataclass(frozen=True, slots=True)
class Claim:
    """A figure that a paper states, with its exact configuration. checked: read in the source itself."""

    figure: str
    configuration: str
    where: str
    checked: bool = True


class Variant:
    """Base of all variants. Subclass as a frozen dataclass whose fields are the parameters.

    causality: "either" | "causal" (causal by definition) | "none" (no causal form). axes: token layouts it
    takes. vectorised: its graph takes arrays in the problem's sizes, so `sweep` runs it in one pass.
    has_pairs: whether `pairs` and `tiles` mean something. backward: whether a backward pass is modelled.
    """

    id: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    family: ClassVar[str]
    formula: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    claims: ClassVar[tuple[Claim, ...]] = ()
    causality: ClassVar[str] = "either"
    axes: ClassVar[tuple[int, ...]] = (1, 2, 3)
    vectorised: ClassVar[bool] = True
    has_pairs: ClassVar[bool] = True
    backward: ClassVar[bool] = True
    decode: ClassVar[bool] = True

    def graph(self, problem: Problem) -> Graph:
        """The operator between projected q, k, v and its output. Raises InputError where it has no such form."""
        raise TypeError(f"{self.id} states no graph")

    def prepare(self, problem: Problem) -> Problem:
        """The problem as this variant sees it (heads it shares, causality it imposes). Raises InputError."""
        if self.causality == "causal" and not problem.causal:
            problem = problem.with_(causal=True)
        if self.causality == "none" and problem.causal:
            raise InputError(f"{self.id} has no causal form")
        if len(problem.shape) not in self.axes:
            allowed = " or ".join(map(str, self.axes))
            many = f"{allowed} axes, not {len(problem.shape)}"
            said = f"1 axis, not {len(problem.shape)} axes" if self.axes == (1,) else many
            raise InputError(f"{self.id} takes a token layout of {said}")
        if problem.direction == "backward" and not self.backward:
            raise InputError(f"{self.id} has no backward pass here")
        return problem

    def baseline(self, problem: Problem) -> Problem:
        """The dense problem that speedups are measured against; by default the same problem."""
        return problem

    def moves(self, problem: Problem) -> Iterable[tuple[str, Variant]]:
        """Neighbouring parameters that may be faster, each with what to call it; tried by the suggestion."""
        return ()

    def settled(self, problem: Problem) -> Variant:
        """The same, with what it leaves to be derived from a problem fixed as for this one."""
        return self

    def projections(self, problem: Problem) -> tuple[Number, Number]:
        """FLOPs and elements moved of the plain Q, K, V and output projections."""
        return plain_projections(problem)

    def parameters(self) -> dict[str, Any]:
        """Parameter values by name."""
        return {name: getattr(self, name) for name in parameter_names(type(self))}


@functools.cache
def names() -> tuple[str, ...]:
    """Ids of all variants: the files of this folder, listed without importing them."""
    folder = Path(__file__).parent
    return tuple(sorted(p.stem.replace("_", "-") for p in folder.glob("*.py") if p.stem != "__init__"))


@functools.cache
def _import(name: str) -> type[Variant]:
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    found: type[Variant] = module.VARIANT
    return found


@functools.cache
def get_class(name: str) -> type[Variant]:
    """The variant class called `name` (id or alias). Raises InputError with the nearest name otherwise."""
    key = name.lower().replace("_", "-")
    if key in names():
        return _import(key)
    # Only now is every file read: aliases stand in the files of their variants.
    by_alias = {alias: cls for cls in map(_import, names()) for alias in cls.aliases}
    if key not in by_alias:
        raise unknown("variant", name, (*names(), *by_alias))
    return by_alias[key]


def parameter_names(cls: type[Variant]) -> list[str]:
    """Names of a variant's parameters: the fields that its constructor takes."""
    return [f.name for f in fields(cls) if f.init]  # type: ignore[arg-type]


def make(name: str, parameters: Mapping[str, Any] | None = None) -> Variant:
    """The variant with parameters given by name. Raises InputError for unknown names and illegal values.

    >>> make("sliding-window", {"window": 512}).parameters()["window"]
    512
    """
    cls = get_class(name)
    parameters = dict(parameters or {})
    known = parameter_names(cls)
    for given in parameters:
        if given not in known:
            raise unknown(f"parameter of {cls.id}", given, known)
    return cls(**parameters)


def parse_value(text: str) -> Any:
    """A parameter as typed: `18x24x24` a tuple, `true` a flag, `0.5` a number, anything else a string.

    >>> parse_value("18x24x24"), parse_value("truexfalse"), parse_value("0.9"), parse_value("blocks.npy")
    ((18, 24, 24), (True, False), 0.9, 'blocks.npy')
    """
    words = {"true": True, "false": False, "none": None}

    def one(word: str) -> Any:
        if word.lower() in words:
            return words[word.lower()]
        try:
            return int(word)
        except ValueError:
            return float(word)

    try:
        values = tuple(one(word) for word in text.split("x"))
    except ValueError:
        return text
    return values[0] if len(values) == 1 else values


def per_axis(name: str, value: Any, axes: int) -> tuple[Any, ...]:
    """A value for each axis: a scalar broadcasts, a tuple must have as many entries as the layout has axes."""
    if isinstance(value, (tuple, list)):
        if len(value) != axes:
            raise InputError(f"{name} has {len(value)} axes; the token layout has {axes}")
        return tuple(value)
    return (value,) * axes
