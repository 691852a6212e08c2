"""Files of other tools as recordings: TorchInductor's AUTOTUNE logs, and Kernel Tuner's T4 results both ways."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnsim.autotune import archives
from attnsim.autotune.archives import Context, t4
from attnsim.autotune.measurement import OUTCOMES, Measurement, Recording, write
from attnsim.autotune.task import Task
from attnsim.simulator.config import ChunkConfig, Config
from attnsim.simulator.errors import InputError

OPTIONS = (
    "FLOAT32_PRECISION=\"'ieee'\", GQA_SHARED_HEADS={group}, HAS_FULL_BLOCKS={full}, IS_DIVISIBLE=True, "
    "OUTPUT_LOGSUMEXP=True, QK_HEAD_DIM=64, SM_SCALE=0.125, SPARSE_KV_BLOCK_SIZE={sparse}, V_HEAD_DIM=64, "
)


def choice(number: int, ms: str, tile: str, launch: str, kernel: str = "flex_attention", sparse: int = 1 << 30,
           full: bool = False, group: int = 1) -> str:  # fmt: skip
    """A line of a log, with the options that torch puts between the tile's."""
    share = "0.0%" if ms == "inf" else "100.0%"
    rest = OPTIONS.format(group=group, full=full, sparse=sparse)
    return f"  triton_{kernel}_{number} {ms} ms {share} {tile}, {rest}{launch}"


FORWARD = "\n".join([
    "AUTOTUNE flex_attention(2x16x4096x64, 2x4x8192x64, 2x4x8192x64, 2x16x4096, 1x1x1, 1x1x1x1)",
    choice(3, "1.2345", "BLOCK_M=128, BLOCK_N=64", "num_stages=3, num_warps=8"),
    choice(1, "1.5", "BLOCK_M=64, BLOCK_N=64", "num_stages=3, num_warps=4"),
    choice(2, "inf", "BLOCK_M=128, BLOCK_N=128", "num_stages=3, num_warps=8"),
    "SingleProcess AUTOTUNE benchmarking takes 0.6 seconds and 9.0 seconds precompiling for 3 choices",
])  # fmt: skip
DECODE = "\n".join([
    "AUTOTUNE flex_decoding(8x4x4x1x64, 8x4x2048x64, 8x4x2048x64, 8x16x1)",
    "strides: [4096, 1024, 256, 64, 1], [524288, 131072, 64, 1]",
    "dtypes: torch.float16, torch.float8_e5m2, torch.float8_e5m2, torch.float32",
    choice(0, "0.0450", "BLOCK_M=16, BLOCK_N=64", "SPLIT_KV=4, num_stages=3, num_warps=2", "flex_decoding", 128, True,
           4),
    "SubProcess AUTOTUNE benchmarking takes 0.5 seconds",
])  # fmt: skip
BACKWARD = "\n".join([
    "AUTOTUNE flex_attention_backward(1x8x1024x64, 1x8x1024x64, 1x8x1024x64, 1x8x1024, 1x8x1024)",
    choice(9, "0.9", "BLOCK_M1=32, BLOCK_M2=128, BLOCK_N1=128, BLOCK_N2=32", "num_stages=1, num_warps=8",
           "flex_attention_backward"),
    choice(8, "0.8", "BLOCK_M1=32, BLOCK_M2=64, BLOCK_N1=128, BLOCK_N2=64", "num_stages=1, num_warps=8",
           "flex_attention_backward"),
    "SingleProcess AUTOTUNE takes 1.0 seconds",
])  # fmt: skip
MATMUL = "\n".join([
    "AUTOTUNE mm(128x64, 64x128)", "strides: [64, 1], [128, 1]", "dtypes: torch.float16, torch.float16",
    "  mm 0.0061 ms 100.0% ",
    "  triton_mm_2 0.0072 ms 84.7% ACC_TYPE='tl.float32', BLOCK_K=32, BLOCK_M=64, BLOCK_N=64, num_stages=5",
    "SingleProcess AUTOTUNE benchmarking takes 0.2 seconds and 0.3 seconds precompiling for 2 choices",
])  # fmt: skip


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Recording]:
    """`read(text, hardware="h100")`: a file with this text, read."""

    def reader(text: str, hardware: str | None = "h100", **more: Any) -> Recording:
        path = tmp_path / "given"
        path.write_text(text)
        return archives.read(path, Context(hardware, **more))

    return reader


def test_a_forward_block(read: Callable[..., Recording]) -> None:
    found = read(FORWARD, arguments={"dtype": "fp16"})
    (task,) = found.tasks
    assert (task.implementation, task.hardware, task.variant) == ("triton-other", "h100", "mha")
    p = task.problem
    assert (p.batch, p.heads, p.kv_heads, p.queries, p.kv_len, p.head_dim) == (2, 16, 4, 4096, 8192, 64)
    assert (p.dtype, p.direction, p.causal) == ("fp16", "forward", False)
    tried = [(m.config.query, m.config.key, m.config.warps, m.config.stages) for m in found.measurements]  # type: ignore[attr-defined]
    assert tried == [((128,), (64,), 8, 3), ((64,), (64,), 4, 3), ((128,), (128,), 8, 3)]
    assert [m.seconds for m in found.measurements] == [(pytest.approx(1.2345e-3),), (pytest.approx(1.5e-3),), ()]
    assert [m.outcome for m in found.measurements] == ["ok", "ok", "failed to compile"]
    assert sum(m.compile_s or 0 for m in found.measurements) == pytest.approx(9.0)
    assert sum(m.measure_s or 0 for m in found.measurements) == pytest.approx(0.6)
    assert not any(m.flags for m in found.measurements)


def test_decoding_packs_heads_and_splits_keys(read: Callable[..., Recording]) -> None:
    (one,) = read(DECODE).measurements
    p = one.task.problem
    assert one.task.implementation == "triton-other-decode"
    assert (p.batch, p.heads, p.kv_heads, p.queries, p.kv_len) == (8, 16, 4, 1, 2048)
    assert (p.dtype, p.kv_dtype) == ("fp16", "fp8_e5m2")
    assert one.config.packed_heads == 4
    assert getattr(one.config, "splits") == 4  # noqa: B009
    assert one.compile_s is None
    assert one.flags == ("stand-in mask",)


def test_the_backward_pass_takes_the_loop_over_queries(read: Callable[..., Recording]) -> None:
    (one,) = read(BACKWARD, arguments={"dtype": "bf16"}).measurements
    assert one.task.problem.direction == "backward"
    assert (one.config.query, one.config.key) == ((32,), (128,))
    assert one.seconds == (pytest.approx(0.8e-3),), "of two choices that differ in the other loop the faster"


PREFIXES = ("", "[rank0]:", "I0101 10:20:30.456000 999 torch/_inductor/select_algorithm.py:2300] [0/0] ",
            "2026-01-01T10:20:30Z stderr ")  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_lines_may_have_prefixes(read: Callable[..., Recording], prefix: str) -> None:
    text = "\n".join(prefix + line for line in f"hello\n{MATMUL}\n{DECODE}\nbye".splitlines())
    found = read(text)
    assert len(found.measurements) == 1
    assert "left out, no attention: 1 of mm" in found.provenance["notes"]


def test_processes_that_write_at_once_are_told_apart(read: Callable[..., Recording]) -> None:
    first = [f"[rank0]:{line}" for line in DECODE.splitlines()]
    second = [f"[rank1]:{line}" for line in FORWARD.splitlines()]
    mixed = [line for pair in zip(first, second, strict=True) for line in pair]
    found = read("\n".join(mixed))
    assert [len(found.of(task)) for task in found.tasks] == [1, 3]


def test_a_problem_tuned_twice_has_two_repetitions(read: Callable[..., Recording]) -> None:
    found = read(f"{FORWARD}\n{FORWARD.replace('1.2345', '1.3')}")
    assert [len(m.seconds) for m in found.measurements] == [2, 2, 0]
    assert sum(m.compile_s or 0 for m in found.measurements) == pytest.approx(18.0)


def test_a_failure_is_of_resources_where_the_log_says_so(read: Callable[..., Recording]) -> None:
    said = "Runtime error during autotuning: out of resource: shared memory, Required: 300000, Hardware limit: 232448"
    assert [m.outcome for m in read(f"{said}\n{FORWARD}").measurements][-1] == "out of resources"
    assert [m.outcome for m in read(f"{FORWARD}\n{said}").measurements][-1] == "failed to compile"


def test_the_context_states_what_the_log_does_not(read: Callable[..., Recording]) -> None:
    with pytest.raises(InputError, match="does not say which chip it was measured on: give --hw"):
        read(FORWARD, None)
    found = read(FORWARD, "a100", variant="sliding-window", arguments={"window": 1024, "causal": True})
    assert found.tasks[0].made.parameters()["window"] == 1024
    assert "the log does not say the type of its operands: bf16 is assumed" in found.provenance["notes"]
    assert read(DECODE, implementation="triton-decode").tasks[0].kernel.name == "triton-decode"
    with pytest.raises(InputError, match="seq is 77; the log says 4096: leave it out"):
        read(FORWARD, arguments={"seq": 77})
    with pytest.raises(InputError, match="has no block of flex_attention"):
        read(MATMUL)
    with pytest.raises(InputError, match=r"no q, k and v of attention in flex_attention\(4x5\)"):
        read("AUTOTUNE flex_attention(4x5)")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_damaged_files_are_read_or_refused(data: st.DataObject) -> None:
    """Nothing but an InputError, whatever is cut out, doubled or changed."""
    text = data.draw(st.sampled_from([FORWARD, DECODE, BACKWARD, t4.dump(recorded()), foreign()]))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text) - 1))
        end = min(len(text), start + data.draw(st.integers(1, 60)))
        text = (
            text[:start] + data.draw(st.sampled_from(["", text[start:end] * 2, "x", "-1", '"', "9" * 30])) + text[end:]
        )
        if not text:
            return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "given"
        path.write_text(text)
        with contextlib.suppress(InputError):
            sizes = {"seq": 64} if text.startswith("{") else {}
            assert isinstance(archives.read(path, Context("h100", arguments=sizes)), Recording)


@dataclass(frozen=True)
class Choice:
    """What torch's log reads of a choice."""

    name: str
    description: str


def test_what_the_installed_torch_writes(
    read: Callable[..., Recording], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Torch's own function writes the log of made-up choices."""
    import torch
    from torch._inductor import config, select_algorithm

    hints = SimpleNamespace(optimization_hints_with_override=lambda size, hint_override: size)
    graph = SimpleNamespace(sizevars=hints)
    debug = SimpleNamespace(log_autotuning_results=lambda *_: None)
    monkeypatch.setattr(select_algorithm, "V", SimpleNamespace(graph=graph, debug=debug))
    monkeypatch.setattr(select_algorithm, "get_strides_with_layout_constraints", lambda node: node.get_stride())

    def node(*shape: int) -> Any:
        tensor = torch.empty(shape, dtype=torch.bfloat16, device="meta")
        return SimpleNamespace(get_size=lambda: shape, get_stride=tensor.stride, get_dtype=lambda: tensor.dtype)

    names = {"BLOCK_M": 128, "BLOCK_N": 64, "num_stages": 3, "num_warps": 8}
    described = [", ".join(f"{k}={v}" for k, v in (names | {"BLOCK_N": n}).items()) for n in (64, 32, 128)]
    made = [Choice(f"triton_flex_attention_{i}", text) for i, text in enumerate(described)]
    timings = dict(zip(made, (0.5, 0.25, float("inf")), strict=True))
    with config.patch(max_autotune=True):
        select_algorithm.AlgorithmSelectorCache.log_results(
            "flex_attention", [node(1, 8, 512, 64)] * 3, timings, 1.5, 6.0
        )
    found = read(capsys.readouterr().err)
    assert found.tasks[0].problem.dtype == "bf16"
    assert {m.config.key[0]: (m.seconds, m.outcome) for m in found.measurements} == {
        32: ((pytest.approx(0.25e-3),), "ok"), 64: ((pytest.approx(0.5e-3),), "ok"), 128: ((), "failed to compile"),
    }  # fmt: skip
    assert [m.compile_s for m in found.measurements] == [2.0] * 3


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "schema_version": {"type": "string", "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"},
        "results": {"type": "array", "items": {
            "type": "object",
            "required": ["configuration", "times", "invalidity", "correctness"],
            "properties": {
                "timestamp": {"type": "string"}, "configuration": {"type": "object"}, "objectives": {"type": "array"},
                "times": {"type": "object", "properties": {
                    **{n: {"type": "number"} for n in ("compilation_time", "framework", "search_algorithm",
                                                       "validation")},
                    "runtimes": {"type": "array"},
                }},
                "invalidity": {"enum": ["timeout", "compile", "runtime", "correctness", "constraints", "correct"]},
                "correctness": {"type": "number"},
                "measurements": {"type": "array", "items": {"type": "object", "properties": {
                    "name": {"type": "string"}, "value": {"type": ["number", "string", "array"]},
                    "unit": {"type": "string"},
                }}},
            },
        }},
    },
}  # fmt: skip
"""What KernelTuner/kernel_tuner's kernel_tuner/schema/T4/1.0.0/results-schema.json asks for."""


def recorded() -> Recording:
    """Every outcome, several kernels, tiles along axes, and times that no decimal number holds."""
    flash = Task.make("mha", "h100", "triton-flash", seq=4096, causal=True)
    linear = Task.make("gated-deltanet", "b200", "triton-linear", seq=1000)
    near = Task.make("gna", "h100", "triton-neighbourhood", shape=(8, 16, 32), window=(6, 8, 8))
    config = Config((128,), (64,), warps=8, stages=3, tma=True)
    found = [
        Measurement(flash, config, "ok", (1 / 3e3, 0.1 + 0.2e-9, 7.1e-4), compile_s=1 / 3, measure_s=0.07,
                    registers=255, spill_bytes=0, shared_memory_bytes=98304, flags=("outliers",),
                    conditions={"date": "2026-01-02", "clock_hz": 1.7e9, "device": "a test"}),
        Measurement(linear, ChunkConfig((64,), (64,), value_block=32), "ok", (2e-5,)),
        Measurement(near, Config((2, 8, 8), (4, 4, 8), permuted=True), "ok", (3e-4,)),
    ]  # fmt: skip
    failed = [outcome for outcome in OUTCOMES if outcome != "ok"]
    found += [
        Measurement(flash, Config((64,), (32,), stages=stages), outcome, reason=f"it is {outcome}")
        for stages, outcome in enumerate(failed, start=1)
    ]
    return Recording({"device": "a test", "commit": "0"}, tuple(found))


def test_t4_comes_back_as_it_was(read: Callable[..., Recording]) -> None:
    before = recorded()
    again = read(t4.dump(before), None)
    assert again.provenance == before.provenance
    assert [m.to_dict() for m in again.measurements] == [m.to_dict() for m in before.measurements]
    assert [type(m.config) for m in again.measurements] == [type(m.config) for m in before.measurements]
    assert t4.dump(again) == t4.dump(before)


def test_t4_is_what_the_schema_asks_for() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    data = json.loads(t4.dump(recorded()))
    jsonschema.validate(data, SCHEMA)
    first = data["results"][0]
    assert first["configuration"]["BLOCK_M"] == 128
    assert first["configuration"]["num_warps"] == 8
    assert first["times"]["runtimes"] == pytest.approx([1 / 3, 100.0000002, 0.71])
    assert first["times"]["compilation_time"] == pytest.approx(1000 / 3)
    assert {r["invalidity"] for r in data["results"]} == set(SCHEMA["properties"]["results"]["items"]["properties"][
        "invalidity"]["enum"])  # fmt: skip


def foreign(**changes: Any) -> str:
    """A file as Kernel Tuner's `store_output_file` writes it."""
    result = {
        "timestamp": "2026-01-01 10:00:00+00:00", "configuration": {"BLOCK_M": 64, "BLOCK_N": 32, "num_warps": 4,
                                                                    "num_stages": 2},
        "times": {"compilation": 661.5, "benchmark": 393.9, "framework": 53.1, "search_algorithm": 0, "validation": 0,
                  "runtimes": [12.5, 12.25]},
        "invalidity": "correct", "correctness": 1, "objectives": ["time"],
        "measurements": [{"name": "time", "value": 12.375, "unit": "ms"}],
    } | changes  # fmt: skip
    return json.dumps({"results": [result], "schema_version": "1.0.0"})


def test_a_file_of_kernel_tuner_needs_its_task(read: Callable[..., Recording]) -> None:
    with pytest.raises(InputError, match="does not say what was measured: give --hw"):
        read(foreign(), None)
    sizes = {"seq": 2048, "heads": 8, "causal": True}
    (one,) = read(foreign(), "a100", arguments=sizes).measurements
    assert str(one.task).startswith("mha 2048")
    assert one.seconds == (0.0125, 0.01225)
    assert (one.compile_s, one.measure_s) == (pytest.approx(0.6615), pytest.approx(0.3939))
    assert (one.config.query, one.config.key) == ((64,), (32,))
    (failed,) = read(foreign(invalidity="runtime", times={}), "a100", arguments=sizes).measurements
    assert (failed.outcome, failed.seconds) == ("out of resources", ())
    own = {"query": "2x8x8", "key": "2x8x8", "warps": 4, "stages": 2}
    task = {"implementation": "triton-neighbourhood", "variant": "gna",
            "arguments": {"shape": (8, 16, 32), "window": (6, 8, 8)}}  # fmt: skip
    (near,) = read(foreign(configuration=own), "h100", **task).measurements
    assert near.config == Config((2, 8, 8), (2, 8, 8), warps=4, stages=2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (foreign(configuration={"block_size_x": 16}), "no BLOCK_M or query in the configuration"),
        (foreign(configuration={"BLOCK_M": "big", "BLOCK_N": 1}), "a tile of 'big'; allowed: a whole number"),
        (foreign(invalidity="odd"), "invalidity is 'odd'; T4 knows correct, compile"),
        ('{"results": [{}]}', "is no T4 file"), ('{"results": [3]}', "is no T4 file"),
        ('{"measurements": 3}', "is no recording of format"), ("{", "is no recording"),
        ("hello", "is no recording, no TorchInductor AUTOTUNE log and no T4 file"),
    ],
    ids=range(8),
)  # fmt: skip
def test_files_that_are_none_are_said(read: Callable[..., Recording], text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read(text)
    assert "\n" not in str(error.value)


def test_our_own_recordings_are_read_too(tmp_path: Path) -> None:
    before = recorded()
    write(tmp_path / "own.json", before.provenance, before.measurements)
    again = archives.read(tmp_path / "own.json")
    assert [m.to_dict() for m in again.measurements] == [m.to_dict() for m in before.measurements]
    with pytest.raises(InputError, match="cannot read"):
        archives.read(tmp_path / "none.json")
