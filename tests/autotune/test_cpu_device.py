"""The device `cpu`: what it says is right was right, what it times was compiled, and whatever fails is an outcome."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from attnsim.autotune.devices import cpu, open_device
from attnsim.autotune.isolated import Isolated
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.task import Task
from attnsim.kernels.reference import baselines
from attnsim.simulator.errors import InputError, one_line
from attnsim.simulator.tiling import Tile

SMALL = {"heads": 2, "head_dim": 32, "dtype": "fp32"}


def small(variant: str, **arguments: Any) -> Task:
    return Task.make(variant, "cpu", "flex-cpu", **SMALL | arguments)


@pytest.fixture(scope="module")
def device() -> Iterator[cpu.Cpu]:
    with cpu.open_device("") as opened:
        yield opened


def visited(task: Task, sides: tuple[int, int]) -> tuple[int, int]:
    """(visited, partial) blocks of the mask, counted pair by pair."""
    mask: Any = task.part.mask
    pairs = mask.attends(np.arange(mask.queries)[:, None], np.arange(mask.keys)[None, :])
    pairs = np.broadcast_to(pairs, (mask.queries, mask.keys))
    blocks = [
        pairs[q : q + sides[0], k : k + sides[1]]
        for q in range(0, mask.queries, sides[0])
        for k in range(0, mask.keys, sides[1])
    ]
    return sum(bool(b.any()) for b in blocks), sum(bool(b.any()) and not b.all() for b in blocks)


@pytest.mark.parametrize(
    ("task", "sides"),
    [
        (small("gna", shape=(8, 12), window=(3, 5)), (32, 32)),
        (small("sliding-window", seq=96, causal=True, window=20, heads=4, kv_heads=2), (32, 64)),
    ],
)
def test_a_config_is_checked_and_timed(device: cpu.Cpu, task: Task, sides: tuple[int, int]) -> None:
    found = device.measure(task, Tile((sides[0],), (sides[1],)), 120)
    assert (found.outcome, found.reason) == ("ok", "")
    assert len(found.seconds) >= cpu.FEWEST
    assert min(found.seconds) > 0
    assert found.compile_s is not None
    assert found.measure_s is not None
    assert found.measure_s >= sum(found.seconds)
    assert (found.conditions["visited_blocks"], found.conditions["partial_blocks"]) == visited(task, sides)
    assert found.conditions["torch"] == torch.__version__
    assert found.conditions["dtype"] == "fp32"
    assert Measurement.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_finalists_are_timed_in_rotation_and_what_is_illegal_is_said_to_be(device: cpu.Cpu) -> None:
    task = small("gna", shape=(8, 12), window=(3, 5))
    configs = [Tile((32,), (32,)), Tile((4, 8), (4, 8)), Tile((64,), (32,))]
    first, refused, last = device.finalists(task, configs)
    assert (first.config, refused.config, last.config) == tuple(configs)
    assert (first.outcome, refused.outcome, last.outcome) == ("ok", "invalid", "ok")
    assert "flattened" in refused.reason
    assert "stopped early" in first.flags or len(first.seconds) >= cpu.FEWEST


def test_what_hangs_is_stopped_and_the_device_lives_on(device: cpu.Cpu) -> None:
    task, config = small("gna", shape=(8, 12), window=(3, 5)), Tile((32,), (32,))
    hung = device.measure(task, config, 1e-3)
    assert (hung.outcome, hung.seconds) == ("timeout", ())
    assert device.measure(task, config, 120).outcome == "ok"


def test_uncompiled_code_is_never_timed() -> None:
    with cpu.Cpu() as device:
        device._process = Isolated(cpu.ENVIRONMENT | {"TORCHDYNAMO_DISABLE": "1"})
        found = device.measure(small("mha", seq=64), Tile((32,), (32,)), 120)
    assert (found.outcome, found.seconds) == ("failed to compile", ())
    assert "compiled nothing" in found.reason


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # a part of inductor itself
def test_recompilations_past_the_limit_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "RECOMPILATIONS", 1)
    monkeypatch.setattr(cpu, "in_turn", lambda runs: {key: {"seconds": (1.0,)} for key in runs})
    fresh, past = cpu.try_all(small("mha", seq=64), [Tile((32,), (32,)), Tile((64,), (64,))])
    assert fresh["outcome"] == "ok"
    assert past["outcome"] == "failed to compile"
    assert "seconds" not in past


def test_wrong_outputs_are_told_from_right_ones() -> None:
    problem = cpu.Flex(small("sliding-window", seq=64, window=9))
    q, k, v = (t.double() for t in problem.operands)
    i = torch.arange(64)
    near = (i[None, :] - i[:, None]).abs() <= 4
    weights = torch.softmax((q @ k.mT / 32**0.5).masked_fill(~near, -torch.inf), -1)
    right = (weights @ v).float()
    assert problem.wrong(right) is None
    wide = torch.softmax(q @ k.mT / 32**0.5, -1) @ v
    for wrong in (wide.float(), right + 1e-3, torch.full_like(right, torch.nan)):
        assert "allowed" in str(problem.wrong(wrong))


def test_failures_are_told_apart() -> None:
    assert cpu.outcome_of(RuntimeError("DefaultCPUAllocator: can't allocate memory")) == "out of resources"
    assert cpu.outcome_of(ValueError("no")) == "failed to compile"
    assert one_line(ValueError("\n two lines\nof it")) == "ValueError: two lines"


def test_kernels_of_other_devices_are_refused(device: cpu.Cpu) -> None:
    task = Task.make("mha", "h100", "triton-flash", seq=128)
    found = device.measure(task, task.kernel.configs(task.part, task.chip)[0], 10)
    assert found.outcome == "invalid"
    assert "triton-flash" in found.reason


def test_operands_that_flex_attention_does_not_take_are_refused() -> None:
    with pytest.raises(InputError, match="keys and values of the queries' type"):
        small("mha", seq=64, kv_dtype="bf16")


def test_the_device_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    found = open_device("cpu")
    assert (found.name, found.timed) == ("cpu", True)
    monkeypatch.setenv("ATTNSIM_PROFILE_CPU", str(tmp_path / "mine.toml"))
    assert found.hardware == "cpu"
    (tmp_path / "mine.toml").write_text("")
    assert found.hardware == str(tmp_path / "mine.toml")
    assert len(found.space(small("mha", seq=64))) == 16
    with pytest.raises(InputError, match="takes no argument"):
        open_device("cpu:0")


def test_default_sizes_make_a_task() -> None:
    task = Task.make("sliding-window", "cpu", heads=4, seq=4096, head_dim=64, dtype="fp32", window=512)
    assert task.implementation == "flex-cpu"
    summary = task.part.mask.tiles((128,), (128,)) if task.part.mask else None
    assert summary is not None
    assert 0 < summary.partial < summary.visited < summary.visited + summary.skipped


def test_the_fastest_rule_is_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    mask: Any = small("radial", shape=(4, 64)).part.mask
    i, j = np.arange(mask.queries)[:, None], np.arange(mask.keys)[None, :]
    found = baselines.fastest_rule(mask, "cpu")(0, 0, torch.from_numpy(i), torch.from_numpy(j))
    assert np.array_equal(found.numpy(), mask.attends(i, j))
    monkeypatch.setattr(baselines, "HELD_PAIRS", 2**10)
    with pytest.raises(InputError, match="not written"):
        baselines.fastest_rule(mask, "cpu")
    band: Any = replace(small("mha", seq=64).part, keys=64).mask
    assert bool(baselines.fastest_rule(band, "cpu")(0, 0, torch.tensor(3), torch.tensor(60)))
