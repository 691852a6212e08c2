"""attnsim compile: the compiler's numbers beside the model's, and what it says of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import attnsim

pytest.importorskip("triton")
Run = Callable[..., Any]


def test_json_holds_the_compiled_kernel_beside_the_model(run: Run) -> None:
    done = run("compile", "mha", "--hw", "h100", "--causal", "--seq", "4k", "--head-dim", "64", "--tile", "64x64",
               "--warps", "4", "--stages", "2", "--format", "json")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    d = json.loads(done.out)
    assert set(d) == {
        "attnsim", "triton", "variant", "parameters", "problem", "hardware", "target", "implementation", "config",
        "model", "kernels",
    }  # fmt: skip
    assert (d["attnsim"], d["variant"], d["hardware"], d["target"]) == (attnsim.__version__, "mha", "h100", "sm_90")
    assert d["problem"]["seq"] == 4096
    assert (d["config"]["query"], d["config"]["key"]) == ([64], [64])
    assert (d["config"]["warps"], d["config"]["stages"]) == (4, 2)
    (kernel,) = d["kernels"]
    loop = kernel["loops"][kernel["main_loop"]]
    assert loop["matrix_flops"] == d["model"]["matrix_flops"] == 4 * 64 * 64 * 64
    assert loop["matrix_flops"] == sum(i["flops"] for i in loop["matrix"])
    # One for every pair, and those that rescale: a row's, in the 4 lanes that hold it.
    assert d["model"]["exponentials"] == 64 * 64
    assert loop["exponentials"] == 64 * 64 + 4 * 64
    assert kernel["shared_memory_bytes"] == d["model"]["shared_memory_bytes"]
    assert kernel["spill_bytes"] == 0
    assert kernel["registers"] > 0


def test_a_table_of_tiles_along_the_axes(run: Run) -> None:
    done = run("compile", "gna", "--hw", "b200", "--shape", "8x16x16", "-p", "window=4x8x8", "--q-tile", "2x8x8",
               "--kv-tile", "2x4x8", "--head-dim", "64")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    assert "(sm_100): gna, forward, triton-neighbourhood 2x8x8/2x4x8" in done.out
    for words in ("compiler", "model", "UTCHMMA", "128x64x16", "registers of a thread", "exp "):
        assert words in done.out
    flops = next(line.split() for line in done.out.splitlines() if "matrix FLOPs of a tile" in line)
    assert flops[-3:] == ["2,097,152", "2,097,152", "1"]


def test_backward_is_compiled_for_amd(run: Run) -> None:
    done = run("compile", "sliding-window", "--hw", "mi300x", "-p", "window=256", "--direction", "backward",
               "--head-dim", "64", "--implementation", "triton-flash", "--format", "json")  # fmt: skip
    assert (done.code, done.err) == (0, "")
    d = json.loads(done.out)
    assert d["target"] == "gfx942"
    assert d["kernels"][0]["kernel"] == "backward"
    assert d["kernels"][0]["loops"][0]["matrix"][0]["name"].startswith("v_mfma")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("mha", "--hw", "tpu-v4"), ("tpu-v4 (tpu_v4)", "sm_90 (h100)", "gfx942 (mi300x)")),
        (("mha", "--hw", "apple-m4-ane"), ("apple-m4-ane", "allowed")),
        (("mha", "--hw", "h10"), ("h10", "did you mean", "h100")),
        (("mah",), ("mah", "did you mean")),
        (("mha", "--tile", "96x64"), ("96", "powers of two")),
        (("mha", "--tile", "100x64"), ("100x64", "multiple of 16")),
        (("mha", "--q-tile", "64"), ("q_tile and kv_tile go together",)),
        (("mha", "--warps", "3"), ("3 warps", "1, 2, 4, 8, 16")),
        (("mha", "--warps", "few"), ("warps", "few", "whole number")),
        (("mha", "--stages", "9"), ("9 stages", "1 to 8")),
        (("mha", "--implementation", "triton-flsh"), ("triton-flsh", "did you mean", "triton-flash")),
        (("mha", "--implementation", "fa3"), ("fa3", "triton-flash")),
        (("mha", "--head-dim", "512", "--implementation", "triton-flash"), ("head_dim", "512", "256")),
        (("mha", "--dtype", "int8"), ("no kernel here runs mha on b200", "int8")),
        (("mha", "--format", "csv"), ("csv", "table")),
        (("mha", "-p", "windw=3"), ("windw",)),
    ],
)  # fmt: skip
def test_mistakes_are_one_line(run: Run, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = run("compile", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("missing", ["torch", "triton"])
def test_a_missing_extra_is_named(missing: str) -> None:
    code = (f"import sys\nsys.modules[{missing!r}] = None\nsys.argv = ['attnsim', 'compile', 'mha', '--hw', 'h100']\n"
            "from attnsim.cli import main\nmain()")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: kernels need {missing}: pip install 'attnsim[kernels]'\n"
