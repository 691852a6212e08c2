"""Split-KV decoding, interpreted: against float64, and counted against the model's tiled counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnsim import InputError
from attnsim.kernels import decode
from attnsim.kernels.interpret import Counted, counting
from attnsim.kernels.launch import Plan
from attnsim.kernels.operands import DTYPES
from attnsim.simulator import api
from attnsim.simulator.config import Config
from attnsim.simulator.implementations.triton_decode import IMPLEMENTATION, split_depth
from attnsim.simulator.splitting import MAX_SPLITS, fill
from attnsim.simulator.tiling import key_bytes, tile_attention, tile_parts

from .attention_cases import case, check_forward

LATENT = {"form": "absorbed", "kv_rank": 32, "rope_dim": 16, "nope_dim": 24, "value_dim": 16}
"""A small latent: keys of 32 + 16 columns, the first 32 of which are the values."""
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("mha", {}, {"seq": 1, "kv_len": 70}),
    ("mha", {}, {"seq": 1, "kv_len": 1}),
    ("mha", {}, {"seq": 3, "kv_len": 64, "causal": True}),
    ("mha", {}, {"seq": 7, "kv_len": 5, "causal": True}),  # the first rows see nothing
    ("mha", {}, {"seq": 7, "kv_len": 50, "causal": True}),
    ("sliding-window", {"window": 20}, {"seq": 2, "kv_len": 90, "causal": True}),
    ("sliding-window", {"left": 30, "right": 2}, {"seq": 4, "kv_len": 80}),
    ("sink-window", {"window": 10, "sinks": 4}, {"seq": 3, "kv_len": 110, "causal": True}),
    ("sink-window", {"window": 10, "sinks": 37}, {"seq": 6, "kv_len": 70, "causal": True}),
    ("mla", LATENT, {"seq": 2, "kv_len": 70, "causal": True}),
]
HEADS: list[dict[str, Any]] = [
    {"heads": 2, "head_dim": 16}, {"heads": 6, "kv_heads": 2, "head_dim": 40, "v_dim": 24, "batch": 2},
    {"heads": 18, "kv_heads": 1, "head_dim": 16},
]  # fmt: skip
"""One head a tile; three heads share one; more heads than a tile has rows."""


def sized(variant: str, sizes: dict[str, Any], heads: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Sizes of a case; a latent has one kv head and its own depth."""
    made = {**sizes, **heads, **more}
    if variant == "mla":
        made |= {"kv_heads": 1}
        made.pop("head_dim", None)
        made.pop("v_dim", None)
    return made


def packed(made: Any, problem: Any, key: int = 16, query: int = 16, **options: Any) -> Config:
    """A config whose query tiles hold the heads of a kv head."""
    part = made.graph(problem).main
    return Config((query,), (key,), packed_heads=int(part.heads // part.kv_heads), **options)


def cache_of(t: dict[str, torch.Tensor], name: str, sequence: int, keys: int) -> torch.Tensor:
    """[1, G, keys, d]: what a sequence keeps, from its pages or its part of a contiguous cache."""
    if "block_table" not in t:
        return t[name][sequence : sequence + 1, :, :keys]
    pages = t[name][t["block_table"][sequence].long()]
    return pages.flatten(0, 1)[:keys].transpose(0, 1)[None]


def check(
    made: Any, problem: Any, t: dict[str, torch.Tensor], config: Config, compute: torch.dtype = torch.bfloat16
) -> None:
    """o and lse of every sequence, each with its own number of keys, against the definition."""
    part = made.graph(problem).main
    out = decode.plan(made, problem, t, config, lse=True, scale=int(part.depth) ** -0.5).run()
    lengths = t["lengths"].tolist() if "lengths" in t else [problem.kv_len] * problem.batch
    for sequence, keys in enumerate(lengths):
        one = slice(sequence, sequence + 1)
        k = cache_of(t, "k", sequence, keys)
        v = k[..., : part.width] if part.shared_kv else cache_of(t, "v", sequence, keys)
        check_forward(replace(part.mask, keys=keys), {"q": t["q"][one], "k": k, "v": v},
                      {name: value[one] for name, value in out.items()}, compute)  # fmt: skip


@pytest.mark.parametrize(("page_size", "splits"), [(None, 1), (16, 3), (6, 2)])
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize(("variant", "parameters", "sizes"), CASES)
def test_every_case_equals_the_definition(
    variant: str, parameters: dict[str, Any], sizes: dict[str, Any], heads: dict[str, Any], page_size: int | None,
    splits: int, counted: Counted,
) -> None:  # fmt: skip
    made, problem = case(variant, parameters, **sized(variant, sizes, heads, page_size=page_size))
    check(made, problem, decode.inputs(made, problem), packed(made, problem, splits=splits))


@pytest.mark.parametrize("splits", [1, 2])
@pytest.mark.parametrize("variant", ["mha", "mla"])
@pytest.mark.parametrize(
    ("dtype", "kv_dtype"),
    [("bf16", "fp8"), ("fp16", "fp8_e5m2"), ("fp16", "fp16"), ("fp32", "fp32"), ("tf32", "tf32"), ("fp8", "fp8"),
     ("fp8", "bf16")],
)  # fmt: skip
def test_operand_types(variant: str, dtype: str, kv_dtype: str, splits: int, counted: Counted) -> None:
    """Narrow keys are converted to the queries' type, narrow queries to that of the keys."""
    sizes = {"seq": 2, "kv_len": 75, "causal": True, "dtype": dtype, "kv_dtype": kv_dtype}
    made, problem = case(variant, LATENT if variant == "mla" else {}, **sized(variant, sizes, HEADS[1], page_size=16))
    t = decode.inputs(made, problem)
    check(made, problem, t, packed(made, problem, key=32, splits=splits), DTYPES[problem.matrix_dtype])


@pytest.mark.parametrize(("page_size", "splits"), [(None, 1), (16, 4)])
@pytest.mark.parametrize(("variant", "parameters", "sizes"), CASES[4:])
def test_sequences_of_different_lengths(
    variant: str, parameters: dict[str, Any], sizes: dict[str, Any], splits: int, page_size: int | None,
    counted: Counted,
) -> None:  # fmt: skip
    made, problem = case(variant, parameters, **sized(variant, sizes, HEADS[1], batch=4, page_size=page_size))
    t = decode.inputs(made, problem)
    t["lengths"] = torch.tensor([problem.kv_len, 1, 0, 33], dtype=torch.int32)
    check(made, problem, t, packed(made, problem, splits=splits))


@pytest.mark.parametrize("packed_heads", [1, 2, 4])
def test_packing_changes_nothing(packed_heads: int, counted: Counted) -> None:
    made, problem = case("mha", seq=5, kv_len=70, heads=8, kv_heads=2, head_dim=16, causal=True)
    check(made, problem, decode.inputs(made, problem), Config((16,), (32,), packed_heads=packed_heads, splits=2))


def test_a_latent_keeps_the_scale_of_the_heads_it_was_absorbed_from(counted: Counted) -> None:
    made, problem = case("mla", LATENT, seq=1, kv_len=40, heads=4)
    t, config = decode.inputs(made, problem), Config((16,), (16,), packed_heads=4)
    expected = decode.plan(made, problem, t, config, scale=(24 + 16) ** -0.5).run()["o"]
    assert torch.equal(decode.plan(made, problem, t, config).run()["o"], expected)


@pytest.mark.parametrize("splits", [1, 2])
@pytest.mark.parametrize("sizes", [{"q": (1, 2, 0, 16), "k": (1, 2, 5, 16)}, {"q": (1, 2, 3, 16), "k": (1, 2, 0, 16)},
                                   {"q": (0, 2, 3, 16), "k": (0, 2, 5, 16)}])  # fmt: skip
def test_empty_operands(sizes: dict[str, Any], splits: int, counted: Counted) -> None:
    made, problem = case("mha", seq=3, heads=2, head_dim=16)
    q, k = (torch.zeros(sizes[name], dtype=torch.bfloat16) for name in ("q", "k"))
    out = decode.plan(made, problem, {"q": q, "k": k, "v": k}, Config((16,), (16,), splits=splits), lse=True).run()
    assert out["o"].shape == q.shape
    assert (out["o"] == 0).all()
    assert (out["lse"] == float("-inf")).all()


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    queries=st.integers(1, 20), keys=st.integers(1, 60), left=st.integers(0, 40) | st.none(), causal=st.booleans(),
    sinks=st.integers(0, 20), heads=st.sampled_from([(1, 1), (3, 1), (4, 2)]), splits=st.integers(1, 5),
    sides=st.sampled_from([(16, 16), (16, 32), (32, 16)]), head_dim=st.sampled_from([16, 24, 48]),
    page_size=st.sampled_from([None, 1, 5, 16, 64]), data=st.data(),
)  # fmt: skip
def test_any_band(
    queries: int, keys: int, left: int | None, causal: bool, sinks: int, heads: tuple[int, int], splits: int,
    sides: tuple[int, int], head_dim: int, page_size: int | None, data: st.DataObject,
) -> None:  # fmt: skip
    variant, parameters = ("mha", {}) if left is None else ("sink-window", {"window": left + 1, "sinks": sinks})
    made, problem = case(variant, parameters, seq=queries, kv_len=keys, heads=heads[0], kv_heads=heads[1], batch=2,
                         head_dim=head_dim, causal=causal, page_size=page_size, dtype="fp16")  # fmt: skip
    t = decode.inputs(made, problem)
    if data.draw(st.booleans()):
        lengths = data.draw(st.lists(st.integers(0, keys), min_size=2, max_size=2))
        t["lengths"] = torch.tensor(lengths, dtype=torch.int32)
    with counting():
        check(made, problem, t, packed(made, problem, sides[1], sides[0], splits=splits), torch.float16)


def one_launch(plan: Plan, index: int) -> Counted:
    """What one launch of a plan does, after those before it have run."""
    for launch in plan.launches[:index]:
        with counting():
            launch.run()
    with counting() as found:
        plan.launches[index].run()
    return found


def more_by_splits(part: Any, splits: int) -> int:
    """Bytes that several splits move beyond those of one: q again, and partial results in place of o."""
    rows = int(part.batch * part.heads * part.tokens)
    once = rows * (2 * part.depth + 2 * part.width)
    return 0 if splits == 1 else splits * rows * (2 * part.depth + 4 * (part.width + 1)) - once


@pytest.mark.parametrize(
    ("query", "key", "kv_dtype", "splits"), [(16, 16, "bf16", 1), (32, 16, "fp8", 1), (16, 32, "fp8", 3)]
)
@pytest.mark.parametrize("heads", [HEADS[0], {"heads": 4, "kv_heads": 2, "head_dim": 48, "v_dim": 16},
                                   {"heads": 18, "kv_heads": 1, "head_dim": 16}])  # fmt: skip
@pytest.mark.parametrize(("variant", "parameters", "sizes"), CASES)
def test_the_kernel_does_the_work_of_the_model(
    variant: str, parameters: dict[str, Any], sizes: dict[str, Any], heads: dict[str, Any], kv_dtype: str, query: int,
    key: int, splits: int,
) -> None:  # fmt: skip
    """Bytes of queries, visited key tiles and result, matrix FLOPs and exponentials of pairs equal the tiled counts.

    Exceptions: one exponential a row and visited tile, the rescaling of earlier sums. With several splits each of them
    reads q, and instead of o writes dv + 1 numbers a row in fp32: splits * rows * (2 d + 4 (dv + 1)) bytes in place of
    rows * (2 d + 2 dv).
    """
    made, problem = case(variant, parameters, **sized(variant, sizes, heads, kv_dtype=kv_dtype))
    config = packed(made, problem, key, query, splits=splits)
    found = one_launch(decode.plan(made, problem, decode.inputs(made, problem), config), 0)
    (tiled,) = (p for p in tile_parts(made.graph(problem), config, api.load_hardware("h100")) if p.summary)
    assert tiled.summary is not None
    part = tiled.part
    assert found.bytes() == tiled.counts.l2_bytes + more_by_splits(part, splits)
    assert sum(found.dot_flops.values()) == tiled.counts.matrix_flops
    assert found.exp == tiled.counts.special + tiled.summary.visited * tiled.instances * tiled.rows


@pytest.mark.parametrize("lse", [False, True])
@pytest.mark.parametrize("splits", [2, 5])
def test_the_combine_pass_moves_the_partial_results(splits: int, lse: bool) -> None:
    """It reads what the splits wrote, (dv + 1) fp32 numbers a row and split, and writes the result: the model's
    schedule has it as its term `combine`, its tiled counts do not."""
    made, problem = case("mha", seq=3, kv_len=70, heads=4, kv_heads=2, head_dim=24, batch=2)
    plan = decode.plan(made, problem, decode.inputs(made, problem), packed(made, problem, splits=splits), lse=lse)
    found, rows = one_launch(plan, 1), 2 * 4 * 3
    assert found.load_bytes == {"fp32": splits * rows * (24 + 1) * 4}
    assert found.bytes("bf16") == rows * 24 * 2
    assert found.store_bytes["fp32"] == (rows * 4 if lse else 0)
    at_once = decode.combined_at_once(32)
    assert found.exp == rows * math.ceil(splits / at_once) * (at_once + 1)


@pytest.mark.parametrize(("page_size", "key", "splits"), [(32, 16, 1), (16, 16, 3), (16, 32, 1), (5, 16, 3)])
@pytest.mark.parametrize(("variant", "parameters", "sizes"), CASES)
def test_pages_are_read_as_tokens_and_their_table_by_every_tile(
    variant: str, parameters: dict[str, Any], sizes: dict[str, Any], page_size: int, key: int, splits: int
) -> None:
    """Of pages only visited tokens are read. The model counts an entry of the table (4 bytes) once for each page of a
    sequence; the kernel reads one a visited tile where a page holds whole tiles, else one a visited key: every query
    tile and kv head for itself."""
    made, problem = case(variant, parameters, **sized(variant, sizes, HEADS[1], page_size=page_size))
    config = packed(made, problem, key, splits=splits)
    found = one_launch(decode.plan(made, problem, decode.inputs(made, problem), config), 0)
    part = made.graph(problem).main
    paged = tile_attention(part, config, api.load_hardware("h100"), page_size)
    whole = tile_attention(part, config, api.load_hardware("h100"))
    assert paged.summary is not None
    assert found.bytes("bf16", "fp32") == whole.counts.l2_bytes + more_by_splits(part, splits)
    result_bytes = part.batch * part.heads * part.tokens * (part.depth + part.width) * 2
    visited_keys = (whole.counts.l2_bytes - result_bytes) // key_bytes(part)
    visits = paged.summary.visited * paged.instances
    assert found.bytes("int32") == 4 * (visits if page_size % key == 0 else visited_keys)
    pages = part.batch * math.ceil(part.keys / page_size)
    assert paged.counts.l2_bytes == whole.counts.l2_bytes + 4 * pages


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"block_table": None}, "needs both block_table and page_size"),
        ({"k": (8, 8, 2, 16)}, "pages of 8 tokens; page_size is 16"),
        ({"q": (1, 4, 1, 32)}, "q has head_dim 32 and k 16"),
        ({"lengths": (3,)}, r"lengths is \[3\]"),
    ],
)
def test_operands_that_do_not_fit_are_named(change: dict[str, Any], message: str) -> None:
    made, problem = case("mha", seq=1, kv_len=40, heads=4, kv_heads=2, head_dim=16, page_size=16)
    t = decode.inputs(made, problem)
    for name, shape in change.items():
        if shape is None:
            del t[name]
        else:
            t[name] = torch.zeros(shape, dtype=torch.bfloat16 if name in "qkv" else torch.int32)
    with pytest.raises(InputError, match=message):
        decode.plan(made, problem, t, Config((16,), (16,), packed_heads=2))


def test_depths_are_held_in_two_powers_of_two() -> None:
    for depth in range(1, 600):
        first, rest = split_depth(depth)
        assert first + rest >= depth
        assert first + rest <= max(16, 1 << (depth - 1).bit_length())
        assert (rest == 0) == (depth <= first)


LONG = {"seq": 1, "kv_len": 8192, "causal": True}
"""A step of decoding."""


def part_of(variant: str, parameters: dict[str, Any] | None = None, **sizes: Any) -> Any:
    made, problem = case(variant, parameters, **sizes)
    return made.graph(problem).main


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (Config((8,), (64,), 4), "at least 16x16"),
        (Config((48,), (64,), 4), "powers of two"),
        (Config((16, 1), (64,), 4), "flattened tokens"),
        (Config((16,), (64,), 3), "3 packed heads do not divide the 4 of a kv head"),
        (Config((16,), (64,), 4, splits=129), "129 splits: allowed are 1 to 128"),
        (Config((16,), (64,), 4, tma=True), "no tma form"),
        (Config((64,), (128,), 4, stages=4), "KiB of shared memory"),
        (Config((64,), (128,), 4), "more registers than a thread has"),
    ],
)
def test_configs_that_cannot_be_launched_are_refused(config: Config, message: str) -> None:
    part = part_of("gqa", heads=32, kv_heads=8, **LONG)
    assert message in str(IMPLEMENTATION.refuses(part, api.load_hardware("h100"), config))


def test_what_only_the_model_knows_has_no_configs() -> None:
    """Dilated keys and integer caches have tiles, and predictions, but nothing to launch."""
    h100, a100 = api.load_hardware("h100"), api.load_hardware("a100")
    for part in (part_of("dilated", **LONG), part_of("mha", kv_dtype="int8", **LONG),
                 part_of("mha", kv_dtype="fp4", **LONG)):  # fmt: skip
        assert IMPLEMENTATION.refuses(part, h100) is None
        assert IMPLEMENTATION.configs(part, h100) == ()
    narrow = part_of("mha", kv_dtype="fp8", **LONG)
    assert IMPLEMENTATION.configs(narrow, h100)
    assert IMPLEMENTATION.configs(narrow, a100) == ()


@pytest.mark.parametrize("chip", ["a100", "l40s", "h100", "b200", "b300", "rtx-5090", "mi300x", "mi355x"])
def test_the_default_space(chip: str) -> None:
    """Its first config has the splits with which the model's schedule fills the chip."""
    hardware = api.load_hardware(chip)
    grouped = {"heads": 32, "kv_heads": 8}
    for part in (part_of("gqa", **grouped, **LONG), part_of("mla", {"form": "absorbed"}, heads=128, **LONG),
                 part_of("gqa", **grouped, head_dim=256, **LONG), part_of("mha", heads=8, head_dim=64, **LONG),
                 part_of("gqa", **grouped, head_dim=96, **LONG)):  # fmt: skip
        first, *others = IMPLEMENTATION.configs(part, hardware)
        assert first not in others
        assert {c.splits for c in others} > {1}
        assert first.packed_heads == part.heads // part.kv_heads
        tiled = tile_attention(part, first, hardware)
        assert tiled.summary is not None
        items = int(tiled.summary.query_tiles * tiled.instances)
        assert first.splits == fill(items, int(tiled.summary.longest_row), hardware.sm_count, MAX_SPLITS)
        assert IMPLEMENTATION.first_config(part, hardware) == first


@pytest.mark.parametrize(
    ("chip", "sizes", "config", "compiled"),
    [
        ("h100", {"head_dim": 128}, Config((16,), (128,), 4, stages=3), 139264),
        ("h100", {"head_dim": 96}, Config((16,), (64,), 4), 33792),
        ("h100", {"head_dim": 128}, Config((64,), (64,), 4, warps=8), 90112),
        ("h100", {"head_dim": 128, "kv_dtype": "fp8"}, Config((64,), (64,), 4, stages=3), 65536),
        ("b200", {"head_dim": 128}, Config((64,), (64,), 4, warps=8), 82464),
        ("b200", {"head_dim": 96}, Config((64,), (64,), 4, warps=8), 57896),
        ("b200", {"head_dim": 128, "dtype": "fp8"}, Config((64,), (64,), 4), 40992),
        ("h100", {"form": "absorbed"}, Config((64,), (32,), 8, warps=8), 151552),
        ("b200", {"head_dim": 128, "kv_dtype": "fp8"}, Config((64,), (128,), 4, warps=8), 115728),
        ("b200", {"form": "absorbed"}, Config((64,), (64,), 8, warps=8), 213544),
        ("h100", {"form": "absorbed", "kv_dtype": "fp8"}, Config((16,), (64,), 8, warps=8, stages=3), 92160),
        ("a100", {"form": "absorbed"}, Config((32,), (64,), 8, warps=8), 114688),
    ],
)
def test_shared_memory_is_what_the_compiler_allocates(
    chip: str, sizes: dict[str, Any], config: Config, compiled: int
) -> None:
    """Figures of triton 3.9; of 3.6 all but that of 213544."""
    sizes = dict(sizes)
    if "form" in sizes:
        part = part_of("mla", {"form": sizes.pop("form")}, heads=64, **sizes, **LONG)
    else:
        part = part_of("gqa", heads=32, kv_heads=8, **sizes, **LONG)
    assert IMPLEMENTATION.shared_memory_bytes(part, api.load_hardware(chip), config) == compiled
