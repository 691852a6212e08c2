"""Work in a process of its own: results, errors, hangs, crashes, and that the next work runs all the same."""

from __future__ import annotations

import os
import time

import pytest

from attnsim.autotune.isolated import CrashedError, HungError, Isolated


def test_hangs_and_crashes_cost_only_the_work_itself() -> None:
    with Isolated({"ATTNSIM_TEST": "on", "HOME": None}) as process:
        assert process.run(max, 1, 2, limit_s=60) == 2
        assert process.run(os.getenv, "ATTNSIM_TEST", limit_s=60) == "on"
        assert process.run(os.getenv, "HOME", limit_s=60) is None
        with pytest.raises(HungError, match=r"0\.5 s"):
            process.run(time.sleep, 60, limit_s=0.5)
        assert process.run(max, 1, 2, limit_s=60) == 2
        with pytest.raises(CrashedError):
            process.run(os.abort, limit_s=60)
        with pytest.raises(ZeroDivisionError):
            process.run(divmod, 1, 0, limit_s=60)
        assert process.run(os.getpid, limit_s=60) != os.getpid()
