"""Samplers on a measured landscape: how good the best config is after so many trials, and after so much tuning time.

The rules favour Optuna's samplers: what they propose that is illegal, or measured before, costs them nothing. Imported
only when samplers are compared: it needs optuna.
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from ..simulator.errors import InputError
from ..simulator.tiling import Tile
from .measurement import Measurement
from .sampler import ModelSampler, config_at, distributions
from .space import Space

ASKS = 50
"""How often a sampler is asked for a config that is legal and new, before one is drawn for it."""
FRACTIONS = (0.25, 0.5, 1.0)
"""Of the time that the model's trials take, at which others are compared with it."""
OTHERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "tpe, 3 random first": lambda seed: TPESampler(n_startup_trials=3, seed=seed),
}
"""Optuna's, by the names they have in tables. TPE by default draws its first 10 trials at random."""
Landscape = Mapping[Tile, Measurement]


@dataclass(frozen=True)
class Row:
    """A sampler on one landscape, averaged over seeds.

    by_trials: the best time of the landscape over the best after each number of trials, 0 where none ran.
    by_time: the same after shares of the time that the model's trials took; None where no times were recorded.
    won: the share of seeds in which it ended better than the model, lost: worse.
    """

    sampler: str
    seeds: int
    by_trials: Mapping[int, float]
    by_time: Mapping[float, float] | None
    won: float
    lost: float


def race(
    space: Space, landscape: Landscape, sampler: BaseSampler, trials: int, spend_s: float = 0.0, seed: int = 0
) -> list[Measurement]:  # fmt: skip
    """What a sampler measures, each config once: at least so many, and until so many recorded seconds are spent."""
    chance = random.Random(seed)
    study = optuna.create_study(sampler=sampler)
    asked_of = {name: choices for name, choices in distributions(space).items() if not choices.single()}
    done: dict[Tile, Measurement] = {}

    def next_config() -> tuple[Tile, optuna.Trial | None]:
        for _ in range(ASKS):
            asked = study.ask(asked_of)
            config = config_at(space, asked.params)
            if config is not None and config not in done:
                return config, asked
            study.tell(asked, state=TrialState.FAIL)
        return chance.choice([config for config in space.configs if config not in done]), None

    while len(done) < len(space) and (len(done) < trials or sum(m.cost_s for m in done.values()) < spend_s):
        config, asked = next_config()
        done[config] = found = landscape[config]
        if asked is not None and found.median_s is not None:
            study.tell(asked, found.median_s)
        elif asked is not None:
            study.tell(asked, state=TrialState.FAIL)
    return list(done.values())


def share_after(landscape: Landscape, measured: Sequence[Measurement], trials: int) -> float:
    """The best time of a landscape over the best of the first so many trials; 0 where none of those ran."""
    times = [m.median_s for m in measured[:trials] if m.median_s is not None]
    return best_of(landscape) / min(times) if times else 0.0


def share_within(landscape: Landscape, measured: Sequence[Measurement], seconds: float) -> float:
    """The same of the trials that were done within so many recorded seconds."""
    ends = itertools.accumulate(m.cost_s for m in measured)
    return share_after(landscape, measured, sum(end <= seconds * (1 + 1e-9) for end in ends))


def best_of(landscape: Landscape) -> float:
    """The shortest time. Raises InputError for a landscape without times."""
    times = [m.median_s for m in landscape.values() if m.median_s is not None]
    if not times:
        raise InputError("no config of the landscape has a time")
    return min(times)


def compare(
    space: Space, landscape: Landscape, order: Sequence[Tile], trials: int = 8, seeds: int = 20,
    others: Mapping[str, Callable[[int], BaseSampler]] = OTHERS,
) -> list[Row]:  # fmt: skip
    """The model's order beside Optuna's samplers on one landscape, the model first.

    landscape: a measurement of every config of the space. order: its configs as the model would try them. others: make
    a sampler from a seed. Raises InputError for a landscape that lacks configs or times.
    """
    best_of(landscape)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    missing = [config for config in space.configs if config not in landscape]
    if missing:
        raise InputError(f"the landscape lacks {len(missing)} configs of the space, such as {missing[0]}")
    ours = race(space, landscape, ModelSampler(space, order), trials)
    spent_s = sum(m.cost_s for m in ours)
    reached = share_after(landscape, ours, trials)
    rows = [averaged("model", landscape, [ours], trials, spent_s, reached)]
    for name, make in others.items():
        runs = [race(space, landscape, make(seed), trials, spent_s, seed) for seed in range(seeds)]
        rows.append(averaged(name, landscape, runs, trials, spent_s, reached))
    return rows


def averaged(
    name: str, landscape: Landscape, runs: Sequence[Sequence[Measurement]], trials: int, spent_s: float, reached: float
) -> Row:  # fmt: skip
    """A row from the runs of all seeds. spent_s, reached: what the model spent, and what it reached with it."""
    counts = range(1, min(trials, len(landscape)) + 1)
    ends = [share_after(landscape, run, trials) for run in runs]
    return Row(
        name, len(runs),
        {k: statistics.fmean(share_after(landscape, run, k) for run in runs) for k in counts},
        {f: statistics.fmean(share_within(landscape, run, f * spent_s) for run in runs) for f in FRACTIONS}
        if spent_s else None,
        sum(end > reached for end in ends) / len(ends), sum(end < reached for end in ends) / len(ends),
    )  # fmt: skip
