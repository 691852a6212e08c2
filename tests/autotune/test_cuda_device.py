"""The cuda device on a GPU that is none (fake_gpu.py), its calls of torch.cuda one by one, and, where there is a GPU,
the real thing: `TRITON_INTERPRET=0 pytest tests/autotune/test_cuda_device.py`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("triton")
pytest.importorskip("pebble")

import fake_gpu
import torch
from fake_gpu import CRASH, HANG, LOST, LOST_LATER, NO_CODE, NO_ROOM, WRONG, FakeGpu

from attnsim.autotune import gpu
from attnsim.autotune.devices import cuda, open_device
from attnsim.autotune.devices.cuda import Cuda
from attnsim.autotune.measurement import Measurement
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.kernels.launch import Launch
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError


def task_of(seq: int) -> Task:
    """Tasks with other lengths share nothing."""
    return Task.make("mha", "h100", "triton-flash", heads=2, seq=seq, head_dim=32, causal=True, dtype="fp16")


TASK = task_of(130)
FAST = Config((128,), (64,), warps=8, stages=2)
SAME = replace(FAST, stages=3)
MIDDLE = Config((64,), (64,), warps=4, stages=2)
SLOW = Config((32,), (32,), warps=4, stages=2)
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def device() -> Iterator[Cuda]:
    """One for all tests: its process is kept."""
    with Cuda("cuda", "h100", fake_gpu.ENVIRONMENT, FakeGpu) as made:
        yield made


def test_a_config_is_checked_and_timed(device: Cuda) -> None:
    found = device.measure(TASK, MIDDLE, LIMIT_S)
    assert (found.outcome, found.reason, found.flags) == ("ok", "", ())
    assert found.seconds == pytest.approx([1e-3] * 15)
    assert (found.registers, found.spill_bytes, found.shared_memory_bytes) == (128, 0, 64 * 1024)
    assert found.compile_s is not None
    assert found.measure_s is not None
    assert found.measure_s > 0.1  # the seconds of the GPU count
    # 3 inputs of 2 heads x 130 tokens x 32 columns x 2 bytes: three times the L2 is four of those.
    assert found.conditions["input_sets"] == -(-3 * 50_000 // (3 * 2 * 130 * 32 * 2))
    assert found.conditions["device"] == "NVIDIA H100 80GB HBM3"
    assert found.conditions["calls"] == 20
    assert found.conditions["timed_by"] == "fake"
    assert {"clock_sm_hz", "temperature_c", "power_w", "driver"} <= found.conditions.keys()
    assert Measurement.from_dict(found.to_dict()).to_dict() == found.to_dict()


def test_equal_binaries_are_timed_once(device: Cuda) -> None:
    task = task_of(131)
    first, second = device.measure(task, FAST, LIMIT_S), device.measure(task, SAME, LIMIT_S)
    assert second.outcome == "ok"
    assert second.seconds == first.seconds
    assert second.flags == (f"same binary as {FAST}",)
    assert "calls" not in second.conditions
    other = device.measure(task, replace(FAST, warps=16), LIMIT_S)
    assert not any(flag.startswith("same") for flag in other.flags)


def test_the_same_binary_with_another_launch_is_another_kernel() -> None:
    """Splits change the grid of a decode kernel, and tiles the lists of a sparse one."""
    built = [gpu.Built("code", 1, 0, 0)]
    tensor = torch.zeros(3, 4)

    def name(config: Config, grid: tuple[int, ...] = (4,), **arguments: Any) -> str:
        launch = Launch(None, grid, {"q": tensor, "queries": 7, **arguments}, {})
        return cuda.launched(SimpleNamespace(launches=[launch]), built, config)  # type: ignore[arg-type]

    same = name(FAST)
    assert name(SAME) == name(replace(FAST, tma=True)) == name(FAST, q=tensor + 1) == same
    others = (name(replace(FAST, splits=2)), name(FAST, grid=(8,)), name(FAST, queries=8), name(FAST, q=tensor.T))
    assert len({same, *others}) == 5


def test_hopeless_configs_are_stopped_early_and_not_taken_for_others(device: Cuda) -> None:
    task = task_of(132)
    assert device.measure(task, FAST, LIMIT_S).seconds == pytest.approx([5e-4] * 15)
    slow = device.measure(task, SLOW, LIMIT_S)
    assert (slow.outcome, slow.flags, slow.seconds) == ("ok", ("stopped early",), pytest.approx((4e-3,)))
    again = device.measure(task, replace(SLOW, stages=3), LIMIT_S)
    assert again.flags == ("stopped early",)


@pytest.mark.parametrize(
    ("config", "outcome", "words"),
    [
        (NO_ROOM, "out of resources", "Required: 300000"), (NO_CODE, "failed to compile", "PTXASError"),
        (WRONG, "wrong answer", "o: error 1.0"), (LOST, "invalid", "illegal memory access"),
        (CRASH, "invalid", "ended with exit code"), (LOST_LATER, "invalid", "illegal memory access"),
        (replace(FAST, stages=8, key=(128,), query=(256,), warps=16, packed_heads=3), "invalid", "packed heads"),
    ],
)  # fmt: skip
def test_whatever_goes_wrong_is_an_outcome_and_costs_nothing_else(
    device: Cuda, config: Config, outcome: str, words: str
) -> None:
    found = device.measure(TASK, config, LIMIT_S)
    assert (found.outcome, found.seconds) == (outcome, ())
    assert words in found.reason
    assert "\n" not in found.reason
    right = device.measure(TASK, MIDDLE, LIMIT_S)
    assert right.outcome == "ok"


def test_a_process_that_lost_its_gpu_or_hangs_is_replaced() -> None:
    with Cuda("cuda", "h100", fake_gpu.ENVIRONMENT, FakeGpu) as device:
        first = device.measure(TASK, MIDDLE, LIMIT_S).conditions["pid"]
        assert device.measure(TASK, WRONG, LIMIT_S).outcome == "wrong answer"
        assert device.measure(TASK, FAST, LIMIT_S).conditions["pid"] == first
        found = device.measure(TASK, HANG, 1.0)  # setting up is not part of the limit
        assert (found.outcome, found.reason) == ("timeout", "no result within 1 s")
        second = device.measure(TASK, SLOW, LIMIT_S).conditions["pid"]
        assert device.measure(TASK, LOST, LIMIT_S).outcome == "invalid"
        third = device.measure(TASK, replace(SLOW, stages=3), LIMIT_S).conditions["pid"]
        assert len({first, second, third}) == 3


def test_finalists_are_timed_in_rotation(device: Cuda) -> None:
    device.measure(TASK, FAST, LIMIT_S)
    found = device.finalists(TASK, [FAST, MIDDLE, SAME, WRONG])
    assert [one.config for one in found] == [FAST, MIDDLE, SAME, WRONG]
    assert [one.outcome for one in found] == ["ok", "ok", "ok", "wrong answer"]
    assert found[2].flags == ()  # timed again, though its binary is known
    assert found[0].seconds == pytest.approx([5e-4] * 15)
    assert [one.outcome for one in device.finalists(TASK, [FAST, LOST, MIDDLE])] == ["invalid"] * 3


def test_another_task_is_set_up(device: Cuda) -> None:
    backward = Task.make("mha", "h100", "triton-flash", heads=2, seq=70, head_dim=32, causal=True, dtype="fp16",
                         direction="backward")  # fmt: skip
    found = device.measure(backward, Space.of(backward).default, LIMIT_S)
    assert (found.outcome, found.reason) == ("ok", "")


def test_a_device_can_be_sent_to_another_process(device: Cuda) -> None:
    device.measure(TASK, MIDDLE, LIMIT_S)
    copy = pickle.loads(pickle.dumps(device))
    with copy:
        assert copy.measure(TASK, WRONG, LIMIT_S).outcome == "wrong answer"
    assert (copy.name, copy.hardware) == ("cuda", "h100")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("name", "words"),
    [("cuda", ("no GPU here", "--device cpu", "offline:<chip>", "replay:<file>")),
     ("cuda:3", ("none of number 3",)), ("cuda:one", ("cuda:one is no GPU", "allowed"))],
)  # fmt: skip
def test_without_a_gpu(name: str, words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as error:
        open_device(name)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_visible_gpus_are_counted_as_cuda_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-aa")
    assert cuda.environment_of("1")["CUDA_VISIBLE_DEVICES"] == "GPU-aa"
    assert "CUDA_VISIBLE_DEVICES" not in cuda.environment_of("")
    with pytest.raises(InputError, match="0 to 1, as CUDA_VISIBLE_DEVICES has it"):
        cuda.environment_of("2")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert cuda.environment_of("2") == {"TRITON_INTERPRET": None, "CUDA_VISIBLE_DEVICES": "2"}


def test_the_profile_is_that_of_the_chip_or_its_calibrated_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:  # fmt: skip
    monkeypatch.setenv("ATTNSIM_PROFILE_CUDA", str(tmp_path / "cuda.toml"))
    assert cuda.profile_for("NVIDIA H100 80GB HBM3") == "h100"
    (tmp_path / "cuda.toml").write_text('format = 1\ninherits = "h100"\n')
    assert cuda.profile_for("NVIDIA H100 80GB HBM3") == str(tmp_path / "cuda.toml")
    assert cuda.profile_for("NVIDIA B200") == "b200"
    with pytest.raises(InputError, match="GeForce 256"):
        cuda.profile_for("NVIDIA GeForce 256")


@dataclass
class FakeCuda:
    """torch.cuda: what is called, in order; a GPU on which a call takes a millisecond and starting one 10 us."""

    log: list[str] = field(default_factory=list)
    now_s: float = 0.0
    slept: list[int] = field(default_factory=list)
    captured: list[int] | None = None
    calls: list[int] = field(default_factory=list)
    call_s: float = 1e-3
    refuses_graphs: bool = False

    def call(self, n: int) -> None:
        if self.captured is not None:
            self.captured.append(n)
            return
        self.calls.append(n)
        self.now_s += self.call_s

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self) -> None:
                self.at_s = fake.now_s
                fake.log.append("record")

            def elapsed_time(self, end: Any) -> float:
                assert fake.log[-1] == "synchronize"
                return float(end.at_s - self.at_s) * 1e3

        class Graph:
            calls = 0

            def replay(self) -> None:
                fake.now_s += self.calls * fake.call_s
                fake.log.append("replay")

        @contextlib.contextmanager
        def graph(made: Any) -> Iterator[None]:
            if fake.refuses_graphs:
                raise RuntimeError("operation not permitted when stream is capturing")
            fake.captured = []
            yield
            made.calls, made.numbers, fake.captured = len(fake.captured), fake.captured, None

        def sleep(cycles: int) -> None:
            fake.slept.append(cycles)
            fake.log.append("sleep")

        for name, value in (
            ("Event", Event), ("CUDAGraph", Graph), ("graph", graph), ("_sleep", sleep),
            ("synchronize", lambda: fake.log.append("synchronize")), ("current_device", lambda: 0),
            ("get_device_properties", lambda _: SimpleNamespace(L2_cache_size=1 << 20, uuid="abc")),
            ("get_device_name", lambda: "a GPU"),
        ):  # fmt: skip
            assert hasattr(torch.cuda, name), f"torch.cuda has no {name}"
            monkeypatch.setattr(torch.cuda, name, value)


def test_calls_are_queued_behind_a_sleeping_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda()
    fake.install(monkeypatch)
    timer = gpu.QueuedTimer(fake.call)
    assert timer.seconds(5, 3) == pytest.approx(5e-3)
    assert fake.calls == [3, 3, 3, 4, 5, 6, 7]  # two before it: one may compile, one tells how long starting takes
    assert fake.log[-4:] == ["sleep", "record", "record", "synchronize"]
    assert timer.seconds(2, 8) == pytest.approx(2e-3)
    assert fake.calls[-2:] == [8, 9]
    assert all(2e6 <= cycles <= 2e9 for cycles in fake.slept)


def test_short_calls_are_captured_in_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda(call_s=1e-5)
    fake.install(monkeypatch)
    timer, how = gpu.Gpu().timer(fake.call, sets=3)
    assert how == "graph"
    assert isinstance(timer, gpu.GraphTimer)
    assert timer._graph.numbers == list(range(21))  # type: ignore[attr-defined]
    assert timer.seconds(50, 0) == pytest.approx(50e-5)
    assert fake.log[-6:] == ["sleep", "record", "replay", "replay", "replay", "record", "synchronize"][-6:]


@pytest.mark.parametrize(("call_s", "refuses"), [(1e-3, False), (1e-5, True)])
def test_long_calls_and_those_that_cannot_be_captured_are_queued(
    monkeypatch: pytest.MonkeyPatch, call_s: float, refuses: bool
) -> None:
    fake = FakeCuda(call_s=call_s, refuses_graphs=refuses)
    fake.install(monkeypatch)
    timer, how = gpu.Gpu().timer(fake.call, sets=3)
    assert (type(timer), how) == (gpu.QueuedTimer, "queue")


def test_what_is_asked_of_a_compiled_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def warmup(**arguments: Any) -> Any:
        asked.update(arguments)
        metadata = SimpleNamespace(shared=4096)
        return SimpleNamespace(asm={"cubin": b"code"}, n_regs=96, n_spills=2, metadata=metadata, _init_handles=list)

    launch = Launch(SimpleNamespace(warmup=warmup), (4, 2), {"q": 1}, {"BM": 64}, warps=8, stages=3)
    found = gpu.Gpu().built(launch)
    assert (found.registers, found.spill_bytes, found.shared_memory_bytes) == (96, 8, 4096)
    assert len(found.code) == 64
    assert asked | {"q": 1, "BM": 64, "num_warps": 8, "num_stages": 3, "grid": (4, 2)} == asked


def test_conditions_name_clocks_temperature_and_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeCuda().install(monkeypatch)
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        asked.append(command)
        return SimpleNamespace(returncode=0, stdout="1755, 2619, 63, 688.10, 0x0000000000000004, 570.86\n")

    monkeypatch.setattr(subprocess, "run", run)
    found = gpu.Gpu().conditions()
    assert asked[0][-2:] == ["-i", "GPU-abc"]
    assert (found["clock_sm_hz"], found["clock_memory_hz"]) == (1.755e9, 2.619e9)
    assert (found["temperature_c"], found["power_w"], found["driver"]) == (63.0, 688.1, "570.86")
    assert found["throttled_by"] == "0x0000000000000004"
    assert {"device", "torch", "triton", "cuda", "date"} <= found.keys()
    assert gpu.Gpu().l2_bytes() == 1 << 20


@pytest.mark.parametrize("text", ["", "no devices were found", "[N/A], [N/A], [N/A], [N/A], [N/A], [N/A]"])
def test_what_nvidia_smi_does_not_say_is_null(text: str) -> None:
    assert gpu.parse_smi(text) == dict.fromkeys(gpu.SMI.values())


def test_kernels_with_descriptors_have_memory_to_build_them_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton starts no such kernel without an allocator."""
    import triton

    given: list[Any] = []
    monkeypatch.setattr(triton, "set_allocator", given.append)
    Launch({}, (0,), {}, {"TMA": False}).run()
    assert given == []
    Launch({}, (0,), {}, {"TMA": True}).run()
    monkeypatch.setattr(torch, "empty", lambda size, **named: (size, named["device"]))
    assert given[0](256, 128, None) == (256, "cuda")


on_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET") == "1", reason="no GPU, or kernels interpreted"
)


@on_gpu
@pytest.mark.parametrize(
    ("variant", "arguments"),
    [("mha", {"seq": 2048, "causal": True}), ("gqa", {"batch": 8, "kv_heads": 2, "seq": 1, "kv_len": 8192}),
     ("gna", {"shape": (16, 16, 32), "window": (8, 8, 8)}), ("gated-deltanet", {"seq": 2048, "causal": True}),
     ("mha", {"seq": 1024, "causal": True, "direction": "backward"})],
)  # fmt: skip
def test_on_a_gpu(variant: str, arguments: dict[str, Any]) -> None:
    device = open_device("cuda")
    task = Task.make(variant, device.hardware, heads=8, head_dim=64, **arguments)
    configs = device.space(task).configs[:3]
    found = [device.measure(task, config, 120) for config in configs]
    for one in found:
        assert one.outcome in ("ok", "out of resources"), one.reason
        assert one.outcome != "ok" or one.conditions["clock_sm_hz"]
    finals = device.finalists(task, [one.config for one in found if one.outcome == "ok"])
    assert all(one.outcome == "ok" for one in finals)
