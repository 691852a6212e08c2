"""The model in Triton's own autotuner: tried through `Autotuner.prune_configs` on a kernel that is not ours, of the
shape of Triton's fused-attention tutorial (python/tutorials/06-fused-attention.py: its arguments and configs)."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from triton.runtime.autotuner import Autotuner

import attnsim
from attnsim.autotune import hooks
from attnsim.autotune.rank import rank
from attnsim.autotune.space import Space
from attnsim.autotune.task import Task
from attnsim.kernels import call
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError
from attnsim.simulator.hardware import Hardware
from attnsim.simulator.implementations.triton_other import OtherConfig

CONFIGS = [
    triton.Config({"BLOCK_M": m, "BLOCK_N": n}, num_stages=stages, num_warps=warps)
    for m in (64, 128) for n in (32, 64, 128) for stages in (2, 3, 4, 7) for warps in (4, 8)
]  # fmt: skip
ARGUMENTS = {"sm_scale": 0.1, "Z": 4, "H": 32, "N_CTX": 4096}
CONSTANTS = {"HEAD_DIM": 128, "CAUSAL": True}


def attend(Q, K, V, Out, sm_scale, Z, H, N_CTX, HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr,  # type: ignore[no-untyped-def]
           BLOCK_N: tl.constexpr, CAUSAL: tl.constexpr):  # fmt: skip
    """One block of queries past all keys it sees; operands are contiguous [Z * H, N_CTX, HEAD_DIM]."""
    first, head = tl.program_id(0) * BLOCK_M, tl.program_id(1)
    rows, wide = first + tl.arange(0, BLOCK_M), tl.arange(0, HEAD_DIM)
    base = head.to(tl.int64) * N_CTX * HEAD_DIM
    q = tl.load(Q + base + rows[:, None] * HEAD_DIM + wide[None, :], mask=rows[:, None] < N_CTX, other=0.0)
    most, total = tl.full([BLOCK_M], -1e30, tl.float32), tl.zeros([BLOCK_M], tl.float32)
    out = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    for start in range(0, first + BLOCK_M if CAUSAL else N_CTX, BLOCK_N):
        columns = start + tl.arange(0, BLOCK_N)
        here = base + columns[:, None] * HEAD_DIM + wide[None, :]
        k = tl.load(K + here, mask=columns[:, None] < N_CTX, other=0.0)
        seen = (columns[None, :] < N_CTX) & ((columns[None, :] <= rows[:, None]) | (not CAUSAL))
        scores = tl.where(seen, tl.dot(q, tl.trans(k)) * sm_scale, -1e30)
        higher = tl.maximum(most, tl.max(scores, 1))
        weights, kept = tl.exp(scores - higher[:, None]), tl.exp(most - higher)
        v = tl.load(V + here, mask=columns[:, None] < N_CTX, other=0.0)
        out = out * kept[:, None] + tl.dot(weights.to(v.dtype), v)
        total, most = total * kept + tl.sum(weights, 1), higher
    out = out / total[:, None]
    tl.store(Out + base + rows[:, None] * HEAD_DIM + wide[None, :], out.to(Out.dtype.element_ty),
             mask=rows[:, None] < N_CTX)  # fmt: skip


def problem_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """What the user of the kernel states once."""
    return {"batch": arguments["Z"], "heads": arguments["H"], "seq": arguments["N_CTX"],
            "head_dim": arguments["HEAD_DIM"], "causal": arguments["CAUSAL"], "dtype": "fp16"}  # fmt: skip


def tile_of(config: triton.Config) -> tuple[int, int]:
    return config.kwargs["BLOCK_M"], config.kwargs["BLOCK_N"]


def pruned(configs: list[Any] = CONFIGS, arguments: dict[str, Any] | None = None, **options: Any) -> list[Any]:
    """What Triton would time: its own function, with the hook in place."""
    hook = attnsim.autotune.prune(**{"problem_of": problem_of, "tile_of": tile_of, "hardware": "h100"} | options)
    tuner = triton.autotune(configs=configs, key=["N_CTX", "HEAD_DIM"], prune_configs_by=hook)(triton.jit(attend))
    assert isinstance(tuner, Autotuner)
    tuner.nargs = arguments or ARGUMENTS
    found: list[Any] = tuner.prune_configs(CONSTANTS)
    return found


def as_ours(config: Any) -> OtherConfig:
    return OtherConfig(*((side,) for side in tile_of(config)), warps=config.num_warps, stages=config.num_stages)


@pytest.mark.parametrize("chip", ["a100", "h100", "b200", "rtx-4090", "mi300x"])
def test_the_first_of_the_models_order_are_timed(chip: str) -> None:
    found = pruned(hardware=chip)
    assert len(found) == 4
    assert all(any(one is config for config in CONFIGS) for one in found)
    task = Task.make("mha", chip, "triton-other", **problem_of(ARGUMENTS | CONSTANTS))
    ranked = [one.config for one in rank(task, map(as_ours, CONFIGS)) if hooks.fits(task, one.config)]
    assert [as_ours(one) for one in found] == ranked[:4]
    # Keys and values of all stages but one lie in shared memory at a time, whatever the version of Triton.
    element, depth = 2, 128
    needed = [2 * (c.num_stages - 1) * tile_of(c)[1] * depth * element for c in found]
    assert max(needed) <= (task.chip.smem_bytes_per_block or 0)


def test_a_kernel_that_is_not_ours_runs_with_what_is_left() -> None:
    """Called as its user calls it, in Triton's interpreter: few configs are timed, and the result is right."""
    timed = []

    def bench(run: Any, quantiles: Any) -> list[float]:
        run()
        timed.append(run)
        return [float(len(timed))] * 3

    hook = attnsim.autotune.prune(problem_of=problem_of, tile_of=tile_of, top_k=3, hardware="h100")
    tuner = triton.autotune(configs=CONFIGS, key=["N_CTX", "HEAD_DIM"], prune_configs_by=hook, do_bench=bench)(
        triton.jit(attend)
    )
    z, h, n, d = 1, 2, 200, 32
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(z, h, n, d, generator=generator) for _ in range(3))
    out = torch.empty_like(q)

    def grid(meta: dict[str, Any]) -> tuple[int, int]:
        return triton.cdiv(n, meta["BLOCK_M"]), z * h

    tuner[grid](q, k, v, out, d**-0.5, z, h, n, HEAD_DIM=d, CAUSAL=True)
    assert len(timed) == 3
    truth = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True)
    low = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert (out - truth).abs().max() <= 4 * (low - truth).abs().max() + 1e-6


def test_more_or_fewer_and_the_usual_names() -> None:
    assert pruned(top_k=4) == pruned(top_k=8)[:4] == pruned(tile_of=None, top_k=4)
    assert len(pruned(top_k=1)) == 1
    assert len(pruned(top_k=1000)) <= len(CONFIGS)
    with pytest.raises(InputError, match="top_k is 0; allowed: 1 or more"):
        attnsim.autotune.prune(problem_of=problem_of, top_k=0)


def test_the_problem_decides() -> None:
    short = pruned(arguments=ARGUMENTS | {"N_CTX": 100, "Z": 1, "H": 1}, top_k=1)
    assert short != pruned(top_k=1)
    window = pruned(top_k=1, problem_of=lambda a: problem_of(a) | {"variant": "sliding-window", "window": 128})
    assert tile_of(window[0])[0] <= tile_of(pruned(top_k=1)[0])[0]


def test_there_is_always_something_to_time() -> None:
    huge = [triton.Config({"BLOCK_M": 128, "BLOCK_N": n}, num_stages=7, num_warps=8) for n in (256, 512, 1024)]
    assert pruned(huge, top_k=2) == huge[:2]
    assert pruned([*huge, CONFIGS[0]], top_k=2) == [CONFIGS[0]]


def test_equal_tiles_are_kept_apart() -> None:
    twins = [triton.Config({"BLOCK_M": 64, "BLOCK_N": 64, "ODD": odd}, num_stages=3, num_warps=4) for odd in (0, 1)]
    assert pruned(twins, top_k=4) == twins
    every = pruned([*twins, *CONFIGS], top_k=1000)
    assert all(any(one is twin for one in every) for twin in twins)


@pytest.mark.parametrize(
    ("tile", "message"),
    [
        (lambda c: 64, "tile_of gives 64; allowed: "), (lambda c: (64, "x"), "a key tile of 'x'; allowed: whole"),
        (lambda c: {"query": 64, "key": 64, "warp": 4}, "unknown field of a config 'warp'; did you mean 'warps'"),
    ],
    ids=range(3),
)  # fmt: skip
def test_tiles_that_are_none_are_said(tile: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        pruned(tile_of=tile)


def test_tiles_may_be_given_as_fields_or_along_axes() -> None:
    fields = pruned(tile_of=lambda c: {"query": tile_of(c)[0], "key": tile_of(c)[1]})
    config = pruned(tile_of=lambda c: Config(*((side,) for side in tile_of(c)), warps=c.num_warps, stages=c.num_stages))
    assert fields == config == pruned()
    odd = [triton.Config({"TILE": 3}, num_warps=4)]
    with pytest.raises(InputError, match="names its tile otherwise than BLOCK_M and BLOCK_N: give tile_of"):
        pruned(odd, tile_of=None)


def test_an_unknown_chip_keeps_all_and_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(device: str) -> Any:
        raise InputError("no profile for the device 'GTX 1'")

    monkeypatch.setattr(call, "chip", nowhere)
    hook = attnsim.autotune.prune(problem_of=problem_of)["early_config_prune"]
    with pytest.warns(UserWarning, match="no config is dropped: no profile for the device 'GTX 1'"):
        assert hook(CONFIGS, ARGUMENTS, **CONSTANTS) == CONFIGS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hook(CONFIGS, ARGUMENTS, **CONSTANTS) == CONFIGS


def test_the_chip_is_the_current_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call, "chip", lambda device: Hardware.load("a100"))
    assert pruned(hardware=None) == pruned(hardware="a100")


@pytest.mark.parametrize("chip", ["h100", "b200", "mi300x"])
def test_configs_are_the_kernels_own_in_order(chip: str) -> None:
    found = attnsim.autotune.configs("mha", chip, seq=8192, causal=True, top=4)
    task = Task.make("mha", chip, seq=8192, causal=True)
    plain = [c for c in Space.of(task).configs if not (c.persistent or c.tma or c.warp_specialize)]  # type: ignore[attr-defined]
    expected = [one.config for one in rank(task, plain)][: len(found)]
    assert [(*tile_of(c), c.num_warps, c.num_stages) for c in found] == [
        (c.query[0], c.key[0], c.warps, c.stages) for c in expected  # type: ignore[attr-defined]
    ]  # fmt: skip
    assert 1 <= len(found) <= 4


def test_configs_by_the_callers_names() -> None:
    names = {"query": ("BT", "BH", "BW"), "key": "BLOCK_KV"}
    asked = {"shape": (8, 16, 32), "window": (6, 8, 8)}
    (one, *_) = attnsim.autotune.configs("gna", "h100", names=names, **asked)
    assert set(one.kwargs) == {"BT", "BH", "BW", "BLOCK_KV"}
    (decode, *_) = attnsim.autotune.configs(
        "gqa", "h100", seq=1, kv_len=8192, kv_heads=8, names={"key": "BLOCK_N", "splits": "SPLIT_KV"}, top=2
    )
    assert decode.kwargs["SPLIT_KV"] > 1
    tma = attnsim.autotune.configs("mha", "h100", top=100, names=dict(hooks.NAMES) | {"tma": "TMA"})
    assert {c.kwargs["TMA"] for c in tma} == {False, True}
    with pytest.raises(InputError, match="2 names for the 3 sides of query"):
        attnsim.autotune.configs("gna", "h100", names={"query": ("A", "B")}, **asked)
    with pytest.raises(InputError, match="unknown field of a config 'warp'"):
        attnsim.autotune.configs("mha", "h100", names={"warp": "W"})
    with pytest.raises(InputError, match="unknown argument 'sequence'"):
        attnsim.autotune.configs("mha", "h100", sequence=3)


def test_a_candidate_list_without_a_device() -> None:
    task = Task.make("sliding-window", "b200", seq=16384, window=512, causal=True)
    found = hooks.listed(task, hooks.candidates(task, 5))
    assert {"attnsim", "variant", "parameters", "problem", "hardware", "kernel", "candidates"} == set(found)
    assert [one["rank"] for one in found["candidates"]] == list(range(1, len(found["candidates"]) + 1))
    times = [one["predicted_s"] for one in found["candidates"]]
    assert times == sorted(times)
    for one in found["candidates"]:
        assert one["floor_s"] <= one["predicted_s"]
        made = triton.Config(**one["triton"])
        assert (made.num_warps, made.num_stages) == (one["config"]["warps"], one["config"]["stages"])
        assert made.kwargs == {"BLOCK_M": one["config"]["query"][0], "BLOCK_N": one["config"]["key"][0]}
    cpu = Task.make("mha", "cpu", seq=1024)
    assert hooks.listed(cpu, hooks.candidates(cpu, 1))["candidates"][0]["triton"] is None
