"""Options for flex_attention: right answers with them on the CPU, and legal on every GPU that is predicted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn.attention.flex_attention import FlexKernelOptions, create_block_mask, flex_attention

from attnsim.autotune.flex import MASK_BLOCK, flex_options
from attnsim.autotune.task import Task
from attnsim.kernels.reference.baselines import mask_mod
from attnsim.kernels.reference.softmax import masked_attention, pair_matrix
from attnsim.simulator import resources
from attnsim.simulator.config import is_power_of_two
from attnsim.simulator.errors import InputError
from attnsim.simulator.hardware import Hardware

GPUS = ("a100", "h100", "b200", "l40s", "rtx-5090", "mi300x")
PROBLEMS: list[tuple[str, dict[str, Any]]] = [
    ("mha", {"seq": 4096, "heads": 16}),
    ("sliding-window", {"seq": 8192, "window": 512, "causal": True, "head_dim": 64}),
    ("gna", {"shape": (64, 64), "window": (16, 16), "heads": 8}),
    ("mha", {"seq": 2048, "head_dim": 256}),
]


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # a part of inductor itself
def test_the_answer_is_right_on_the_cpu() -> None:
    parameters, sizes = {"window": (3, 5)}, {"shape": (8, 12), "heads": 2, "head_dim": 16, "dtype": "fp32"}
    options = flex_options("gna", "cpu", **parameters, **sizes)
    assert options.kernel_options == {}
    mask: Any = Task.make("gna", "cpu", "flex-cpu", **parameters, **sizes).part.mask
    q, k, v = (torch.randn(1, 2, 96, 16, generator=torch.Generator().manual_seed(i)) for i in range(3))
    blocks = create_block_mask(mask_mod(mask), None, None, 96, 96, device="cpu", BLOCK_SIZE=options.block_size)
    torch._dynamo.reset()
    with torch.no_grad():
        run = torch.compile(flex_attention, dynamic=False, fullgraph=True)
        found = run(q, k, v, block_mask=blocks, kernel_options=options.kernel_options)
    exact = masked_attention(q.double(), k.double(), v.double(), pair_matrix(mask, "cpu"))
    torch.testing.assert_close(found.double(), exact, atol=1e-5, rtol=1e-5)


def shared_bytes(chip: Hardware, rows: int, columns: int, dim: int, options: dict[str, Any], pass_: str) -> int | None:
    """By the compiler's rules for a kernel of this structure, operands of 16 bits."""
    shape = resources.Shape(rows, columns, dim, dim, 2, options[f"{pass_}_num_warps"], options[f"{pass_}_num_stages"])
    estimate = resources.forward_shared_bytes if pass_ == "fwd" else resources.backward_shared_bytes
    return estimate(chip.generation, shape)


@pytest.mark.parametrize("name", GPUS)
@pytest.mark.parametrize(("variant", "arguments"), PROBLEMS)
def test_options_are_legal_on_gpus(name: str, variant: str, arguments: dict[str, Any]) -> None:
    chip = Hardware.load(name)
    dim = arguments.get("head_dim", 128)
    for direction in ("forward", "backward"):
        found = flex_options(variant, name, direction=direction, **arguments)
        options = found.kernel_options
        known = FlexKernelOptions.__annotations__
        assert all(key.removeprefix("fwd_").removeprefix("bwd_") in known for key in options)
        assert all(is_power_of_two(value) for key, value in options.items() if "BLOCK" in key or "warps" in key)
        sides = [(options["fwd_BLOCK_M"], options["fwd_BLOCK_N"], "fwd")]
        if direction == "backward":
            assert found.block_size == (MASK_BLOCK, MASK_BLOCK)
            assert options["bwd_BLOCK_N1"] % options["bwd_BLOCK_M1"] == 0
            assert options["bwd_BLOCK_M2"] % options["bwd_BLOCK_N2"] == 0
            sides += [(options["bwd_BLOCK_M1"], options["bwd_BLOCK_N1"], "bwd")]
            sides += [(options["bwd_BLOCK_N2"], options["bwd_BLOCK_M2"], "bwd")]
        for rows, columns, pass_ in sides:
            assert found.block_size[0] % rows == found.block_size[1] % columns == 0
            taken = shared_bytes(chip, rows, columns, dim, options, pass_)
            assert taken is None or taken <= (chip.smem_bytes_per_block or math.inf)
        assert (found.predicted_s or 0) > 0


def test_narrow_windows_get_smaller_blocks_than_dense_attention() -> None:
    dense = flex_options("mha", "h100", seq=8192, head_dim=64).block_size
    narrow = flex_options("sliding-window", "h100", seq=8192, head_dim=64, window=64, causal=True).block_size
    assert math.prod(narrow) < math.prod(dense)


@pytest.mark.parametrize("group", [1, 4])
def test_few_queries_get_options_of_flex_decoding(group: int) -> None:
    found = flex_options("gqa", "h100", seq=1, kv_len=8192, heads=8 * group, kv_heads=8, causal=True)
    assert "fwd_BLOCK_M" not in found.kernel_options  # torch's own: the queries of a group
    assert found.block_size[0] % 16 == 0
    assert found.block_size[1] % found.kernel_options["fwd_BLOCK_N"] == 0
    assert is_power_of_two(found.kernel_options["SPLIT_KV"])
    assert found.kernel_options["SPLIT_KV"] > 1


def test_few_queries_of_odd_groups_get_options_of_the_main_kernel() -> None:
    found = flex_options("gqa", "h100", seq=1, kv_len=8192, heads=24, kv_heads=8, causal=True)
    assert "SPLIT_KV" not in found.kernel_options
    assert "fwd_BLOCK_M" in found.kernel_options


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"hardware": "cpu", "direction": "backward", "seq": 256, "dtype": "fp32"}, "no backward pass"),
        ({"hardware": "h100", "direction": "sideways", "seq": 256}, "allowed: forward, backward"),
        ({"hardware": "h100", "direction": "backward", "seq": 1, "kv_len": 256, "causal": True}, "no backward pass"),
        ({"hardware": "tpu-v5e", "seq": 256}, "Triton has no kernels"),
        ({"hardware": "h100", "seq": 256, "head_dim": 4096}, "no tile of flex_attention fits"),
    ],
)
def test_what_has_no_options_is_refused(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        flex_options("mha", **arguments)


def test_without_a_chip_it_is_the_one_that_is_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("ATTNSIM_PROFILE_CPU", str(tmp_path / "none.toml"))
    assert flex_options("mha", seq=512, dtype="fp32") == flex_options("mha", "cpu", seq=512, dtype="fp32")
