"""How decode kernels share out their work, against loops that do as the libraries' host code does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from attnsim import Problem, predict, variants
from attnsim.simulator import implementations
from attnsim.simulator.api import load_hardware
from attnsim.simulator.implementations import SplitKV
from attnsim.simulator.splitting import SplitPlan, flash_splits, flash_varlen_splits
from attnsim.simulator.tiling import tile_attention

RANDOM = np.random.default_rng(3)
SIZES = [tuple(int(x) for x in RANDOM.integers((1, 1), (200, 400))) for _ in range(200)]
"""Items and the key tiles of each."""


def plan(name: str, chip: str, window: int | None = None, **sizes: int | str) -> SplitPlan:
    variant = variants.make("gqa") if window is None else variants.make("sliding-window", {"window": window})
    part = variant.graph(variant.prepare(Problem.make(seq=1, causal=True, **sizes))).main
    kernel, hardware = implementations.get(name), load_hardware(chip)
    assert isinstance(kernel, SplitKV)
    assert kernel.refuses(part, hardware) is None
    tile = replace(kernel.tiles(part, hardware)[0], packed_heads=kernel.packed_heads(part))
    tiled = tile_attention(part, tile, hardware)
    found = kernel.planned(tiled, hardware).plan
    assert found is not None
    return found


@pytest.mark.parametrize("uneven", [False, True])
def test_splits_are_those_of_the_heuristic(uneven: bool) -> None:
    for items, tiles in SIZES:
        best, efficiency = 1, {}
        if items < 0.8 * 132 and not (uneven and tiles <= 4):
            for n in range(1, min(128, 132, tiles) + 1):
                if not uneven and n > 1 and math.ceil(tiles / n) == math.ceil(tiles / (n - 1)):
                    continue
                rounds = items * n / 132
                efficiency[n] = rounds / math.ceil(rounds)
            best = next(n for n, share in efficiency.items() if share >= 0.85 * max(efficiency.values()))
        assert flash_splits(items, tiles, 132, 128, uneven=uneven) == best


def test_arrays_of_sizes_split_like_single_ones() -> None:
    items, tiles = (np.array(x, dtype=float) for x in zip(*SIZES, strict=True))
    for uneven in (False, True):
        together = flash_splits(items, tiles, 132, 128, uneven=uneven)
        assert together.tolist() == [flash_splits(n, k, 132, 128, uneven=uneven) for n, k in SIZES]
    planned = flash_varlen_splits(items, 8, tiles, 132, 32)
    assert planned.tolist() == [flash_varlen_splits(n, 8, k, 132, 32) for n, k in SIZES]
    assert planned.min() == 1
    assert planned.max() <= 32


def test_few_rows_of_usual_width_take_one_warpgroup() -> None:
    sizes = {"batch": 1, "heads": 8, "kv_heads": 1, "kv_len": 4096}
    whole = plan("fa3-split-kv-graph", "h100", head_dim=128, dtype="fp8_e4m3", **sizes)
    assert whole.splits == 32  # 43 tiles of 96 keys on 132 units, but a graph allows for 32
    assert whole.tiles_each == 2
    wide = plan("fa3-split-kv-graph-wide", "h100", head_dim=256, dtype="fp8_e4m3", **sizes)
    assert wide.tiles_each * wide.splits >= 4096 / 128


def test_merging_of_packed_sequences_starts_blocks_in_vain() -> None:
    sizes = {"heads": 8, "kv_heads": 1, "head_dim": 512, "kv_len": 1024}
    one, many = (plan("fa4-split-kv-graph", "h100", batch=batch, **sizes) for batch in (64, 128))
    assert many.combine_blocks == 4 * one.combine_blocks


def test_one_head_a_block_is_split_where_units_idle() -> None:
    sizes = {"heads": 64, "kv_heads": 1, "head_dim": 128}
    assert plan("trtllm-mmha", "b200", batch=1, kv_len=511, **sizes).splits == 1  # what one turn takes
    assert plan("trtllm-mmha", "b200", batch=1, kv_len=512, **sizes).splits == 2  # and the new key beside it
    assert plan("trtllm-mmha", "b200", batch=1, kv_len=1024, window=64, **sizes).tiles_each < 1
    assert plan("trtllm-mmha", "b200", batch=4, kv_len=8192, **sizes).splits == 1


@pytest.mark.parametrize(("name", "chip", "heads", "kv_heads", "head_dim", "dtype"), [
    ("fa3-split-kv", "h100", 32, 8, 128, "bf16"), ("fa3-split-kv-graph", "h100", 32, 8, 64, "fp8_e4m3"),
    ("fa3-split-kv-sm80", "a100", 32, 8, 128, "bf16"), ("fa2-split-kv", "a100", 32, 8, 128, "bf16"),
    ("fa4-split-kv-graph", "h100", 8, 1, 512, "bf16"), ("trtllm-xqa", "h100", 64, 8, 128, "fp8_e4m3"),
    ("trtllm-mmha", "b200", 64, 1, 128, "bf16"), ("trtllm-gen-decode", "b200", 64, 8, 128, "fp8_e4m3"),
    ("trtllm-gen-decode-wide", "b200", 64, 1, 256, "bf16"),
    ("sglang-triton-decode", "l40s", 32, 8, 64, "bf16"), ("sglang-triton-decode-lone", "b200", 8, 8, 256, "bf16"),
    ("vllm-triton-decode", "b200", 32, 8, 128, "fp8_e4m3"), ("flashinfer-decode", "b200", 32, 4, 128, "bf16"),
])  # fmt: skip
def test_the_schedule_is_no_faster_than_the_floor(
    name: str, chip: str, heads: int, kv_heads: int, head_dim: int, dtype: str
) -> None:
    sizes = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "dtype": dtype, "seq": 1}
    last = 0.0
    for kv_len in (16, 1024, 32768):
        found = predict("gqa", hardware=chip, implementation=name, batch=64, kv_len=kv_len, **sizes).to_dict()["ladder"]
        assert found["schedule"]["time_s"] >= found["tiles"]["time_s"]
        assert found["schedule"]["time_s"] > last
        last = found["schedule"]["time_s"]
