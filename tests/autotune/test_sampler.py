"""The model's order as an Optuna sampler: Optuna's own tests for samplers, then the order itself."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from fake_device import CONFIGS, seconds_of
from optuna.testing import pytest_samplers

from attnsim.autotune.sampler import ModelSampler, config_at, distributions, parameters
from attnsim.autotune.space import Space
from attnsim.simulator.config import Config
from attnsim.simulator.tiling import Tile

SPACE = Space.among(CONFIGS)
ORDER = sorted(CONFIGS, key=lambda c: (c.stages, -c.query[0], c.key, c.warps))


def made() -> ModelSampler:
    return ModelSampler(SPACE, ORDER, seed=0)


class TestOptunasOwn(
    pytest_samplers.BasicSamplerTestCase,
    pytest_samplers.RelativeSamplerTestCase,
    pytest_samplers.MultiObjectiveSamplerTestCase,
):
    """All that Optuna tests of a sampler, save what only samplers for one objective refuse."""

    @pytest.fixture
    def sampler(self) -> Callable[[], ModelSampler]:
        return made


def proposed(sampler: ModelSampler, count: int) -> list[Tile | None]:
    """The first configs that a sampler proposes to a study that asks and tells."""
    study = optuna.create_study(sampler=sampler)
    found = []
    for _ in range(count):
        trial = study.ask(distributions(SPACE))
        found.append(config_at(SPACE, trial.params))
        study.tell(trial, 1.0)
    return found


def test_configs_come_in_the_models_order_each_once() -> None:
    assert proposed(made(), len(ORDER)) == ORDER


def test_what_was_tried_elsewhere_or_failed_is_not_proposed_again() -> None:
    study = optuna.create_study(sampler=made())
    for config, state in ((ORDER[0], "FAIL"), (ORDER[2], "COMPLETE"), (ORDER[1], "RUNNING")):
        value = 1.0 if state == "COMPLETE" else None
        made_elsewhere = optuna.create_trial(
            state=optuna.trial.TrialState[state], value=value, params=dict(parameters(SPACE, config)),
            distributions=distributions(SPACE),
        )  # fmt: skip
        study.add_trial(made_elsewhere)
    assert config_at(SPACE, study.ask(distributions(SPACE)).params) == ORDER[3]


def test_optimize_tries_every_config_once_and_stops() -> None:
    study = optuna.create_study(sampler=made())
    choices = {name: d.choices for name, d in distributions(SPACE).items()}

    def objective(trial: optuna.Trial) -> float:
        config = config_at(SPACE, {name: trial.suggest_categorical(name, values) for name, values in choices.items()})
        assert isinstance(config, Config)
        return seconds_of(config)

    study.optimize(objective, n_trials=1000)
    assert [config_at(SPACE, t.params) for t in study.trials] == ORDER
    assert study.best_value == min(map(seconds_of, CONFIGS))


def test_parameters_are_json_and_lead_back_to_every_config() -> None:
    wide = Space.among([Config((4, 8), (2, 4, 8), tma=True), Config((8, 8), (4, 4, 4)), *CONFIGS])
    for config in wide.configs:
        given = parameters(wide, config)
        assert config_at(wide, given) == config
        assert all(type(value) in (str, int, bool) for value in given.values())
    assert parameters(wide, wide.configs[0])["query"] == "4x8"


def test_parameters_of_no_config_lead_nowhere() -> None:
    first = parameters(SPACE, CONFIGS[0])
    some = Space.among(CONFIGS[:3])
    assert config_at(SPACE, {}) is None
    assert config_at(SPACE, first | {"warps": 5}) is None
    assert config_at(some, parameters(SPACE, CONFIGS[-1])) is None
