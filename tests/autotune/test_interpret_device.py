"""The interpreter as a device: right configs are "correct" for every kernel family, wrong ones are found out."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

pytest.importorskip("triton")
pytest.importorskip("pebble")

from attnsim.autotune import correctness
from attnsim.autotune.devices import interpret, open_device
from attnsim.autotune.devices.interpret import Interpret
from attnsim.autotune.kernel_runs import KernelRuns
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.kernels.interpret import counting
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError

CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("mha", "triton-flash", {"heads": 2, "seq": 130, "head_dim": 32, "causal": True}),
    ("gqa", "triton-flash", {"batch": 3, "heads": 4, "kv_heads": 2, "seq": 50, "kv_len": 90, "head_dim": 40,
                             "causal": True, "dtype": "fp16"}),
    ("mha", "triton-flash", {"heads": 2, "seq": 70, "head_dim": 32, "dtype": "fp8"}),
    ("mha", "triton-flash", {"heads": 2, "head_dim": 32, "causal": True, "documents": (40, 17, 50)}),
    ("sink-window", "triton-flash", {"heads": 2, "seq": 130, "head_dim": 32, "causal": True, "window": 20, "sinks": 4,
                                     "direction": "backward"}),
    ("power-attention", "triton-block-sparse", {"heads": 2, "seq": 200, "head_dim": 32}),
    ("moba", "triton-block-sparse", {"heads": 2, "seq": 300, "head_dim": 32, "block": 128, "top": 2, "causal": True}),
    ("gna", "triton-neighbourhood", {"heads": 2, "shape": (8, 9, 8), "window": (4, 5, 3), "head_dim": 32}),
    ("gna", "triton-neighbourhood", {"heads": 2, "shape": (12, 12), "window": (4, 6), "head_dim": 32,
                                     "direction": "backward"}),
    ("gqa", "triton-decode", {"batch": 3, "heads": 8, "kv_heads": 2, "seq": 1, "kv_len": 201, "head_dim": 32,
                              "page_size": 16}),
    ("mla", "triton-decode", {"batch": 2, "heads": 16, "seq": 1, "kv_len": 70, "head_dim": 576, "form": "absorbed"}),
    ("linear-attention", "triton-linear", {"heads": 2, "seq": 150, "head_dim": 32}),
    ("linear-attention", "triton-linear", {"heads": 2, "seq": 150, "head_dim": 32, "causal": True,
                                           "direction": "backward"}),
    ("lightning", "triton-linear", {"batch": 2, "heads": 2, "seq": 80, "kv_len": 150, "head_dim": 32, "causal": True}),
    ("gated-deltanet", "triton-linear", {"heads": 2, "seq": 150, "head_dim": 32, "causal": True}),
    ("log-linear", "triton-linear", {"heads": 2, "seq": 300, "head_dim": 32, "causal": True}),
    ("simplicial-2", "triton-simplicial", {"heads": 4, "kv_heads": 1, "seq": 60, "head_dim": 32, "causal": True,
                                           "window1": 32, "window2": 8}),
]  # fmt: skip
TASK = Task.make("mha", "h100", "triton-flash", heads=2, seq=130, head_dim=32, causal=True)
CONFIG = Config((64,), (32,), warps=4, stages=2)


@functools.cache
def opened() -> Interpret:
    device = open_device("interpret")
    assert isinstance(device, Interpret)
    return device


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    opened().close()


@pytest.mark.parametrize(("variant", "kernel", "arguments"), CASES)
def test_every_family_is_correct(variant: str, kernel: str, arguments: dict[str, Any]) -> None:
    task = Task.make(variant, "h100", kernel, **arguments)
    config = next(c for c in opened().space(task).configs if not c.tma)
    found = opened().measure(task, config, 120)
    assert (found.outcome, found.reason) == ("correct", "")
    assert (found.seconds, opened().timed) == ((), False)
    assert Measurement.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_bytes_and_products_are_counted() -> None:
    """Two products for every tile that the mask touches; Q and O once."""
    found = opened().measure(TASK, CONFIG, 120)
    tiles = 2 * sum(-(-min(64 * (i + 1), 130) // 32) for i in range(3))
    assert found.conditions["dot_flops"] == tiles * 2 * 2 * 64 * 32 * 32
    assert found.conditions["store_bytes"] == 2 * 130 * 32 * 2


@pytest.mark.parametrize(("variant", "kernel", "arguments"), CASES)
def test_errors_are_found(variant: str, kernel: str, arguments: dict[str, Any]) -> None:
    """A right output with a row three tenths too large is wrong, and so is one that is not a number."""
    task = Task.make(variant, "h100", kernel, **arguments)
    config = next(c for c in Space.of(task).configs if not c.tma)
    with counting():
        runs = KernelRuns(task, "cpu")
    with counting():
        outputs = runs.plan(config, runs.checked).run()
    assert runs.wrong(outputs) is None
    for name, checks in runs.expected.items():
        for check in checks:
            changed = outputs[name].clone()
            part = check.part(changed)
            row = part.double().abs().amax(-1).flatten().argmax()
            worse = part.clone().flatten(0, -2)
            worse[row] = (worse[row].double() * 1.3).to(worse.dtype)
            assert check.error(put(check, changed, worse.view_as(part))) > check.budget, name
            not_numbers = changed.clone()
            not_numbers.view(torch.uint8).fill_(0xFF)
            assert check.error(not_numbers) == float("inf")


def put(check: correctness.Expected, whole: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
    """The tensor with another part: the part of its places says where."""
    places = check.part(torch.arange(whole.numel()).view(whole.shape))
    flat = whole.flatten()
    flat[places.flatten()] = part.flatten()
    return flat.view(whole.shape)


def test_a_wrong_answer_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that divides by something else, in this process."""
    monkeypatch.setattr(KernelRuns, "options", lambda self, plan, **wanted: {"scale": 0.5})
    found = interpret.interpret(TASK, CONFIG)
    assert found["outcome"] == "wrong answer"
    assert "o: error" in found["reason"]
    assert "allowed" in found["reason"]


def test_what_cannot_run_is_an_outcome() -> None:
    assert opened().measure(TASK, replace(CONFIG, warps=3), 10).outcome == "invalid"
    assert opened().measure(TASK, replace(CONFIG, stages=8, key=(128,), query=(128,), warps=8), 10).outcome == "correct"
    broken = interpret.interpret(TASK, replace(CONFIG, query=(48,)))
    assert broken["outcome"] == "invalid"
    assert broken["reason"]


def test_a_hang_costs_only_itself() -> None:
    assert opened().measure(replace(TASK, sizes={**TASK.sizes, "seq": 1024}), CONFIG, 0.2).outcome == "timeout"
    assert opened().measure(TASK, CONFIG, 120).outcome == "correct"


def test_large_problems_are_refused_with_what_is_allowed() -> None:
    large = Task.make("mha", "h100", "triton-flash", heads=32, seq=8192)
    with pytest.raises(InputError, match=r"2\.1e\+09; the interpreter takes up to 4\.2e\+06, such as .* 1024 tokens"):
        opened().space(large)
    refused = opened().measure(large, CONFIG, 10)
    assert (refused.outcome, "1024 tokens" in refused.reason) == ("invalid", True)
    assert interpret.too_large(Task.make("mha", "h100", "triton-flash", heads=2, seq=1024)) is None


def test_unknown_chips() -> None:
    with pytest.raises(InputError, match="did you mean 'h100'"):
        open_device("interpret:h10")
    assert open_device("interpret:a100").hardware == "a100"
