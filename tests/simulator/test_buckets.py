"""Buckets of problems: the config of one serves all of its problems within 3 %, and few serve every length."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.simulator import buckets
from attnsim.simulator.errors import InputError
from attnsim.simulator.predict import Choice, evaluate

CASES: list[tuple[str, str, str, dict[str, Any]]] = [
    ("mha", "h100", "triton-flash", {"causal": True}),
    ("mha", "b200", "triton-flash", {"head_dim": 64}),
    ("mha", "a100", "triton-flash", {"direction": "backward", "causal": True}),
    ("sliding-window", "b200", "triton-flash", {"window": 512, "causal": True}),
    ("moba", "h100", "triton-block-sparse", {}),
    ("gated-deltanet", "h100", "triton-linear", {}),
    ("gqa", "h100", "triton-decode", {"heads": 32, "kv_heads": 8, "decode": True}),
    ("mla", "h100", "triton-decode", {"heads": 32, "decode": True, "form": "absorbed"}),
    ("mha", "cpu", "flex-cpu", {"dtype": "fp32", "heads": 4}),
]  # fmt: skip


def task(case: tuple[str, str, str, dict[str, Any]], length: int, **more: Any) -> Task:
    """A case at a length: of the cache where it decodes, else of the sequence."""
    variant, chip, kernel, arguments = case
    rest = {**arguments, **more}
    sizes = {"seq": 1, "kv_len": length} if rest.pop("decode", False) else {"seq": length}
    return Task.make(variant, chip, kernel, **sizes, **rest)


def bucket_of(one: Task) -> buckets.Bucket:
    """The bucket of a task."""
    return buckets.bucket_of(one.made, one.problem, one.chip, one.kernel)


def seconds(one: Task, config: Any) -> float:
    """The model's prediction, asked in the plain way."""
    choice = Choice(tile=config, implementation=one.implementation)
    time_s = evaluate(one.made, one.problem, one.chip, choice).chosen.time_s
    assert time_s is not None
    return float(time_s)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=st.sampled_from(CASES), length=st.integers(64, 1 << 17), batch=st.integers(1, 64))
def test_the_middle_serves_every_problem(case: tuple[str, str, str, dict[str, Any]], length: int, batch: int) -> None:
    asked = task(case, length, batch=batch)
    bucket = bucket_of(asked)
    config, _ = buckets.best(asked.made, bucket.problem, asked.chip, asked.kernel)
    assert config is not None
    moved = buckets.carried(config, asked.made, bucket.problem, asked.problem, asked.chip, asked.kernel)
    assert moved is not None
    assert asked.kernel.refuses(asked.part, asked.chip, moved) is None
    best = min(seconds(asked, other) for other in Space.among(asked.kernel.configs(asked.part, asked.chip)).configs)
    assert seconds(asked, moved) <= 1.03 * best
    for name, size in buckets.sizes_of(asked.made, asked.problem).items():
        low, high = dict(bucket.ranges)[name]
        assert low <= size <= high


@pytest.mark.parametrize("case", [c for c in CASES if c[1] != "cpu"], ids=lambda c: f"{c[0]} {c[1]}")
def test_a_growing_sequence_meets_few_buckets(case: tuple[str, str, str, dict[str, Any]]) -> None:
    lengths = np.unique(np.geomspace(64, 1 << 16, 120).astype(int)).tolist()
    met = Counter(bucket_of(task(case, n)).key for n in lengths)
    print(f"{case[0]} on {case[1]}: {len(met)} buckets for {len(lengths)} lengths of 64 to 65536")
    assert math.log2(1024) <= len(met) <= 30


def test_batch_and_heads_are_one_size_and_all_else_keeps_problems_apart() -> None:
    def key(**changes: Any) -> str:
        return bucket_of(task(CASES[0], 5000, **changes)).key

    assert key(batch=4, heads=8) == key(batch=1, heads=32) == key(batch=31, heads=1)
    other = [key(heads=32, **c) for c in ({"head_dim": 64}, {"dtype": "fp16"}, {"kv_heads": 8}, {"causal": False})]
    assert len({key(heads=32), *other}) == 5
    assert bucket_of(task(CASES[3], 5000)).key != bucket_of(task(CASES[3], 5000, window=513)).key


def test_the_bucket_is_a_function_of_the_problem_alone() -> None:
    first = [bucket_of(task(CASES[6], n)).key for n in (700, 3000, 50000)]
    buckets._bucket_of.cache_clear()
    buckets.best.cache_clear()
    assert first == [bucket_of(task(CASES[6], n)).key for n in reversed((700, 3000, 50000))][::-1]


def test_ragged_batches_and_tokens_along_axes() -> None:
    generator = np.random.default_rng(0)
    met = set()
    for _ in range(20):
        documents = generator.integers(900, 1100, 30).tolist()
        met.add(bucket_of(Task.make("mha", "h100", "triton-flash", documents=documents, causal=True)).key)
    assert len(met) <= 4
    one = Task.make("gna", "h100", "triton-neighbourhood", shape=(8, 16, 32), window=(6, 8, 8))
    assert "shape" in bucket_of(one).to_dict()


def test_cells_narrow_to_a_step() -> None:
    sizes = {"heads": 13, "queries": 100, "keys": 5000}
    found = list(buckets.cells(sizes))
    assert found[0] == {"heads": (9, 16), "queries": (65, 128), "keys": (4097, 8192)}
    assert found[-1] == {"heads": (13, 13), "queries": (100, 100), "keys": (4993, 5024)}
    for wide, narrow in itertools.pairwise(found):
        assert all(wide[n][0] <= narrow[n][0] <= sizes[n] <= narrow[n][1] <= wide[n][1] for n in sizes)


def test_one_token_more_is_no_new_look_at_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    real = buckets.predicted_s

    def counted(*arguments: Any) -> float | None:
        looks.append(arguments)
        return real(*arguments)

    bucket_of(task(CASES[6], 10000))
    monkeypatch.setattr(buckets, "predicted_s", counted)
    for keys in range(10001, 10201):
        bucket_of(task(CASES[6], keys))
    steps = len({(keys - 1) // 64 for keys in range(10000, 10201)})
    configs = len(task(CASES[6], 10000).kernel.configs(task(CASES[6], 10000).part, task(CASES[6], 10000).chip))
    assert len(looks) <= steps * (configs + 20)


def test_parameters_without_a_name_have_no_bucket() -> None:
    from attnsim import Problem, variants
    from attnsim.simulator import api, implementations

    made = variants.make("block-mask", {"mask": np.ones((4, 4), bool)})
    kernel: Any = implementations.get("triton-block-sparse")
    problem = made.prepare(Problem.make(seq=512))
    with pytest.raises(InputError, match="has no bucket"):
        buckets.bucket_of(made, problem, api.load_hardware("h100"), kernel)
