"""2-simplicial attention, interpreted: against float64, and counted against the model's tiled counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnsim.kernels import simplicial
from attnsim.kernels.interpret import Counted, counting
from attnsim.kernels.operands import DTYPES
from attnsim.simulator import api, implementations
from attnsim.simulator.config import Config, TritonKernel
from attnsim.simulator.errors import InputError
from attnsim.simulator.tiling import tile_parts

from .attention_cases import case
from .budget import assert_within_budget

CASES: list[tuple[int, int, dict[str, Any]]] = [
    (9, 3, {"seq": 21}),
    (3, 7, {"seq": 19}),  # the second window is the longer one
    (512, 32, {"seq": 18}),  # both windows are longer than the sequence
    (1, 1, {"seq": 17}),
    (40, 6, {"seq": 1}),
    (40, 6, {"seq": 1, "kv_len": 50}),
]
HEADS: list[dict[str, Any]] = [
    {"heads": 1, "head_dim": 16}, {"heads": 2, "kv_heads": 1, "head_dim": 24, "v_dim": 40, "batch": 2},
]  # fmt: skip
"""One visited tile takes the interpreter some ten milliseconds, and a tile of queries has one a second key: small."""


def definition(
    t: dict[str, torch.Tensor], window1: int, window2: int, rounded: torch.dtype | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(o, lse) by equations 5 to 7 of 2507.02754 over all triples, in the type of the operands.

    rounded: what a kernel's matrix products take passes through this type: q o k' and the probabilities.
    """
    q, k, v, k2, v2 = (t[name] for name in ("q", "k", "v", "k2", "v2"))
    group, n, m = q.shape[1] // k.shape[1], q.shape[2], k.shape[2]
    k, v, k2, v2 = (x.repeat_interleave(group, dim=1) for x in (k, v, k2, v2))
    products = q[:, :, :, None] * k2[:, :, None]  # [B, H, N, M second, d]
    if rounded is not None:
        products = products.to(rounded).to(q.dtype)
    scores = products @ k[:, :, None].transpose(-1, -2) * q.shape[-1] ** -0.5  # [B, H, N, M second, M first]
    i, j = torch.arange(n)[:, None] + m - n, torch.arange(m)[None, :]
    first, second = ((j <= i) & (j > i - window) for window in (window1, window2))
    scores = scores.masked_fill(~(second[:, :, None] & first[:, None, :]), float("-inf"))
    highest = scores.amax((-1, -2), keepdim=True)
    p = torch.exp(scores - highest)
    total = p.sum((-1, -2))[..., None]
    if rounded is not None:
        p = p.to(rounded).to(q.dtype)
    o = ((p @ v[:, :, None]) * v2[:, :, None]).sum(3) / total
    return o, (torch.log(total) + highest[..., 0])[..., 0]


def check(made: Any, t: dict[str, torch.Tensor], out: dict[str, torch.Tensor], compute: torch.dtype) -> None:
    """o and lse within twice the error of the definition computed in the operands' precision."""
    wide = {name: x.double() for name, x in t.items()}
    truth, lse = definition(wide, made.window1, made.window2, None)
    low, low_lse = definition({n: x.to(compute) for n, x in t.items()}, made.window1, made.window2, compute)
    assert_within_budget("o", out["o"], truth, low.to(out["o"].dtype))
    if "lse" in out:
        # q o k' is rounded to the operands' type: one such step of a score, whatever the error of the definition's own.
        q, k, k2 = (wide[name].abs().amax((0, 1, 2)) for name in ("q", "k", "k2"))
        score = float((q * k * k2).sum()) * q.shape[-1] ** -0.5
        step = torch.finfo(compute).eps / torch.finfo(torch.float32).eps
        assert_within_budget("lse", out["lse"], lse, low_lse, terms=score * step)


def setting(window1: int, window2: int, **sizes: Any) -> tuple[Any, Any, dict[str, torch.Tensor]]:
    """A variant, its prepared problem and random operands."""
    made, problem = case("simplicial-2", {"window1": window1, "window2": window2}, causal=True, **sizes)
    return made, problem, simplicial.inputs(made, problem)  # type: ignore[arg-type]


@pytest.mark.parametrize("sides", [(16, 16), (32, 16)])
@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize(("window1", "window2", "sizes"), CASES)
def test_forward_equals_the_definition(
    window1: int, window2: int, sizes: dict[str, Any], heads: dict[str, Any], sides: tuple[int, int], counted: Counted
) -> None:
    made, problem, t = setting(window1, window2, **sizes, **heads)
    out = simplicial.plan(made, problem, t, Config((sides[0],), (sides[1],)), lse=True).run()
    check(made, t, out, torch.bfloat16)


def test_this_file_and_the_reference_agree() -> None:
    """The plain torch reference of the family, which makes its own inputs, gives what the definition above gives."""
    from attnsim.kernels.reference import Maker, higher_order

    made, problem = case("simplicial-2", {"window1": 6, "window2": 3}, causal=True, seq=11, heads=4, kv_heads=2,
                         head_dim=16, v_dim=8)  # fmt: skip
    again = Maker("cpu", torch.float64)
    shapes = {"q": (1, 4, 11, 16), "k": (1, 2, 11, 16), "k2": (1, 2, 11, 16), "v": (1, 2, 11, 8), "v2": (1, 2, 11, 8)}
    t = {name: again(*shape).detach() for name, shape in shapes.items()}
    truth = higher_order.run(made, problem, Maker("cpu", torch.float64)).detach()
    torch.testing.assert_close(definition(t, 6, 3, None)[0], truth)


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_operand_types(dtype: str, counted: Counted) -> None:
    made, problem, t = setting(12, 2, seq=20, heads=1, head_dim=32, dtype=dtype)
    check(made, t, simplicial.plan(made, problem, t, Config((16,), (32,)), lse=True).run(), DTYPES[dtype])


@pytest.mark.parametrize("pack", [3, 6])
def test_packed_heads_change_nothing(pack: int, counted: Counted) -> None:
    made, problem, t = setting(18, 3, seq=20, heads=6, kv_heads=1, head_dim=16)
    out = simplicial.plan(made, problem, t, Config((16,), (16,), packed_heads=pack), lse=True).run()
    check(made, t, out, torch.bfloat16)


@pytest.mark.parametrize("shape", [(1, 2, 0, 16), (0, 2, 5, 16)])
def test_empty_operands(shape: tuple[int, ...], counted: Counted) -> None:
    made, problem, t = setting(4, 2, seq=5, heads=2, head_dim=16)
    empty = {name: torch.zeros(shape, dtype=torch.bfloat16) for name in t}
    out = simplicial.plan(made, problem, empty, Config((16,), (16,)), lse=True).run()
    assert out["o"].shape == shape
    assert out["o"].numel() == 0


def test_queries_without_keys_give_zero(counted: Counted) -> None:
    made, problem, t = setting(4, 2, seq=20, heads=1, head_dim=16)
    short = {name: x if name == "q" else x[:, :, :13] for name, x in t.items()}
    out = simplicial.plan(made, problem, short, Config((16,), (16,)), lse=True).run()
    assert (out["o"][:, :, :7] == 0).all()
    assert (out["lse"][:, :, :7] == float("-inf")).all()
    rest = {name: x[:, :, 7:] if name == "q" else x for name, x in short.items()}
    check(made, rest, {name: x[:, :, 7:] for name, x in out.items()}, torch.bfloat16)


def test_strided_operands_are_read_where_they_lie(counted: Counted) -> None:
    made, problem, t = setting(9, 2, seq=17, heads=2, head_dim=16)
    wide = torch.randn(1, 17, 5, 2, 16).bfloat16()  # [B, N, operand, H, d]
    t = {name: wide[:, :, i].transpose(1, 2) for i, name in enumerate(t)}
    check(made, t, simplicial.plan(made, problem, t, Config((16,), (16,))).run(), torch.bfloat16)


@pytest.mark.parametrize(("name", "shape"), [("k2", (1, 2, 19, 16)), ("v2", (1, 1, 20, 16))])
def test_operands_that_do_not_fit_are_refused(name: str, shape: tuple[int, ...]) -> None:
    made, problem, t = setting(9, 3, seq=20, heads=2, head_dim=16)
    with pytest.raises(InputError):
        simplicial.plan(made, problem, t | {name: torch.zeros(shape).bfloat16()}, Config((16,), (16,)))


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    n=st.integers(1, 24), decode=st.booleans(), window1=st.integers(1, 30), window2=st.integers(1, 6),
    heads=st.sampled_from([(1, 1, 1), (3, 1, 3), (2, 1, 1), (4, 2, 2)]),
    sides=st.sampled_from([(16, 16), (16, 32), (32, 16)]), dims=st.sampled_from([(16, 16), (24, 8)]),
)  # fmt: skip
def test_any_windows(
    n: int, decode: bool, window1: int, window2: int, heads: tuple[int, int, int], sides: tuple[int, int],
    dims: tuple[int, int],
) -> None:  # fmt: skip
    made, problem, t = setting(window1, window2, seq=1 if decode else n, kv_len=n, heads=heads[0], kv_heads=heads[1],
                               head_dim=dims[0], v_dim=dims[1], dtype="fp16")  # fmt: skip
    config = Config((sides[0],), (sides[1],), packed_heads=heads[2])
    with counting():
        check(made, t, simplicial.plan(made, problem, t, config, lse=True).run(), torch.float16)


def walk(n: int, m: int, window1: int, window2: int, tokens: int, columns: int) -> tuple[int, int, int]:
    """(second keys, visited tiles of first keys, first keys loaded) of all query tiles of one head, by brute force."""
    seconds = visits = keys = 0
    for first in range(0, n, tokens):
        rows = [i + m - n for i in range(first, min(first + tokens, n))]
        for second in range(m):
            seeing = [i for i in rows if i - window2 < second <= i]
            seconds += bool(seeing)
            touched = {j // columns for i in seeing for j in range(max(i - window1 + 1, 0), i + 1)}
            visits += len(touched)
            keys += sum(min(columns, m - tile * columns) for tile in touched)
    return seconds, visits, keys


@pytest.mark.parametrize(("sides", "pack"), [((16, 16), 1), ((32, 16), 1), ((16, 32), 1), ((16, 16), 2), ((32, 16), 4)])
@pytest.mark.parametrize(("window1", "window2", "sizes"), CASES)
def test_the_kernel_does_the_work_of_the_model(
    window1: int, window2: int, sizes: dict[str, Any], pack: int, sides: tuple[int, int], counted: Counted
) -> None:
    """Matrix FLOPs and exponentials of a visited tile are the model's, and so are the bytes of a key tile, of the
    queries and of the result. How often tiles are visited is not:

    - the model takes the tiles of the first band as often as a triple has pairs on average; the kernel goes over the
      second keys that *some* query of the tile sees, each with the tiles of first keys that those queries see (`walk`);
    - k' and v' are read once for every second key of a query tile: (d + dv) elements each;
    - exponentials of rows alone, which the model leaves out: one a row and visited tile, one a row and second key.
    """
    heads, kv_heads, d, dv, batch = 4, 1, 32, 16, 1
    made, problem, t = setting(window1, window2, **sizes, heads=heads, kv_heads=kv_heads, head_dim=d, v_dim=dv,
                               batch=batch)  # fmt: skip
    config = Config((sides[0],), (sides[1],), packed_heads=pack)
    simplicial.plan(made, problem, t, config).run()
    n, m = problem.queries, problem.kv_len
    graph = made.graph(problem)
    seconds, visits, keys = (
        x * batch * heads // pack for x in walk(n, m, window1, window2, sides[0] // pack, sides[1])
    )
    (tiled,) = tile_parts(graph, config, api.load_hardware("h100"))
    part, summary = tiled.part, tiled.summary
    assert summary is not None
    assert sum(counted.dot_flops.values()) == visits * tiled.tile_matrix
    assert counted.exp == visits * (tiled.tile_pairs + tiled.rows) + seconds * tiled.rows
    element = 2
    ends = batch * heads * n * (d + dv) * element
    assert counted.bytes() == keys * tiled.key_bytes / tiled.columns + seconds * (d + dv) * element + ends
    # The model's own counts, in the same terms: the band's tiles, times second keys a first one on average.
    triples = part.instances * part.pairs
    assert tiled.counts.matrix_flops == pytest.approx(
        summary.visited * tiled.tile_matrix * triples / part.pairs / pack, rel=1e-12
    )
    exact = walk(n, m, window1, window2, 1, 1)[1] * batch * heads
    assert triples == pytest.approx(exact, rel=1e-12)
    assert graph.parts[0].ops[0].matrix * exact == 2 * d * exact


def test_few_tokens_of_many_heads_waste_little() -> None:
    """Visited pairs over attending triples at the paper's windows (section 6: 64 query heads to a kv head): a tile of
    one token's heads wastes part of two tiles of first keys; one of 64 tokens of one head three times the work."""
    n, window1, window2 = 1024, 512, 32
    triples = sum(min(i + 1, window1) * min(i + 1, window2) for i in range(n))
    waste = [walk(n, n, window1, window2, tokens, 64)[1] * 64 * tokens / triples for tokens in (1, 64)]
    assert waste[0] < 1.13
    assert 2.9 < waste[1] < 3.5


def part_of(variant: str = "simplicial-2", **sizes: Any) -> Any:
    """The part a kernel is asked about."""
    made, problem = case(variant, **{"seq": 4096, "heads": 64, "kv_heads": 1, "head_dim": 128, "causal": True} | sizes)
    return made.graph(problem).main


KERNEL = implementations.get("triton-simplicial")


@pytest.mark.parametrize("chip", ["a100", "l40s", "h100", "b200", "b300", "rtx-5090", "mi300x", "mi355x"])
@pytest.mark.parametrize("sizes", [{}, {"head_dim": 64}, {"kv_heads": 64}, {"heads": 12, "kv_heads": 4},
                                   {"dtype": "fp32"}])  # fmt: skip
def test_every_candidate_is_legal_and_packs_the_heads_of_a_kv_head(chip: str, sizes: dict[str, Any]) -> None:
    assert isinstance(KERNEL, TritonKernel)
    part, hardware = part_of(**sizes), api.load_hardware(chip)
    candidates = KERNEL.candidates(part, hardware)
    assert candidates
    assert KERNEL.configs(part, hardware) == candidates
    group = part.query_heads // part.kv_heads
    assert all(c.packed_heads == min(group, c.query[0]) for c in candidates)


@pytest.mark.parametrize(("sizes", "config", "words"), [
    ({"variant": "sliding-window"}, None, "a query and two keys"),
    ({"direction": "backward"}, None, "no backward pass"),
    ({"dtype": "fp8"}, None, "not fp8"),
    ({"kv_dtype": "fp8"}, None, "keys of the queries' type"),
    ({"head_dim": 256}, None, "head_dim 8 to 128"),
    ({"v_dim": 256}, None, "v_dim up to 128"),
    ({}, Config((48,), (64,)), "powers of two"),
    ({}, Config((8,), (64,)), "sides of 16"),
    ({}, Config((64,), (64,), packed_heads=3, warps=8), "divisors of the 64"),
    ({}, Config((32,), (64,), packed_heads=64, warps=8), "up to the 32 rows"),
    ({}, Config((64,), (64,), warps=8, tma=True), "no persistent, tma"),
    ({}, Config((64,), (256,), warps=8, stages=4), "shared memory"),
    ({}, Config((128,), (64,), warps=8), "sums and scores"),
])  # fmt: skip
def test_refusals(sizes: dict[str, Any], config: Config | None, words: str) -> None:
    refusal = KERNEL.refuses(part_of(**sizes), api.load_hardware("h100"), config)
    assert refusal is not None
    assert words in refusal


def test_it_alone_is_predicted() -> None:
    """Kernels of pairs do not run two keys in a score; this one does not run pairs."""
    import attnsim

    found = attnsim.predict("simplicial-2", hardware="h100")
    kernel = found.chosen.implementation
    assert kernel is not None
    assert kernel.name == "triton-simplicial"
    assert found.time_s is not None
    with pytest.raises(attnsim.InputError, match="a query and one key"):
        attnsim.predict("simplicial-2", hardware="h100", implementation="triton-flash")
    with pytest.raises(attnsim.InputError, match="a query and two keys"):
        attnsim.predict("mha", hardware="h100", implementation="triton-simplicial")
