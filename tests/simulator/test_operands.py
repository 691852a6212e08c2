"""Where keys and values come from and how often: dropped by the L2, written in parts, read in rows out of step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from attnsim import Problem, variants
from attnsim.simulator.api import load_hardware
from attnsim.simulator.calibration import Constants
from attnsim.simulator.schedule.operands import dropped_share, operand_clocks, reread_bytes, residents
from attnsim.simulator.splitting import filling_splits
from attnsim.simulator.tiling import FlashTile, PartedTile, Tile, TiledPart, tile_attention

L40S = load_hardware("l40s")
CONSTANTS = Constants(resident=2)


def tiled(tile: Tile, chip: str = "l40s", **shape: int) -> TiledPart:
    variant = variants.make("mha", {})
    problem = Problem.make(**{"batch": 1, "heads": 8, "kv_heads": 8, "seq": 4096, "head_dim": 64, **shape})
    return tile_attention(variant.graph(variant.prepare(problem)).main, tile, load_hardware(chip))


SPREAD = FlashTile((64,), (64,), spread=True, warps=4)


def test_keys_within_the_cache_are_read_once() -> None:
    one = tiled(SPREAD, batch=8)  # 67 MB of 96 MiB
    assert reread_bytes(one, L40S, CONSTANTS) == 0
    many = tiled(SPREAD, batch=16)
    assert dropped_share(many, L40S) == 1
    assert reread_bytes(replace(many, spread=0), L40S, CONSTANTS) == 0


def test_blocks_beside_each_other_share_what_is_read_again() -> None:
    """284 blocks at a time: of 512 sequences and heads none share keys, of 64 four or five do."""
    apart, sharing = tiled(SPREAD, batch=64), tiled(SPREAD, batch=8, seq=32768)
    for one, together in ((apart, 1.0), (sharing, 284 / 64)):
        again = (one.counts.l2_bytes - one.counts.hbm_bytes) / together
        assert again < reread_bytes(one, L40S, CONSTANTS) < again / 0.8


def test_more_warps_leave_room_for_fewer_blocks() -> None:
    eight = FlashTile((64,), (64,), warps=8)
    assert residents(tiled(SPREAD), CONSTANTS) == 2 * residents(tiled(eight), CONSTANTS)
    assert residents(tiled(Tile((64,), (64,))), CONSTANTS) == 2


def test_parts_of_the_values_repeat_the_scores() -> None:
    whole, parted = (tiled(t, "b200", head_dim=512) for t in (Tile((128,), (128,)), PartedTile((128,), (128,))))
    assert parted.instances == 2 * whole.instances
    assert parted.part.width == whole.part.width / 2
    assert parted.counts.matrix_flops == pytest.approx(1.5 * whole.counts.matrix_flops)


@pytest.mark.parametrize(("head_dim", "times"), [(64, 1.0), (72, 2.0), (80, 1.0)])
def test_rows_that_are_swizzled_together_collide(head_dim: int, times: float) -> None:
    constants = Constants(unaligned_matrix=2.0, alignment_bytes=32)
    clocks = operand_clocks(
        tiled(Tile((128,), (128,)), "b200", head_dim=head_dim), 100.0, load_hardware("b200"), constants
    )
    assert clocks == 100 * times


def test_wide_heads_wait_for_shared_memory() -> None:
    """Keys and values of 128 x 512 in bf16 are written once and read once, queries are read: 5 x 128 KiB at 128 bytes a
    clock are 5120 clocks."""
    b200 = load_hardware("b200")
    constants = Constants(operand_rate=1.0)
    assert b200.smem_bytes_per_clock_per_sm == 128
    assert operand_clocks(tiled(Tile((128,), (128,)), "b200", head_dim=512), 100.0, b200, constants) == 5120
    assert operand_clocks(tiled(Tile((128,), (128,)), "b200", head_dim=512), 1e6, b200, constants) == 1e6


@pytest.mark.parametrize(
    ("query_tiles", "longest_row", "splits"), [(10, 100, 14), (10, 8, 8), (10, 4, 1), (200, 100, 1), (1, 500, 128)]
)
def test_splits_that_fill_idle_units(query_tiles: int, longest_row: int, splits: int) -> None:
    assert filling_splits(query_tiles, longest_row, 148) == (splits, int(splits > 1))
