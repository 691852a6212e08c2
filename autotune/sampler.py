"""The model's order as an Optuna sampler, and the configs of a space as Optuna's parameters.

A study has one categorical parameter a dimension of the space. Choices are what JSON has: numbers and flags as they
are, sides as words (`64x32`). Imported only when a study is made: it needs optuna.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ..simulator.tiling import Tile
from .space import Dimension, Space

Choice = str | int | float | bool | None
MISSING = object()


def choice(value: Any) -> Choice:
    """A value of a dimension as a parameter has it.

    >>> choice((64, 32)), choice((128,)), choice(4), choice(True)
    ('64x32', '128', 4, True)
    """
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return value if value is None or isinstance(value, str | int | float) else str(value)


def distribution(dimension: Dimension) -> CategoricalDistribution:
    """The parameter of a dimension."""
    return CategoricalDistribution([choice(value) for value in dimension.values])


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """The parameters of a space, by the names of its dimensions."""
    return {d.name: distribution(d) for d in space.dimensions}


def parameters(space: Space, config: Tile) -> dict[str, Choice]:
    """A config as parameters."""
    return {name: choice(value) for name, value in space.point(config).items()}


def config_at(space: Space, given: Mapping[str, Any]) -> Tile | None:
    """The legal config that parameters state, None where there is none: the way back from `parameters`.

    A dimension of one value may be left out.
    """
    point = {}
    for dimension in space.dimensions:
        values = {choice(value): value for value in dimension.values}
        asked = given.get(dimension.name, choice(dimension.values[0]) if len(values) == 1 else MISSING)
        if asked not in values:
            return None
        point[dimension.name] = values[asked]
    return space.config(point)


class ModelSampler(BaseSampler):
    """Proposes the configs of a space in a given order, each once; then the first again, and the study is stopped.

    order: configs, best first: what `rank` gives. Parameters that are none of the space's are drawn at random.
    """

    def __init__(self, space: Space, order: Sequence[Tile], seed: int | None = None) -> None:
        self._space = space
        self._order = tuple(order)
        self._distributions = distributions(space)
        self._random = RandomSampler(seed)

    def reseed_rng(self) -> None:
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return dict(self._distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        left = self._left(t for t in study.get_trials(deepcopy=False) if t.number != trial.number)
        ours = parameters(self._space, (left or self._order)[0]) if self._order else {}
        return {
            name: ours[name] if name in ours and self._distributions[name] == asked
            else self._random.sample_independent(study, trial, name, asked)
            for name, asked in search_space.items()
        }  # fmt: skip

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:  # fmt: skip
        tried = config_at(self._space, trial.params)
        if tried is None or self._left(study.get_trials(deepcopy=False)):
            return
        try:
            study.stop()
        except RuntimeError:  # asked and told, not optimised: there is no loop to stop
            return

    def _left(self, trials: Iterable[FrozenTrial]) -> list[Tile]:
        """What is in the order and in no trial."""
        tried = {config_at(self._space, t.params) for t in trials}
        return [config for config in self._order if config not in tried]
