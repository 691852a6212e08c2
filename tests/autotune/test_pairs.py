"""Ranked pairs: by brute force on few rows, by a random choice on many."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim.autotune import pairs
from attnsim.autotune.silicon import Floats


def by_hand(latency: Floats, predicted: Floats, least: float, most: float) -> list[bool]:
    right = []
    for i, j in itertools.permutations(range(len(latency)), 2):
        if least * latency[i] < latency[j] <= most * latency[i]:
            right.append(bool(predicted[j] > predicted[i]))
    return right


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.integers(0, 2**32 - 1))
def test_all_pairs_of_few_rows(size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    latency = np.exp(generator.uniform(0, 1, size))
    predicted = latency * np.exp(generator.normal(0, 0.1, size))
    found = pairs.pairs_right(latency, predicted)
    assert set(found) == {"pairs_10_20", "pairs_over_20"}
    for name, (least, most) in pairs.GAPS.items():
        right = by_hand(latency, predicted, least, most)
        if len(right) < pairs.FEWEST_PAIRS:
            assert found[name] is None
        else:
            assert found[name] == pytest.approx(100 * np.mean(right))


def test_a_random_choice_of_many_pairs_is_near_all_of_them() -> None:
    generator = np.random.default_rng(5)
    latency = np.exp(generator.uniform(0, 2, 800))
    predicted = latency * np.exp(generator.normal(0, 0.1, 800))
    found = pairs.pairs_right(latency, predicted, seed=1)
    right = by_hand(latency, predicted, 1.2, np.inf)
    assert len(right) > 5 * pairs.MOST_PAIRS
    assert found["pairs_over_20"] == pytest.approx(100 * np.mean(right), abs=1)
    assert found == pairs.pairs_right(latency, predicted, seed=1)
    assert found != pairs.pairs_right(latency, predicted, seed=2)


def test_each_pair_is_drawn_as_often_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MOST_PAIRS", 5)
    latency = np.array([1.0, 1.15, 1.17, 1.3, 1.36, 1.5])
    every = {(i, j) for i, j in itertools.permutations(range(6), 2) if 1.1 < latency[j] / latency[i] <= 1.2}
    assert len(every) > 5
    generator = np.random.default_rng(0)
    counts: dict[tuple[int, int], int] = {}
    for _ in range(2000):
        for pair in zip(*map(list, pairs._pairs(latency, 1.1, 1.2, generator)), strict=True):
            counts[pair] = counts.get(pair, 0) + 1
    assert set(counts) == every
    assert min(counts.values()) > 0.85 * 5 * 2000 / len(every)


def test_rows_without_a_prediction_and_equal_predictions() -> None:
    latency = np.geomspace(1, 10, 100)
    assert pairs.pairs_right(latency, latency)["pairs_over_20"] == 100
    assert pairs.pairs_right(latency, 1 / latency) == {"pairs_10_20": 0, "pairs_over_20": 0}
    assert pairs.pairs_right(latency, np.ones(100)) == {"pairs_10_20": 0, "pairs_over_20": 0}
    half = np.where(np.arange(100) % 2, latency, np.nan)
    assert pairs.pairs_right(latency, half) == {"pairs_10_20": 100, "pairs_over_20": 100}
    assert pairs.pairs_right(latency, np.full(100, np.nan)) == {"pairs_10_20": None, "pairs_over_20": None}
