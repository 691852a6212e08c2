"""The fixed list of problems: each can be tuned, covers what it claims to, and keeps its name."""

from __future__ import annotations

from typing import Any

import pytest

from attnsim.autotune.problems import GROUPS, Named, problems, small
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.kernels import for_variant
from attnsim.kernels.compile_many import Job, plan_of

ALL = problems()


def test_about_thirty_of_every_group_and_no_name_twice() -> None:
    assert 28 <= len(ALL) <= 36
    assert len({one.name for one in ALL}) == len(ALL)
    assert {one.group for one in ALL} == set(GROUPS)
    assert {one.group for one in ALL[: len(GROUPS)]} == set(GROUPS), "a short budget sees every group"


@pytest.mark.parametrize("chip", ["h100", "b200"])
@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_problem_has_a_space(one: Named, chip: str) -> None:
    task = one.task(chip)
    space = Space.of(task)
    assert len(space) >= 2, "nothing to choose from"
    for config in space.configs:
        assert task.kernel.refuses(task.part, task.chip, config) is None
    assert Task.from_dict(task.to_dict()).key == task.key, "a recording can hold it"


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.name)
def test_every_problem_is_planned_without_data(one: Named) -> None:
    task = one.task("h100")
    module = for_variant(task.implementation, task.variant).__name__.rpartition(".")[2]
    config = Space.of(task).default
    plan = plan_of(Job(module, task.variant, task.sizes, config, "sm_90", task.parameters))
    assert any(launch.main for launch in plan.launches)


@pytest.mark.parametrize("one", small(), ids=lambda one: one.name)
def test_small_problems_are_the_hosts(one: Named) -> None:
    task = one.task("cpu")
    assert task.implementation == "flex-cpu"
    assert task.part.mask is not None
    pairs = task.problem.queries * task.problem.kv_len * task.problem.heads
    assert pairs <= 2**25, "milliseconds a call"
    assert len(Space.of(task)) >= 2


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("head dimensions", {one.sizes["head_dim"] for one in ALL} >= {64, 128, 256}),
        ("lengths", {one.sizes.get("seq") for one in ALL if one.group == "causal"} >= {1024, 4096, 16384}),
        ("axes", {len(one.sizes.get("shape", (1,))) for one in ALL if one.group == "neighbourhood"} == {1, 2, 3}),
        ("strides", {"stride" in one.parameters for one in ALL if one.group == "neighbourhood"} == {True, False}),
        ("caches", {one.sizes.get("kv_dtype") for one in ALL if one.group == "decode"} == {None, "fp8_e5m2"}),
        ("latents", any(one.variant == "mla" for one in ALL)),
        ("grouped heads", any(one.sizes.get("kv_heads", 0) < one.sizes["heads"] for one in ALL)),
    ],
)
def test_what_the_list_covers(what: str, found: Any) -> None:
    assert found, what
