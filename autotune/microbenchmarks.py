"""Measures a GPU and writes what it found as a hardware profile that inherits the chip's shipped one.

Peaks that floors stand on are only ever raised: a rate that was achieved is no bound of what could be. What the
schedule works with is replaced by what was measured: the clock under matrix load, the shares of memory and L2
bandwidth, the time to start a kernel. Achieved matrix rates are told in the source.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..simulator.errors import InputError
from ..simulator.hardware import Hardware
from . import profiles

if TYPE_CHECKING:
    import torch

    from .gpu import Call, Gpu

LIMIT_S = 600.0
SIDE = 8192
"""Of the square matrices that are multiplied."""
COPIED_BYTES = 2**30
SHARE_OF_L2 = 0.4
"""Of the L2 that the buffer takes which is read from it: on chips with two halves, what each of them holds."""
LOAD_S = 1.5
"""Seconds of work under which a clock is read; power limits act after some tenths of a second."""
PROGRAMS_A_UNIT = 16
EXP_ROUNDS, READ_BLOCKS = 2048, 256


@dataclass(frozen=True)
class Found:
    """What was measured.

    device: conditions (name, versions, date, driver). units: compute units. matrix_flop_per_s: by dtype.
    exp_per_s, copy_bytes_per_s (read and written), read_bytes_per_s, l2_bytes_per_s, launch_s. clock_hz: while the chip
    did "matrix" or "exp" work, where the driver tells.
    """

    device: Mapping[str, Any]
    units: int
    matrix_flop_per_s: Mapping[str, float] = field(default_factory=dict)
    exp_per_s: float | None = None
    copy_bytes_per_s: float | None = None
    read_bytes_per_s: float | None = None
    l2_bytes_per_s: float | None = None
    launch_s: float | None = None
    clock_hz: Mapping[str, float | None] = field(default_factory=dict)


def profile(device: str = "cuda") -> str:
    """A GPU (cuda, cuda:1) as a profile in TOML. Raises InputError where there is none, or its chip has no profile."""
    from ..simulator.hardware import profile_of_device
    from .devices.cuda import environment_of, open_device
    from .isolated import CrashedError, HungError, Isolated

    kind, _, argument = device.partition(":")
    if kind != "cuda":
        raise InputError(f"{device!r} is no GPU; allowed: cuda, cuda:0, cuda:1, ...")
    open_device(argument).close()  # whether there is one
    try:
        with Isolated(environment_of(argument)) as process:
            found = process.run(measure, limit_s=LIMIT_S)
    except (HungError, CrashedError) as error:
        raise InputError(f"{device} could not be measured: {error}") from None
    chip = profile_of_device(str(found.device["device"]))
    assert chip is not None, "open_device refuses chips without a profile"
    return toml(found, Hardware.load(chip))


def toml(found: Found, chip: Hardware) -> str:
    """The profile's text."""
    now = found.device
    rates = ", ".join(f"{dtype} {rate / 1e12:.1f}" for dtype, rate in found.matrix_flop_per_s.items())
    made = (f"attnsim hw calibrate cuda, {now.get('date')}: {now.get('device')}, driver {now.get('driver')}, torch "
            f"{now.get('torch')}, triton {now.get('triton')}, CUDA {now.get('cuda')}; matrix products of {SIDE} "
            f"cubed reached {rates or 'no rate'} TFLOP/s")  # fmt: skip
    fields = ((name, value, "microbenchmark", how) for name, (value, how) in numbers_of(found, chip).items())
    return profiles.toml(chip.name, f"{chip.title}, measured", fields, "MEASURED", made.replace('"', "'"))


Numbers = dict[str, tuple[float, str]]


def numbers_of(found: Found, chip: Hardware) -> Numbers:
    """Fields of the profile that differ from the shipped one: value, and how it was measured."""
    numbers: Numbers = {}
    if found.units != chip.sm_count:
        numbers["sm_count"] = found.units, "units that the driver reports"
    clock = clock_of(found, chip)
    if clock is not None:
        numbers["clock_sustained_hz"] = clock
        if clock[0] > chip.clock_max_hz:
            numbers["clock_max_hz"] = clock
    for dtype, rate in found.matrix_flop_per_s.items():
        under_load = found.clock_hz.get("matrix")
        name = f"matrix_{dtype}_flop_per_clock_per_sm"
        if under_load:
            raised(numbers, chip, name, rate / found.units / under_load, f"matrix product of {SIDE} cubed, {dtype}")
    exp_clock = found.clock_hz.get("exp")
    if found.exp_per_s and exp_clock:
        rate = found.exp_per_s / found.units / exp_clock
        raised(
            numbers, chip, "exp_per_clock_per_sm", rate, f"chains of exp2 in every lane at {exp_clock / 1e6:.0f} MHz"
        )
    memory(numbers, found, chip)
    if found.launch_s:
        numbers["launch_latency_s"] = found.launch_s, "a stream of kernels that do nothing"
    return numbers


def clock_of(found: Found, chip: Hardware) -> tuple[float, str] | None:
    """(clock under matrix load, how it is known): as the driver says, or else the one that the achieved rate stands
    for, which is what the schedule needs to know."""
    told = found.clock_hz.get("matrix")
    if told:
        return told, f"nvidia-smi during matrix products of {SIDE} cubed"
    rate, achieved = chip.matrix_flop_per_s("bf16", 1.0), found.matrix_flop_per_s.get("bf16")
    if not rate or not achieved:
        return None
    return min(
        achieved / rate, chip.clock_max_hz
    ), "the clock at which the peak would be the bf16 rate that was achieved"


def raised(numbers: Numbers, chip: Hardware, name: str, value: float, how: str) -> None:
    """A peak of the floors: replaced where it is unknown, or less than what was achieved."""
    before = getattr(chip, name)
    if before is None or value > before:
        numbers[name] = value, how


def memory(numbers: Numbers, found: Found, chip: Hardware) -> None:
    """Bandwidths: what is achieved as a share of the peak, or as the peak where it is more."""
    moved = {"a copy of 1 GiB, read and write": found.copy_bytes_per_s, "a sum over 1 GiB": found.read_bytes_per_s}
    reached = [(rate, how) for how, rate in moved.items() if rate]
    if reached:
        rate, how = max(reached)
        raised(numbers, chip, "hbm_bandwidth_bytes_per_s", rate, how)
        peak = numbers.get("hbm_bandwidth_bytes_per_s", (chip.hbm_bandwidth_bytes_per_s or rate,))[0]
        numbers["hbm_efficiency"] = min(rate / peak, 1.0), f"{how}: {rate / 1e9:.0f} GB/s"
    if found.l2_bytes_per_s:
        how = f"{SHARE_OF_L2:.0%} of the L2, read again and again"
        numbers["l2_achieved_bytes_per_s"] = found.l2_bytes_per_s, how
        raised(numbers, chip, "l2_bandwidth_bytes_per_s", found.l2_bytes_per_s, how)


# What follows runs in a process of its own.


def measure(kind: type[Gpu] | None = None) -> Found:
    """Measure the first visible GPU."""
    from . import timing
    from .gpu import Gpu, QueuedTimer

    gpu = (kind or Gpu)()
    timer = QueuedTimer if kind is None else lambda call: gpu.timer(call, 1)[0]

    def seconds(call: Call) -> float:
        return timing.measure(timer(call)).median_s

    matrix, clocks = matrix_rates(gpu, seconds)
    exp_call, exponentials = exp_work(gpu)
    exp_s = seconds(exp_call)
    clocks["exp"] = clock_under(gpu, exp_call, exp_s)
    copied, summed = memory_work(gpu)
    l2_call, l2_bytes = l2_work(gpu)
    return Found(
        device=gpu.conditions(), units=gpu.units(), matrix_flop_per_s=matrix, exp_per_s=exponentials / exp_s,
        copy_bytes_per_s=2 * COPIED_BYTES / seconds(copied), read_bytes_per_s=COPIED_BYTES / seconds(summed),
        l2_bytes_per_s=l2_bytes / seconds(l2_call), launch_s=seconds(gpu.nothing), clock_hz=clocks,
    )  # fmt: skip


def matrix_rates(gpu: Gpu, seconds: Any) -> tuple[dict[str, float], dict[str, float | None]]:
    """(FLOP/s by dtype, the clock under matrix load); types that the chip or torch does not multiply are left out."""
    import torch

    rates: dict[str, float] = {}
    clocks: dict[str, float | None] = {"matrix": None}
    for dtype in ("bf16", "fp16", "tf32", "fp8"):
        try:
            call = product(dtype, SIDE, gpu.device)
            took_s = seconds(call)
        except (RuntimeError, AttributeError, TypeError):
            continue
        rates[dtype] = 2.0 * SIDE**3 / took_s
        if dtype == "bf16":
            clocks["matrix"] = clock_under(gpu, call, took_s)
    torch.set_float32_matmul_precision("highest")
    return rates, clocks


def product(dtype: str, side: int, device: str) -> Call:
    """A call that multiplies two random square matrices; ones of zeros would let the clock rise."""
    import torch

    from ..kernels.operands import DTYPES

    a, b = (torch.randn(side, side, device=device).to(DTYPES[dtype]) for _ in range(2))
    if dtype == "fp8":
        one = torch.ones((), device=device)
        return lambda _: torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    torch.set_float32_matmul_precision("high" if dtype == "tf32" else "highest")
    out = torch.empty_like(a)
    return lambda _: torch.matmul(a, b, out=out)


def exp_work(gpu: Gpu) -> tuple[Call, float]:
    """(a call, exponentials that it takes)."""
    from ..kernels import microbench

    launch, amount = microbench.exp_launch(gpu.units() * PROGRAMS_A_UNIT, EXP_ROUNDS, gpu.device)
    return lambda _: launch.run(), amount


def l2_work(gpu: Gpu) -> tuple[Call, float]:
    """(a call, bytes that it reads)."""
    import torch

    from ..kernels import microbench

    elements = int(gpu.l2_bytes() * SHARE_OF_L2 / 4) // microbench.BLOCK * microbench.BLOCK
    x: torch.Tensor = torch.zeros(max(elements, microbench.BLOCK), device=gpu.device)
    launch, amount = microbench.read_launch(x, gpu.units() * PROGRAMS_A_UNIT, READ_BLOCKS)
    return lambda _: launch.run(), amount


def memory_work(gpu: Gpu) -> tuple[Call, Call]:
    """(a copy, a sum) of memory that no cache holds."""
    import torch

    source = torch.ones(COPIED_BYTES // 4, dtype=torch.float32, device=gpu.device)
    target = torch.empty_like(source)
    return lambda _: target.copy_(source), lambda _: source.sum()


def clock_under(gpu: Gpu, call: Call, call_s: float) -> float | None:
    """The clock (Hz) while the GPU repeats a call, None where the driver does not say."""
    for n in range(max(1, round(LOAD_S / call_s))):
        call(n)
    time.sleep(LOAD_S / 3)
    clock: float | None = gpu.conditions()["clock_sm_hz"]
    gpu.synchronize()
    return clock
