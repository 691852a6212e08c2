"""What launch options change: against CUDA's occupancy rules, and in the direction that physics demands."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnsim import Problem, variants
from attnsim.simulator import api, implementations, resources
from attnsim.simulator.config import Config
from attnsim.simulator.implementations.triton_other import OtherConfig
from attnsim.simulator.predict import Choice, evaluate
from attnsim.simulator.resources import resident_blocks
from attnsim.simulator.tiling import Tile

OPTIONS = st.fixed_dictionaries({
    "query": st.sampled_from((16, 32, 64, 128)), "key": st.sampled_from((16, 32, 64, 128)),
    "warps": st.sampled_from((2, 4, 8, 16)), "stages": st.integers(1, 4),
})  # fmt: skip


def time_of(chip: str, config: Tile, implementation: str = "triton-other", **sizes: object) -> tuple[float, float]:
    """(schedule, floor) in seconds."""
    variant = variants.make("mha")
    problem = variant.prepare(Problem.make(**{"seq": 4096, "heads": 16, "head_dim": 64, **sizes}))
    hardware = api.load_hardware(chip)
    found = evaluate(variant, problem, hardware, Choice(tile=config, implementation=implementation)).chosen
    assert found.time_s is not None
    assert found.bound is not None
    return float(found.time_s), float(found.bound.time_s)


@pytest.mark.parametrize(
    ("chip", "warps", "registers", "shared", "blocks"),
    [
        # NVIDIA's occupancy calculator: registers of a warp in units of 256, 1 KiB of shared memory a block reserved.
        ("a100", 4, 128, 0, 4), ("a100", 4, 129, 0, 3), ("a100", 8, 255, 0, 1), ("a100", 4, 32, 0, 16),
        ("a100", 4, 64, 82944, 2), ("a100", 4, 64, 82945, 1), ("h100", 4, 24, 0, 16), ("h100", 1, 16, 0, 32),
    ],
)  # fmt: skip
def test_blocks_on_a_unit_are_cudas(chip: str, warps: int, registers: int, shared: int, blocks: int) -> None:
    assert resident_blocks(api.load_hardware(chip), warps, registers, shared) == blocks


@given(OPTIONS, st.sampled_from(("a100", "h100", "b200", "l40s", "rtx-5090", "mi300x")))
def test_launch_options_never_undercut_the_floor(options: dict[str, int], chip: str) -> None:
    config = OtherConfig((options["query"],), (options["key"],), warps=options["warps"], stages=options["stages"])
    time_s, floor_s = time_of(chip, config)
    assert time_s >= floor_s
    assert time_s >= time_of(chip, Tile(config.query, config.key))[1]


@pytest.mark.parametrize("chip", ["a100", "h100", "rtx-4090"])
def test_warps_without_rows_repeat_work(chip: str) -> None:
    """64 rows feed four warps of older Tritons; eight take about twice as long (1.9 times on an A100)."""
    four = OtherConfig((64,), (64,), warps=4, stages=2)
    ratio = time_of(chip, replace(four, warps=8))[0] / time_of(chip, four)[0]
    assert 1.5 < ratio < 2.5


def test_spills_cost() -> None:
    """A cap of 128 registers on a tile that wants about 200 (published: 11 times as long)."""
    free = OtherConfig((128,), (128,), warps=8, stages=3)
    times = [time_of("h100", replace(free, max_registers=cap), head_dim=128)[0] for cap in (None, 224, 192, 160, 128)]
    assert times == sorted(times)
    assert times[-1] > 1.5 * times[0]


def test_a_lone_block_of_four_warps_waits() -> None:
    """More stages leave room for one block on an A100's unit (published: 1.32 times as long as with two)."""
    three = OtherConfig((64,), (128,), warps=4, stages=3)
    ratio = time_of("a100", replace(three, stages=4), causal=True)[0] / time_of("a100", three, causal=True)[0]
    assert 1.1 < ratio < 1.5


def test_splits_fill_the_chip_then_cost() -> None:
    """Few sequences: more splits until the chip is full, then each costs (published for an H100: best at 32)."""
    times = {
        splits: time_of(
            "h100", OtherConfig((16,), (64,), splits=splits), "triton-other-decode", seq=1, kv_len=32768, heads=32,
            head_dim=128,
        )[0]
        for splits in (1, 2, 4, 8, 16, 32, 64, 128)
    }  # fmt: skip
    best = min(times, key=lambda splits: times[splits])
    assert 8 <= best <= 64
    assert times[1] > 1.5 * times[best]
    assert times[128] > times[best]


def test_operands_of_a_blackwell_tile_are_fa4s() -> None:
    """FlashAttention-4 (2603.05451) counts 768 clocks of shared memory for 128 x 128 pairs of head_dim 128."""
    from attnsim.simulator.schedule.residency import OVERLAPPED, residency
    from attnsim.simulator.tiling import tile_parts

    hardware, variant = api.load_hardware("b200"), variants.make("mha")
    graph = variant.graph(Problem.make(seq=4096, head_dim=128))
    (tiled,) = tile_parts(graph, Config((128,), (128,), warps=8, stages=2), hardware)
    found = residency(implementations.get("triton-flash"), tiled, hardware)
    assert found is not None
    assert found.operand_clocks * OVERLAPPED == 768


def test_wide_results_are_rescaled_less_often_by_wide_tiles() -> None:
    narrow, wide = (Config((64,), (keys,), warps=4, stages=2) for keys in (32, 64))
    assert (
        time_of("h100", narrow, "triton-flash", head_dim=128)[0]
        > time_of("h100", wide, "triton-flash", head_dim=128)[0]
    )


def test_assumed_registers_grow_with_what_is_held() -> None:
    def of(rows: int, columns: int, threads: int) -> int:
        return resources.assumed_registers("ampere", rows, columns, 64, 64, threads, 2)

    assert of(64, 64, 128) < of(128, 64, 128)
    assert of(64, 64, 128) < of(64, 128, 128)
    assert of(128, 64, 256) == of(64, 64, 128)
