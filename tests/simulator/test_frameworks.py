"""Calls of serving frameworks: the kernel that they run, what they add around it, the range of both."""

from __future__ import annotations

from typing import Any

import pytest

import attnsim
from attnsim.simulator.calibration import overhead
from attnsim.simulator.errors import InputError

DECODE: dict[str, Any] = {"seq": 1, "kv_len": 8192, "batch": 16, "causal": True}
CALLS: list[tuple[str, dict[str, Any], str]] = [
    ("mha", {"seq": 8192, "causal": True}, "context"), ("mha", {"seq": 1024, "head_dim": 64}, "encoder"),
    ("gqa", {**DECODE, "kv_heads": 8}, "decode"), ("mla", {**DECODE, "heads": 128}, "mla-decode"),
    ("gated-deltanet", {"seq": 4096}, "gdn-chunk"),
]  # fmt: skip


@pytest.mark.parametrize(("variant", "sizes", "operation"), CALLS)
@pytest.mark.parametrize("chip", ["h100", "h200", "b200"])
@pytest.mark.parametrize("framework", ["trtllm", "sglang"])
def test_a_framework_runs_its_own_kernels(
    variant: str, sizes: dict[str, Any], operation: str, chip: str, framework: str
) -> None:
    called = attnsim.predict(variant, chip, framework=framework, **sizes)
    alone = attnsim.predict(variant, chip, implementation=called.chosen.implementation.name, **sizes)
    known = overhead.kernels(overhead.find(framework), called.hardware.generation)
    assert called.chosen.implementation.name in known[operation]
    terms = {term.name: float(term.time_s) for term in called.terms}
    assert 5e-7 < terms["framework"] < 1e-3
    assert "launch" not in terms
    launches = sum(float(t.time_s) for t in alone.terms if t.name == "launch")
    assert called.time_s - terms["framework"] == pytest.approx(alone.time_s - launches, rel=1e-9)
    low, high = called.interval_s
    assert called.rung_time("tiles") <= low < called.time_s < high
    assert called.confidence == ("zero-shot" if chip == "h200" else "fitted")


def test_ranges_are_wider_where_nothing_was_fitted() -> None:
    def width(chip: str) -> float:
        low, high = attnsim.predict("mha", chip, seq=8192, causal=True, framework="vllm").interval_s
        return float(high / low)

    assert width("h200") > width("h100")
    assert width("l40s") > width("h200")


def test_versions_are_found_and_others_refused() -> None:
    name, version = overhead.find("vllm")
    assert overhead.find(f"{name}-{version}") == (name, version)
    with pytest.raises(InputError, match="did you mean 'sglang'"):
        attnsim.predict("mha", "h100", framework="sglan")
