"""The compiler as a device, how many blocks a compute unit holds, and the order by what the compiler says."""

from __future__ import annotations

import functools
import os
import pickle
import time
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("triton")
pytest.importorskip("pebble")

from attnsim.autotune import rank as ranking
from attnsim.autotune.devices import offline, open_device
from attnsim.autotune.isolated import Isolated
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.rank import Ranked, rank, rerank
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.simulator import api
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError
from attnsim.simulator.resources import resident_blocks
from attnsim.simulator.tiling import Tile

TASK = Task.make("mha", "h100", "triton-flash", heads=8, seq=4096, head_dim=64, causal=True)
LARGE = Config((128,), (128,), warps=8, stages=2)
SMALL = Config((64,), (32,), warps=4, stages=3)
TOO_LARGE = Config((128,), (128,), warps=8, stages=8)
ODD = Config((128,), (64,), warps=3, stages=2)


@functools.cache
def compiled() -> tuple[Measurement, ...]:
    """Two legal configs among two that are not, by two processes."""
    return tuple(offline.compile_configs(TASK, [LARGE, TOO_LARGE, ODD, SMALL], workers=2))


def test_a_config_is_compiled_for_the_chip() -> None:
    large, _, _, small = compiled()
    for one in (large, small):
        assert one.outcome == "compiled", one.reason
        assert (one.spill_bytes, one.seconds) == (0, ())
        assert one.compile_s is not None
        assert one.compile_s > 0
        assert one.conditions["target"] == "sm_90"
        assert Measurement.from_dict(one.to_dict()).to_dict() == one.to_dict()
    assert large.registers is not None
    assert small.registers is not None
    assert large.registers > small.registers > 32
    # Q once; K and V for every stage: bytes of 16 bits.
    assert large.shared_memory_bytes == (128 + 2 * 2 * 128) * 64 * 2


def test_the_main_loop_does_what_a_tile_takes() -> None:
    for one in (compiled()[0], compiled()[3]):
        assert isinstance(one.config, Config)
        rows, columns = one.config.query[0], one.config.key[0]
        (kernel,) = one.conditions["kernels"]
        loop = kernel["main_loop"]
        assert loop["matrix_flops"] == 2 * 2 * rows * columns * 64
        assert rows * columns < loop["exponentials"] < rows * columns * 1.2
        assert loop["counts"]["fma"] * 32 * one.config.warps >= rows * columns
        blocks = resident_blocks(TASK.chip, one.config.warps, one.registers, one.shared_memory_bytes)
        assert kernel["resident_blocks"] == blocks


def test_what_cannot_fit_is_never_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiler(*_: Any, **__: Any) -> Any:
        raise AssertionError("the compiler was called")

    monkeypatch.setattr(Isolated, "run", compiler)
    with open_device("offline:h100") as device:
        for config, outcome, words in ((TOO_LARGE, "out of resources", "shared memory"), (ODD, "invalid", "3 warps")):
            for one in (device.measure(TASK, config, 10), *offline.compile_configs(TASK, [config])):
                assert (one.outcome, one.compile_s) == (outcome, None)
                assert words in one.reason
        with pytest.raises(AssertionError):
            device.measure(TASK, SMALL, 10)


def crash(task: Task, config: Tile, target: str) -> Any:
    """In place of the compiler."""
    os.abort()


def hang(task: Task, config: Tile, target: str) -> Any:
    time.sleep(60)


def fail(task: Task, config: Tile, target: str) -> Any:
    return "failed to compile", "CompileError: no", (), 0.5


@pytest.mark.parametrize(
    ("compiler", "outcome", "words"),
    [(crash, "failed to compile", "crashed on 64/32"), (hang, "timeout", "no result within 2 s"),
     (fail, "failed to compile", "CompileError: no")],
)  # fmt: skip
def test_whatever_becomes_of_the_compiler_is_an_outcome(
    monkeypatch: pytest.MonkeyPatch, compiler: Any, outcome: str, words: str
) -> None:
    monkeypatch.setattr(offline, "compile_task", compiler)
    found = offline.compile_configs(TASK, [SMALL, LARGE], workers=1, time_limit_s=2)
    assert [one.outcome for one in found] == [outcome, outcome]
    assert words in found[0].reason
    assert found[0].registers is None


def test_a_plan_that_cannot_be_made_is_an_outcome() -> None:
    blocks = Task.make("moba", "h100", heads=2, seq=1024, head_dim=64, causal=True, block=256)
    outcome, reason, resources, _ = offline.compile_task(blocks, Space.of(blocks).default, "sm_90")
    assert (outcome, resources) == ("invalid", ())
    assert "compiled as block-mask" in reason


def test_what_the_compiler_took_is_held_against_the_chip() -> None:
    from attnsim.kernels.resources import Resources

    one = Resources("forward", "sm_100", 8, 2, 200, 0, 100_000, 512, ())
    b200, a100 = api.load_hardware("b200"), api.load_hardware("a100")
    assert offline.exceeded(b200, [one]) is None
    assert "tensor memory" in (offline.exceeded(b200, [one, replace(one, tensor_memory_columns=516)]) or "")
    refusal = offline.exceeded(a100, [replace(one, shared_memory_bytes=200_000)])
    assert refusal == "forward needs 200,000 bytes of shared memory a block; a100 has 166,912"


@pytest.mark.parametrize(
    ("name", "words"),
    [("h10", ("h10", "did you mean", "h100")), ("tpu-v4", ("tpu-v4", "sm_90 (h100)", "gfx942 (mi300x)")),
     ("cpu", ("cpu", "allowed")), ("", ("offline:b200", "sm_100"))],
)  # fmt: skip
def test_chips_that_nothing_is_compiled_for(name: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as error:
        open_device(f"offline:{name}")
    for word in words:
        assert word in str(error.value)


def test_a_device_can_be_sent_to_another_process() -> None:
    with open_device("offline:b200") as device:
        copy = pickle.loads(pickle.dumps(device))
        assert (copy.name, copy.hardware, copy.timed) == ("offline:b200", "b200", False)
        assert device.finalists(TASK, [SMALL]) == []
        assert device.space(TASK) == Space.of(TASK)


@pytest.mark.parametrize(
    ("chip", "warps", "registers", "shared", "blocks"),
    [
        # CUDA's occupancy calculator: warps and threads
        ("h100", 4, 32, 0, 16), ("h100", 1, 16, 0, 32), ("h100", 8, 16, 0, 8), ("rtx-4090", 4, 32, 0, 12),
        # 65,536 registers in four quarters; a warp takes multiples of 256
        ("h100", 8, 255, 0, 1), ("h100", 4, 255, 0, 2), ("h100", 8, 128, 0, 2), ("h100", 8, 129, 0, 1),
        ("h100", 4, 168, 0, 3), ("h100", 4, 169, 0, 2), ("h100", 2, 200, 0, 4), ("h100", 1, 200, 0, 8),
        # 228 KiB a unit, of which every block takes 1 KiB besides its own; 100 KiB on Ada
        ("h100", 4, 32, 75 * 1024, 3), ("h100", 4, 32, 76 * 1024, 2), ("h100", 8, 64, 227 * 1024, 1),
        ("rtx-4090", 4, 64, 49 * 1024, 2), ("rtx-4090", 4, 64, 50 * 1024, 1),
        # whatever the estimates say, a kernel that runs has a block
        ("h100", 32, 255, 0, 1),
    ],
)  # fmt: skip
def test_resident_blocks_follow_the_occupancy_rules(
    chip: str, warps: int, registers: int, shared: int, blocks: int
) -> None:
    assert resident_blocks(api.load_hardware(chip), warps, registers, shared) == blocks


RANKED = rank(TASK, [LARGE, SMALL, Config((64,), (64,), warps=4, stages=3), Config((64,), (64,), warps=4, stages=2)])
CONFIGS = [one.config for one in RANKED]


def result(config: Tile, outcome: str = "compiled", spills: int = 0, **kernel: Any) -> Measurement:
    """As the compiler would have said it, by the kernel's own estimates."""
    registers, shared = TASK.kernel.registers, TASK.kernel.shared_memory_bytes  # type: ignore[attr-defined]
    found: dict[str, Any] = {"registers": registers(TASK.part, TASK.chip, config),
             "shared_memory_bytes": shared(TASK.part, TASK.chip, config)} | kernel  # fmt: skip
    facts = {} if "loop" not in found else {"kernels": [{"main_loop": found.pop("loop"), "warps": 4}]}
    if outcome != "compiled":
        return Measurement(TASK, config, outcome)
    return Measurement(TASK, config, outcome, spill_bytes=spills, conditions=facts, **found)


def loop(config: Tile, times: float = 1.0, unrolled: int = 1) -> dict[str, Any]:
    """A loop that executes so many times 4 vector instructions a pair, in the 128 lanes of a block, and its exps."""
    pairs = config.query[0] * config.key[0] * unrolled
    return {"matrix_flops": 4 * pairs * 64, "exponentials": int(pairs * times),
            "counts": {kind: int(pairs * times) // 128 for kind in ("fma", "add", "mul", "max")}}  # fmt: skip


def predicted(found: list[Ranked], config: Tile) -> float:
    value = next(one.predicted_s for one in found if one.config == config)
    assert value is not None
    return value


def test_estimates_that_the_compiler_confirms_change_nothing() -> None:
    assert rerank(TASK, RANKED, [result(config) for config in CONFIGS]) == RANKED
    assert rerank(TASK, RANKED, []) == RANKED


@pytest.mark.parametrize("outcome", ["failed to compile", "out of resources", "timeout", "invalid"])
def test_failures_are_left_out(outcome: str) -> None:
    found = rerank(TASK, RANKED, [result(CONFIGS[0], outcome), result(CONFIGS[1])])
    assert [one.config for one in found] == CONFIGS[1:]


def test_what_spills_comes_last_the_least_first() -> None:
    found = rerank(TASK, RANKED, [result(CONFIGS[0], spills=64), result(CONFIGS[1], spills=8)])
    assert [one.config for one in found] == [*CONFIGS[2:], CONFIGS[1], CONFIGS[0]]


def test_fewer_blocks_than_assumed_take_longer() -> None:
    """A tile of 64 x 64 with 4 warps: blocks share a unit; with the shared memory of a whole one they do not."""
    config = Config((64,), (64,), warps=4, stages=3)
    alone = rerank(TASK, RANKED, [result(config, shared_memory_bytes=220_000)])
    assert predicted(alone, config) > 1.05 * predicted(RANKED, config)
    others = [one for one in alone if one.config != config]
    assert others == [one for one in RANKED if one.config != config]
    # As many registers as a thread may have, for each of two blocks: no more than two fit.
    crowded = rerank(TASK, RANKED, [result(config, registers=255)])
    assert predicted(crowded, config) > predicted(RANKED, config)


def test_more_instructions_than_the_leanest_take_longer() -> None:
    lean, other = CONFIGS[0], CONFIGS[1]
    model = rerank(TASK, RANKED, [result(c, loop=loop(c)) for c in (lean, other)])
    twice = rerank(TASK, RANKED, [result(lean, loop=loop(lean)), result(other, loop=loop(other, 2.0))])
    assert predicted(twice, lean) == predicted(model, lean)
    # All of softmax is twice as long, and the matrix work is not.
    assert 1.1 < predicted(twice, other) / predicted(model, other) < 2.0
    unrolled = rerank(TASK, RANKED, [result(lean, loop=loop(lean)), result(other, loop=loop(other, 1.0, unrolled=4))])
    assert predicted(unrolled, other) == pytest.approx(predicted(model, other))


def test_a_memory_bound_kernel_hides_more_of_its_instructions() -> None:
    """Decoding waits for its keys: 1.5 times the softmax costs less than in a prefill."""
    task = Task.make("gqa", "h100", "triton-decode", batch=32, heads=64, kv_heads=8, head_dim=128, seq=1, kv_len=8192)

    def growth(task: Task) -> float:
        ranked = rank(task, Space.of(task).configs)
        first, last = ranked[0], ranked[-1]

        def compiled(times: float) -> list[Measurement]:
            return [
                Measurement(task, one.config, "compiled", registers=100, spill_bytes=0, shared_memory_bytes=60_000,
                            conditions={"kernels": [{"main_loop": loop(one.config, each), "warps": 4}]})
                for one, each in ((first, times), (last, 0.1))
            ]  # fmt: skip

        # Both in the same ratio to the leanest, which is the last.
        return predicted(rerank(task, ranked, compiled(1.5)), first.config) / predicted(
            rerank(task, ranked, compiled(1.0)), first.config
        )

    assert 1 <= growth(task) < growth(TASK)


def test_real_configs_again() -> None:
    """The model counts the instructions of its own kernels: real loops leave their order and their times."""
    ranked = rank(TASK, [LARGE, SMALL])
    again = rerank(TASK, ranked, [compiled()[0], compiled()[3]])
    assert {one.config for one in again} == {LARGE, SMALL}
    for one in (LARGE, SMALL):
        assert predicted(again, one) == pytest.approx(predicted(ranked, one), rel=0.15)
    excess = [ranking.excess_of(TASK, ranking.evaluated(TASK, m.config, TASK.kernel), m) for m in compiled()[::3]]
    assert all(e is not None and 0.7 < e < 1.6 for e in excess)
