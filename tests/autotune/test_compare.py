"""Samplers on made-up landscapes: what they must reach can be computed."""

from __future__ import annotations

import itertools
import math
import statistics

import optuna
import pytest
from fake_device import CONFIGS, seconds_of, task

from attnsim.autotune import compare
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.sampler import ModelSampler
from attnsim.autotune.space import Space
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError

# Not every combination of the values is there, so that proposals may be illegal.
HERE = CONFIGS[:6] + CONFIGS[8:9] + CONFIGS[12:19]
SPACE = Space.among(HERE)
FASTEST = sorted(HERE, key=seconds_of)
TASK = task()


def measured(config: Config, cost_s: float = 0.0) -> Measurement:
    return Measurement(TASK, config, "ok", (seconds_of(config),), compile_s=cost_s)


def landscape(cost_s: float = 0.0) -> dict[Config, Measurement]:
    return {config: measured(config, cost_s) for config in HERE}


def expected(k: int) -> tuple[float, float]:
    """Mean and deviation of best / best-so-far over all draws of k configs without replacement."""
    best = seconds_of(FASTEST[0])
    shares = [best / min(map(seconds_of, drawn)) for drawn in itertools.combinations(HERE, k)]
    return statistics.fmean(shares), statistics.pstdev(shares)


def test_a_perfect_order_is_at_the_best_with_its_first_trial() -> None:
    model, *others = compare.compare(SPACE, landscape(), FASTEST, trials=4, seeds=5)
    assert model.sampler == "model"
    assert dict(model.by_trials) == {1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0}
    assert model.by_time is None
    assert [row.sampler for row in others] == list(compare.OTHERS)
    assert all(row.won == 0.0 for row in others)


def test_the_worst_order_loses_to_random_draws() -> None:
    model, *others = compare.compare(SPACE, landscape(), FASTEST[::-1], trials=4, seeds=20)
    assert model.by_trials[4] == pytest.approx(seconds_of(FASTEST[0]) / seconds_of(FASTEST[-4]))
    assert all(row.by_trials[4] > model.by_trials[4] and row.won == 1.0 for row in others)


def test_random_draws_reach_what_they_must_on_average() -> None:
    seeds = 200
    drawing = {name: compare.OTHERS[name] for name in ("random", "tpe")}  # TPE has not begun to learn
    for row in compare.compare(SPACE, landscape(), FASTEST, trials=4, seeds=seeds, others=drawing)[1:]:
        for k in range(1, 5):
            mean, deviation = expected(k)
            assert row.by_trials[k] == pytest.approx(mean, abs=4 * deviation / math.sqrt(seeds))


def test_every_config_is_measured_once_and_no_other() -> None:
    for make in compare.OTHERS.values():
        found = [m.config for m in compare.race(SPACE, landscape(), make(3), 99)]
        assert sorted(map(str, found)) == sorted(map(str, HERE))


def test_tuning_time_is_what_was_recorded() -> None:
    slow = landscape(1.0) | {FASTEST[0]: measured(FASTEST[0], 5.0)}
    order = [*FASTEST[1:], FASTEST[0]]
    ours = compare.race(SPACE, slow, ModelSampler(SPACE, order), len(order))
    assert sum(m.cost_s for m in ours) == len(order) + 4.0
    assert compare.share_within(slow, ours, 0.5) == 0.0
    assert compare.share_within(slow, ours, 1.0) == seconds_of(FASTEST[0]) / seconds_of(FASTEST[1])
    assert compare.share_within(slow, ours, len(order) + 3.5) < 1.0
    assert compare.share_within(slow, ours, len(order) + 4.0) == 1.0


def test_where_all_cost_the_same_time_is_a_number_of_trials() -> None:
    for row in compare.compare(SPACE, landscape(1.0), FASTEST, trials=4, seeds=5):
        assert row.by_time == {0.25: row.by_trials[1], 0.5: row.by_trials[2], 1.0: row.by_trials[4]}


def test_others_go_on_until_they_have_spent_what_the_model_spent() -> None:
    dear = landscape(1.0) | {FASTEST[0]: measured(FASTEST[0], 7.0)}
    model, random, *_ = compare.compare(SPACE, dear, FASTEST, trials=2, seeds=10)
    assert model.by_time == {0.25: 0.0, 0.5: 0.0, 1.0: 1.0}  # the dearest was first
    assert random.by_time is not None
    assert random.by_time[1.0] > random.by_trials[2]


def test_failures_cost_a_trial_and_are_never_the_best() -> None:
    failed = landscape() | {FASTEST[0]: Measurement(TASK, FASTEST[0], "wrong answer", reason="off")}
    model, *_ = compare.compare(SPACE, failed, FASTEST, trials=2, seeds=2)
    assert dict(model.by_trials) == {1: 0.0, 2: 1.0}


def test_a_landscape_that_lacks_configs_or_times() -> None:
    with pytest.raises(InputError, match="lacks 1 configs of the space"):
        compare.compare(SPACE, {c: m for c, m in landscape().items() if c != FASTEST[0]}, FASTEST)
    with pytest.raises(InputError, match="no config of the landscape has a time"):
        compare.compare(SPACE, {c: Measurement(TASK, c, "timeout") for c in HERE}, FASTEST, seeds=1)


def test_a_sampler_that_repeats_itself_is_not_charged() -> None:
    fixed = optuna.samplers.PartialFixedSampler  # always the same tile of two: the others must be drawn for it

    def make(seed: int) -> optuna.samplers.BaseSampler:
        with pytest.warns(optuna.exceptions.ExperimentalWarning):
            return fixed({"query": "64", "key": "32"}, optuna.samplers.RandomSampler(seed))

    assert len(compare.race(SPACE, landscape(), make(0), len(HERE))) == len(HERE)
