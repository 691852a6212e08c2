"""Schedules of latent and sparse attention: how kernels cut their work, against what their sources do call by call."""

from __future__ import annotations

import math

import numpy as np
import pytest

from attnsim import InputError, Problem, predict, variants
from attnsim.autotune.layers import SparseLayer
from attnsim.simulator import implementations
from attnsim.simulator.api import load_hardware
from attnsim.simulator.calibration import Constants
from attnsim.simulator.counts import counts
from attnsim.simulator.predict import Choice, evaluate
from attnsim.simulator.schedule import dsa, mla
from attnsim.simulator.tiling import Tile, TiledPart, tile_parts


def num_splits_heuristic(blocks: int, units: int, tiles: int) -> int:
    """hopper/heuristics.h of FlashAttention-3, loop for loop (a cache that fits)."""
    if blocks >= 0.8 * units or tiles <= 4:
        return 1
    most = min(128, units, tiles)
    efficiency = [0.0] * (most + 1)
    for n in range(1, most + 1):
        waves = blocks * n / units
        efficiency[n] = waves / math.ceil(waves)
    return next(n for n in range(1, most + 1) if efficiency[n] >= 0.85 * max(efficiency))


def test_splits_are_flash_attentions() -> None:
    blocks, tiles = np.meshgrid([1, 2, 3, 7, 16, 40, 66, 105, 106, 132, 500], [1, 4, 5, 16, 100, 1000])
    ours = mla.fa3_splits(blocks.astype(float), tiles.astype(float), 132)
    theirs = [num_splits_heuristic(b, 132, t) for b, t in zip(blocks.ravel(), tiles.ravel(), strict=True)]
    assert ours.ravel().tolist() == theirs


def tiled(variant: str, chip: str, kernel: str, **sizes: int) -> tuple[TiledPart, Constants]:
    """The part that attends, as a kernel tiles it."""
    hardware = load_hardware(chip)
    made = variants.make(variant, {"form": "absorbed"} if variant == "mla" else {})
    problem = made.prepare(Problem.make(causal=True, kv_heads=1, head_dim=576, v_dim=512, **sizes))
    candidate = evaluate(made, problem, hardware, Choice(kernel=implementations.get(kernel))).chosen
    part = next(p for p in candidate.parts if p.part.style == "attention")
    assert candidate.constants is not None
    return part, candidate.constants


@pytest.mark.parametrize(
    ("batch", "heads", "keys", "blocks", "splits"),
    [
        (1, 16, 131072, 148, 148),  # one block a unit
        (1, 8, 512, 4, 1),  # too short to split; the values go to four blocks
        (4, 8, 4096, 4 * 8 * 4, 8),  # 512 keys a block at least, values over four
        (64, 16, 4096, 128, 2),  # no room left for the values
        (1024, 16, 4096, 1024, 1),
        (64, 128, 65536, 128, 1),  # clusters of two for 128 heads
        (1, 128, 16384, 8 * 18, 18),  # few keys a block: the low-latency kernel, eight groups of 16 heads
        (8, 64, 131072, 8 * 18, 18),  # many keys a block: 64 heads at a time
    ],
)
def test_trtllm_gens_blocks(batch: int, heads: int, keys: int, blocks: int, splits: int) -> None:
    """computeNumCtas of fmhaKernels.h for a B200 with 148 units."""
    part, constants = tiled("mla", "b200", "trtllm-gen-mla", batch=batch, heads=heads, seq=1, kv_len=keys)
    launch = mla.STYLES["mla-gen"](part, 1000.0, 148, constants)
    assert (float(launch.blocks), float(launch.splits)) == (blocks, splits)


@pytest.mark.parametrize(
    ("batch", "splits", "turns"),
    [
        (2, 8, 1),  # 8 clusters of 8 blocks lie side by side
        (4, 8, 2),  # 16 do not, with the values over four blocks
        (16, 8, 1),  # nor here, but whole values are then merged through memory
    ],
)
def test_clusters_that_do_not_fit_take_turns(batch: int, splits: int, turns: int) -> None:
    part, constants = tiled("mla", "b200", "trtllm-gen-mla", batch=batch, heads=8, seq=1, kv_len=4096)
    launch = mla.STYLES["mla-gen"](part, 1000.0, 148, constants)
    apart = mla.STYLES["mla-gen-apart"](part, 1000.0, 148, constants)
    assert (float(launch.splits), float(launch.tiles)) == (splits, turns * float(apart.tiles))
    assert (float(launch.merging) == float(apart.merging)) == (batch == 16)


@pytest.mark.parametrize(
    ("batch", "heads", "keys", "splits", "reads"),
    [
        (1, 8, 131072, 256, 1),
        (1, 16, 2048, 64, 1),  # 32 keys at least
        (64, 16, 65536, 23, 1),  # 142 units x log2(1024), for 64 sequences
        (128, 128, 65536, 2, 8 / (142 / 128)),  # of eight groups of heads about one runs at a time
    ],
)
def test_sglangs_triton_splits_over_latents(batch: int, heads: int, keys: int, splits: int, reads: float) -> None:
    """get_num_kv_splits_triton with up to 256 splits (_mla_decode_kv_splits_cap) on an L40S."""
    part, _ = tiled("mla", "l40s", "sglang-triton-decode-latent", batch=batch, heads=heads, seq=1, kv_len=keys)
    assert part.plan is not None
    assert float(part.plan.splits) == splits
    assert float(part.plan.padding) == pytest.approx((reads - 1) * batch * keys * 576 * 2)


def test_flash_mla_shares_keys_evenly() -> None:
    """Many sequences leave no last wave: 200 of them on 132 units take 200 / 132 of one, not two."""
    part, constants = tiled("mla", "h100", "flash-mla", batch=200, heads=64, seq=1, kv_len=65536)
    launch = mla.STYLES["mla-flash"](part, 1000.0, 132, constants)
    assert float(launch.blocks) == 132
    assert float(launch.tiles) == pytest.approx(200 / 132 * 1024)


def test_scores_beyond_memory_are_cut_into_calls() -> None:
    hardware = load_hardware("h100")
    variant = variants.make("dsa", {"stage": "index"})

    def rows(batch: int, seq: int, keys: int) -> float:
        problem = variant.prepare(Problem.make(batch=batch, seq=seq, kv_len=keys, heads=64, kv_heads=1))
        parts = tile_parts(variant.graph(problem), Tile((128,), (256,), 64), hardware)
        return float(dsa.score_rows(parts[0], hardware, Constants(score_share=0.1)))

    assert rows(1, 1024, 4096) == 1024
    assert hardware.hbm_bytes is not None
    assert rows(32, 2048, 65536) == math.floor(0.1 * hardware.hbm_bytes / (32 * 65536 * 4))


@pytest.mark.parametrize("chip", ["h100", "b200"])
@pytest.mark.parametrize("sizes", [{"seq": 4096}, {"seq": 1, "kv_len": 65536, "batch": 64}, {"seq": 99, "kv_len": 600}])
def test_sparse_attention_climbs_from_its_floor(chip: str, sizes: dict[str, int]) -> None:
    ladder = predict("dsa", hardware=chip, heads=128, **sizes).to_dict()["ladder"]
    assert ladder["flops"]["time_s"] <= ladder["roofline"]["time_s"] <= ladder["tiles"]["time_s"]
    assert ladder["tiles"]["time_s"] < ladder["schedule"]["time_s"]


def test_sparse_attention_attends_to_a_fixed_number_of_keys() -> None:
    """Attention to 2048 keys stays the same per query; what the indexer adds grows with the keys (2512.02556)."""
    variant = variants.make("dsa")

    def attended(seq: int) -> float:
        problem = variant.prepare(Problem.make(seq=seq, heads=128))
        return float(variant.graph(problem).main.pairs) / seq

    assert attended(131072) == pytest.approx(2048, rel=0.01)
    assert attended(1024) == 1025 / 2


def test_sparse_attention_is_of_one_sequence_and_one_latent() -> None:
    with pytest.raises(InputError, match="documents"):
        predict("dsa", hardware="h100", documents=[100, 200], heads=8)
    with pytest.raises(InputError, match="one latent"):
        predict("dsa", hardware="h100", seq=100, heads=8, kv_heads=2)


def test_a_layer_counts_its_products() -> None:
    """DeepSeek-V3.2 on one of eight chips: 16 heads, 40 new tokens; by hand from inference/model.py."""
    layer = SparseLayer(weights="bf16")
    problem = layer.prepare(Problem.make(batch=2, seq=20, kv_len=100, heads=16, kv_heads=1))
    hidden, latents, index = 7168, 1536 + 512 + 64, 64 * 128
    weights = hidden * latents + 1536 * 16 * 192 + 16 * 128 * hidden + 16 * 512 * (128 + 128)
    weights += 1536 * index + hidden * (128 + 64)
    pairs = 2 * sum(range(81, 101))
    attention = pairs * 16 * 2 * (576 + 512)
    scores = pairs * 64 * 2 * 128
    assert counts(layer.graph(problem)).matrix_flops == 2 * 40 * weights + attention + scores
    reused = counts(SparseLayer(reuse=True).graph(problem)).matrix_flops
    assert reused == 2 * 40 * (weights - 1536 * index - hidden * (128 + 64)) + attention


def test_an_eager_layer_takes_what_its_host_needs() -> None:
    assert dsa.together([("gemm", 1e-4), ("index", 2e-4)]) == pytest.approx(3e-4)
    assert dsa.together([("gemm", 1e-4), ("host", 1e-2)]) == pytest.approx(1e-2, rel=1e-3)
    assert dsa.together([("gemm", 1e-2), ("host", 1e-4)]) == pytest.approx(1e-2, rel=1e-3)
