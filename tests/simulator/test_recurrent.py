"""Published kernels of recurrences: which run what, and how their schedule moves with chunks, heads and states."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnsim import InputError, Problem, predict, variants
from attnsim.simulator import implementations
from attnsim.simulator.api import load_hardware
from attnsim.simulator.bounds import floor
from attnsim.simulator.counts import counts
from attnsim.simulator.pipeline import mechanism
from attnsim.simulator.variants import parse_value

MEASURED = Path(__file__).parents[2] / "benchmarks" / "measured" / "published_recurrent.csv"


def time_of(variant: str, implementation: str, **sizes: Any) -> float:
    given = {"hardware": "h100", "batch": 4, "heads": 32, "head_dim": 128, "cache": "warm"} | sizes
    seconds = predict(variant, implementation=implementation, **given).time_s
    assert seconds is not None
    return seconds


def test_mechanisms_are_told_apart() -> None:
    found = {}
    for name in ("linear-attention", "lightning", "gated-deltanet", "log-linear", "kda", "mamba2"):
        variant = variants.make(name)
        graph = variant.graph(variant.prepare(Problem.make(seq=256, heads=4, head_dim=64, causal=True)))
        found[name] = mechanism(graph.parts[0])
    assert found == {
        "linear-attention": "other", "lightning": "other", "gated-deltanet": "gated delta rule", "log-linear": "other",
        "kda": "kimi delta", "mamba2": "ssd",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("variant", "implementation", "sizes", "why"),
    [
        ("gated-deltanet", "fla-kda", {"seq": 512}, "kimi delta alone"),
        ("kda", "fla-gdn", {"seq": 512}, "gated delta rule alone"),
        ("kda", "triton-linear", {"seq": 512}, "no decays of channels"),
        ("kda", "flash-kda", {"seq": 512}, "chunks of 16 tokens"),
        ("kda", "fla-packed-decode", {"seq": 512}, "one new token"),
        ("gated-deltanet", "flashinfer-gdn", {"seq": 512, "head_dim": 64}, "head_dim 128"),
        ("gated-deltanet", "flashinfer-gdn", {"seq": 512, "hardware": "a100"}, "ampere"),
    ],
)  # fmt: skip
def test_kernels_refuse_what_they_do_not_run(
    variant: str, implementation: str, sizes: dict[str, Any], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        time_of(variant, implementation, **sizes)


def test_one_block_a_head_runs_in_waves() -> None:
    """FlashInfer keeps a head on a compute unit: up to one head a unit is as fast as one, the next costs it again."""
    units = load_hardware("h100").sm_count
    one, full, next_wave = (
        time_of("gated-deltanet", "flashinfer-gdn", batch=1, heads=n, kv_heads=1, seq=8192, grouped_values=True)
        for n in (1, units, units + 1)
    )
    assert full < 1.2 * one
    assert 1.8 * one < next_wave < 2.4 * one


def test_chunks_in_parallel_fill_the_chip_but_states_wait_for_each_other() -> None:
    short, long = (time_of("kda", "fla-kda", batch=1, heads=1, seq=n) for n in (64, 64 * 64))
    chain = load_hardware("h100").clock_sustained_hz
    assert chain is not None
    constants = predict("kda", hardware="h100", implementation="fla-kda", seq=64, head_dim=128).chosen.constants
    assert constants is not None
    assert long - short == pytest.approx(63 * constants.serial_clocks / chain, rel=0.1)


def test_states_that_fit_the_cache_stay_there() -> None:
    few, many = ({"batch": n, "heads": 32, "seq": 1, "kv_len": 9} for n in (12, 64))
    assert time_of("kda", "fla-packed-decode", **few) < 0.8 * time_of("kda", "fla-packed-decode", cache="cold", **few)
    warm, cold = (time_of("kda", "fla-packed-decode", **(many | {"cache": c})) for c in ("warm", "cold"))
    assert warm == pytest.approx(cold, rel=0.02)


@pytest.mark.parametrize("share", [0.4, 0.9, 1.5])
def test_the_warm_floor_lets_a_cached_state_be_rewritten(share: float) -> None:
    """A state within the cache need neither come from memory nor go there; beyond, only what does not fit."""
    hardware = load_hardware("h100")
    assert hardware.l2_bytes
    assert hardware.hbm_bandwidth_bytes_per_s
    batch = round(share * hardware.l2_bytes / (128 * 128 * 4))
    variant = variants.make("gated-deltanet")
    problem = variant.prepare(Problem.make(batch=batch, heads=1, seq=1, kv_len=2, head_dim=128))
    bound = floor(counts(variant.graph(problem)), hardware, "warm")
    assert bound is not None
    seconds = max(2 * (share - 1), 0.0) * hardware.l2_bytes / hardware.hbm_bandwidth_bytes_per_s
    assert bound.units[3] == pytest.approx(seconds, rel=0.05, abs=2e-7)


def test_grouped_values_share_q_and_k() -> None:
    problem = Problem.make(batch=2, heads=32, kv_heads=8, seq=4096, head_dim=128, causal=True)
    alone, grouped = (
        counts(variants.make("gated-deltanet", {"grouped_values": g}).graph(problem)) for g in (False, True)
    )
    assert alone.hbm_bytes - grouped.hbm_bytes == 2 * 2 * (32 - 8) * 4096 * 128 * 2
    assert alone.matrix_flops == grouped.matrix_flops


def test_scores_of_a_group_are_computed_once() -> None:
    problems = (Problem.make(heads=32, kv_heads=g, seq=1024, head_dim=128, v_dim=64, causal=True) for g in (32, 4))
    each, once = (counts(variants.make("mamba2").graph(p)).matrix_flops for p in problems)
    assert each - once == 2 * (32 - 4) * 1024 * 256 * 128


def test_published_times_are_close() -> None:
    """Rows of other boards, versions and authors than the constants were fitted on (H20, GB200)."""
    errors: dict[str, list[float]] = {}
    for row in csv.DictReader(MEASURED.read_text(encoding="utf-8").splitlines()):
        given = {n: parse_value(v) for n, v in (pair.split("=") for pair in row["parameters"].split(";") if pair)}
        seconds = time_of(
            row["variant"], row["implementation"], hardware=row["chip"], batch=int(row["batch"]), seq=int(row["shape"]),
            heads=int(row["heads"]), kv_heads=int(row["kv_heads"]), v_dim=int(row["v_dim"]), **given,
        )  # fmt: skip
        errors.setdefault(f"{row['chip']} {row['implementation']}", []).append(abs(seconds / float(row["time_s"]) - 1))
    means = {name: float(np.mean(found)) for name, found in errors.items()}
    assert len(means) == 7
    assert max(means.values()) < 0.35, means
    assert all(means[f"gb200 {name}"] < 0.08 for name in ("fla-kda", "fla-gdn-fused")), means


def test_every_published_kernel_states_its_constants() -> None:
    from attnsim.simulator.calibration import load
    from attnsim.simulator.pipeline import ChunkKernels

    ours = [i for i in map(implementations.get, implementations.names()) if isinstance(i, ChunkKernels)]
    assert len(ours) >= 9
    for kernel in ours:
        for generation in kernel.generations:
            assert load(kernel.name, generation) is not None, (kernel.name, generation)
