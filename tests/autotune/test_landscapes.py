"""Published landscapes: what is read of them, and how well the model orders them."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnsim.autotune import landscapes
from attnsim.autotune.archives import landscapes as archive
from attnsim.autotune.archives.landscapes import config_of, dtypes_of, landscape, mask_of, read, seconds_of
from attnsim.autotune.measurement import Measurement, write
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.simulator.errors import InputError

PUBLISHED = Path(__file__).parents[2] / "benchmarks" / "measured" / "landscapes" / "published.csv"
ROW = {
    "landscape_id": "one", "chip": "NVIDIA A100-SXM4-80GB", "dtype": "fp16", "kernel": "own Triton flash fwd",
    "batch": "4", "q_heads": "16", "kv_heads": "4", "q_len": "2048", "kv_len": "2048", "qk_head_dim": "64",
    "v_head_dim": "64", "mask": "causal",
}  # fmt: skip


def one(*configs: tuple[str, str], **changes: str) -> archive.Landscape:
    """A landscape of (config, time_ms) rows."""
    return landscape("one", [ROW | changes | {"config": text, "time_ms": time} for text, time in configs])


def test_the_model_orders_published_landscapes() -> None:
    """The bars: its first choice at 90 % of the best (geometric mean), its first four at 97 %."""
    found = landscapes.records(PUBLISHED)
    means = landscapes.summary(found)
    assert means["landscapes"] == len({line.split(",")[0] for line in PUBLISHED.read_text().splitlines()[1:]})
    assert means["modelled"] >= 21
    assert means["first1"] >= 0.90
    assert means["first4"] >= 0.97
    for record in found:
        assert (record["reason"] is None) == (record["first1"] is not None)
    grid = next(record for record in found if record["landscape_id"] == "forge_a100_n2048")
    assert grid["configs"] == 36
    assert grid["kendall"] > 0.6


def test_the_order_does_not_know_the_times() -> None:
    """The same landscape with its times turned round is ordered the same."""
    for found in (x for x in read(PUBLISHED) if x.task is not None):
        worst_first = dict(zip(found.seconds, reversed(found.seconds.values()), strict=True))
        turned = archive.Landscape(found.id, found.chip, worst_first, found.task, found.configs)
        assert landscapes.model_order(found) == landscapes.model_order(turned)


@given(st.lists(st.sampled_from((1.0, 2.0, 3.0, 4.0, math.inf)), min_size=1, max_size=7))
def test_scores_are_those_of_their_definition(times: list[float]) -> None:
    seconds = dict(enumerate(times))
    if not any(map(math.isfinite, times)):
        with pytest.raises(InputError, match="no config"):
            landscapes.scores(seconds, list(seconds))
        return
    found = landscapes.scores(seconds, list(seconds))
    best = min(times)
    assert found.first == tuple(best / min(times[:k]) for k in landscapes.FIRST)
    ran = [t for t in times if math.isfinite(t)]
    pairs = list(itertools.combinations(ran, 2))
    untied = [(a, b) for a, b in pairs if a != b]
    if len(set(ran)) < 2:
        assert found.kendall is None
    else:
        tau_b = sum(1 if a < b else -1 for a, b in untied) / math.sqrt(len(pairs) * len(untied))
        assert found.kendall == pytest.approx(tau_b)


def test_an_order_must_be_of_the_same_configs() -> None:
    with pytest.raises(InputError, match="different configs"):
        landscapes.scores({"a": 1.0, "b": 2.0}, ["a"])


def test_tiles_warps_stages_and_splits_are_read() -> None:
    task = one(("BLOCK_M=64;BLOCK_N=32", "1")).task
    assert task is not None
    made = config_of("BLOCK_M=128;BLOCK_N=64;num_warps=8;num_stages=2;maxnreg=160;waves_per_eu=2;USE_TMA=True", task)
    assert (made.query, made.key, made.warps, made.stages) == ((128,), (64,), 8, 2)
    assert (made.max_registers, made.tma) == (160, True)
    assert config_of("TileShape=128x256;schedule=pingpong", task).key == (256,)
    decode = one(("KV_SPLITS=8;BLOCK_N=32;num_warps=4", "1"), q_len="1").task
    assert decode is not None
    assert decode.implementation == "triton-other-decode"
    assert config_of("KV_SPLITS=8;BLOCK_N=32", decode).splits == 8
    with pytest.raises(InputError, match="schedule=pingpong"):
        config_of("schedule=pingpong", task)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fp16", ("fp16", "fp16")), ("bf16", ("bf16", "bf16")), ("q in bf16, KV pool q8_0", ("bf16", "int8")),
        ("bf16 KV pool", ("bf16", "bf16")), ("f16 in, f32 softmax+acc", ("fp16", "fp16")),
        ("packed fp8 cache", ("bf16", "fp8")), ("unstated (FLOAT32_PRECISION tf32)", ("tf32", "tf32")),
        ("fp8 KV cache; q/compute dtype unstated", ("bf16", "fp8")), ("", ("bf16", "bf16")),
    ],
)  # fmt: skip
def test_dtypes_are_read(text: str, expected: tuple[str, str]) -> None:
    assert dtypes_of(text, []) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("causal", ("mha", {"causal": True})), ("dense", ("mha", {"causal": False})),
        ("non-causal", ("mha", {"causal": False})),
        ("prefix dense + causal inside the 8192 chunk", ("mha", {"causal": True})),
        ("causal sliding window 512", ("sliding-window", {"window": 512, "causal": True})),
        ("unstated", ("mha", {"causal": False})),
    ],
)  # fmt: skip
def test_masks_are_read(text: str, expected: object) -> None:
    assert mask_of(text, {"kv_len": 2048}, []) == expected


def test_times_that_are_words_are_failures() -> None:
    assert seconds_of("2.5") == 2.5e-3
    assert all(math.isinf(seconds_of(text)) for text in ("", "inf", "failed: LDS 98KB > 64KB", "nan", "0"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"chip": "a toaster"}, "no profile of the chip 'a toaster'"), ({"batch": "unstated"}, "batch is 'unstated'"),
        ({"qk_head_dim": ""}, "qk_head_dim is 'not stated'"),
    ],
)  # fmt: skip
def test_what_cannot_be_modelled_says_why(changes: dict[str, str], reason: str) -> None:
    found = one(("BLOCK_M=64;BLOCK_N=64", "1"), ("BLOCK_M=64;BLOCK_N=32", "2"), **changes)
    assert found.task is None
    assert found.reason == reason


def test_configs_that_do_not_fit_come_last() -> None:
    large, small = "BLOCK_M=128;BLOCK_N=128;num_warps=8;num_stages=4", "BLOCK_M=16;BLOCK_N=16;num_warps=1;num_stages=1"
    found = one((large, "inf"), (small, "9"), qk_head_dim="256", v_head_dim="256")
    assert landscapes.model_order(found)[-1].startswith("BLOCK_M=128")


def test_recordings_are_landscapes_too(tmp_path: Path) -> None:
    task = Task.make("mha", "h100", seq=2048, causal=True)
    configs = Space.of(task).configs
    ran = [Measurement(task, config, "ok", (1e-3 * (i + 1),)) for i, config in enumerate(configs[:-1])]
    write(tmp_path / "one.json", {}, [*ran, Measurement(task, configs[-1], "timeout")])
    (found,) = landscapes.records(tmp_path)
    assert found["configs"] == len(configs)
    assert found["reason"] is None
    assert 0 < found["first1"] <= found["first4"] <= 1


def test_files_that_are_no_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read(tmp_path / "absent.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="lacks landscape_id"):
        read(tmp_path / "other.csv")
    with pytest.raises(InputError, match="no recordings"):
        landscapes.read(tmp_path)
