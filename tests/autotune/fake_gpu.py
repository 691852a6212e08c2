"""A GPU that is none: kernels are interpreted on the CPU, times are computed, and some configs go wrong on purpose."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

from attnsim.autotune.gpu import Built, Call, Gpu, read_smi
from attnsim.autotune.timing import Timer
from attnsim.kernels.launch import Launch
from attnsim.simulator.config import Config

ENVIRONMENT: dict[str, str | None] = {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
NO_ROOM, NO_CODE, WRONG, LOST, CRASH, HANG, LOST_LATER = (Config((64,), (32,), warps=4, stages=n) for n in range(2, 9))
"""What happens to these, by their stages; those of other tiles are right whatever their stages."""


class OutOfResources(Exception):  # noqa: N818
    """As Triton's is called."""


class FakeGpu(Gpu):
    """Launches of equal tiles and warps have the same binary. A call takes longer the smaller its tile is."""

    device = "cpu"

    def __init__(self) -> None:
        self.launch: Launch | None = None

    def name(self) -> str:
        return "NVIDIA H100 80GB HBM3"

    def l2_bytes(self) -> int:
        return 50_000

    def stages(self) -> int:
        """Of the last launch, if its config is to go wrong."""
        assert self.launch is not None
        sides = self.launch.constants["BM"], self.launch.constants["BN"]
        return self.launch.stages if sides == (64, 32) and self.launch.warps == 4 else 0

    def built(self, launch: Launch) -> Built:
        if "BN" not in launch.constants:  # a helper pass
            return Built(launch.kernel.__name__, 16, 0, 0)
        self.launch = launch
        if self.stages() == NO_ROOM.stages:
            raise OutOfResources("shared memory, Required: 300000")
        if self.stages() == NO_CODE.stages:
            raise RuntimeError("PTXASError: no such instruction")
        code = hashlib.sha256(repr((sorted(launch.constants.items(), key=str), launch.warps)).encode()).hexdigest()
        return Built(code, 128, 0, 1024 * launch.constants["BN"])

    def synchronize(self) -> None:
        stages, launch = self.stages(), self.launch
        assert launch is not None
        if stages == WRONG.stages:
            launch.arguments["o"].add_(1.0)
        if stages == LOST.stages:
            raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")
        if stages == CRASH.stages:
            os.abort()
        if stages == HANG.stages:
            time.sleep(60)

    def timer(self, call: Call, sets: int) -> tuple[Timer, str]:
        for n in range(sets):
            call(n)
        launch = self.launch
        assert launch is not None
        pairs = launch.constants["BM"] * launch.constants["BN"]
        return FakeTimer(64 * 64 / pairs * 1e-3, self.stages() == LOST_LATER.stages), "fake"

    def conditions(self) -> dict[str, Any]:
        return {"device": self.name(), "pid": os.getpid(), **read_smi("00000000")}


class FakeTimer:
    """So many seconds a call."""

    def __init__(self, call_s: float, breaks: bool) -> None:
        self.call_s, self.breaks = call_s, breaks

    def seconds(self, calls: int, first: int) -> float:
        if self.breaks and first > 10:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return self.call_s * calls
