"""Predictions beside measurements: rows equal to `predict`, floors that flag, errors by hand, the command."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from attnsim import predict
from attnsim.autotune import accuracy, rows, silicon, validate
from attnsim.autotune.silicon import Table
from attnsim.autotune.silicon.kernels import KERNELS
from attnsim.cli import main
from attnsim.simulator.api import load_hardware
from attnsim.simulator.calibration import overhead
from attnsim.simulator.errors import InputError

installed = pytest.mark.skipif(
    importlib.util.find_spec("aiconfigurator_core") is None or importlib.util.find_spec("pyarrow") is None,
    reason="the tables are not installed: pip install 'attnsim[silicon]'",
)
FIELDS = {
    "chip", "framework", "version", "op", "implementation", "dtype", "split", "rows", "mape", "median", "p90",
    "coverage", "pairs_10_20", "pairs_over_20", "bound_violations", "roofline_violations", "tiles_violations",
    "baselines", "excluded", "reasons",
}  # fmt: skip


def made(problems: list[tuple[float, ...]], **changes: Any) -> Table:
    """A table of problems (rows of COLUMNS), one second each."""
    size = len(problems)
    columns: dict[str, Any] = {
        "chip": "h100", "framework": "vllm", "version": "0.24.0", "operation": "context",
        "kernel_source": "unheard-of", "dtype": "bf16", "kv_dtype": "bf16", "label_dtype": "bf16", "path": "x",
        "v_in_k": False, "latency_s": np.ones(size), "key": np.arange(size, dtype=np.uint64),
        "split": np.ones(size, dtype=np.uint8), "excluded": np.zeros(size, dtype=np.bool_), "reasons": {},
        **dict(zip(rows.COLUMNS, np.array(problems, dtype=np.float64).T, strict=True)),
    }  # fmt: skip
    return Table(**{**columns, **changes})


CONTEXT = [
    # batch, heads, kv_heads, seq, kv_len, head_dim, v_dim, window, chunk
    (1, 32, 8, 4096, 4096, 128, 128, 0, 0),
    (2, 32, 8, 4096, 4096, 128, 128, 128, 0),
    (2, 32, 8, 100, 100, 128, 128, 128, 0),
    (3, 16, 16, 700, 700, 64, 64, 0, 0),
    (3, 16, 16, 33, 33, 192, 128, 0, 0),
    (1, 40, 8, 16384, 16384, 128, 128, 0, 8192),
    (2, 40, 8, 10240, 10240, 128, 128, 0, 8192),
    (2, 40, 8, 8192, 8192, 128, 128, 0, 8192),
    (1, 32, 8, 4096, 4096, 128, 128, 0, 0),
]
DECODE = [
    (8, 32, 8, 1, 8192, 128, 128, 0, 0),
    (64, 32, 8, 1, 8192, 128, 128, 1024, 0),
    (4, 40, 8, 1, 8193, 128, 128, 0, 8192),
    (1, 8, 1, 1, 5, 64, 64, 0, 0),
]


def kernel_s(prediction: Any) -> float:
    return float(prediction.time_s - sum(t.time_s for t in prediction.terms if t.name == "launch"))


@pytest.mark.parametrize(("rows", "operation"), [(CONTEXT, "context"), (DECODE, "decode"), (CONTEXT[3:4], "encoder")])
@pytest.mark.parametrize("kv_dtype", ["bf16", "fp8"])
def test_rows_equal_predict(rows: list[tuple[float, ...]], operation: str, kv_dtype: str) -> None:
    table = made(rows, operation=operation, kv_dtype=kv_dtype)
    (checked,) = validate.check([table])
    for index, row in enumerate(rows):
        batch, heads, kv_heads, seq, kv_len, head_dim, v_dim, window, chunk = map(int, row)
        sizes: dict[str, Any] = {"seq": seq, "kv_len": kv_len}
        if chunk and seq > 1:
            sizes = {"documents": [chunk] * (seq // chunk) + [seq % chunk] * (seq % chunk > 0)}
        elif chunk:
            sizes["kv_len"] = (kv_len - 1) % chunk + 1
        p = predict(
            "sliding-window" if window else "mha", "h100", batch=batch, heads=heads, kv_heads=kv_heads,
            head_dim=head_dim, v_dim=v_dim, kv_dtype=kv_dtype, causal=operation != "encoder", cache="warm",
            **sizes, **({"window": window} if window else {}),
        )  # fmt: skip
        assert checked.roofline_s[index] == pytest.approx(p.rung_time("roofline"), rel=1e-9)
        assert checked.tiles_s[index] == pytest.approx(p.rung_time("tiles"), rel=1e-9)
        assert checked.schedule_s[index] == pytest.approx(kernel_s(p), rel=1e-9)
        assert checked.implementation[index] == p.chosen.implementation.name


def test_the_kernel_that_ran_is_predicted() -> None:
    (fast,), (triton,) = (list(validate.check([made(CONTEXT[:1], kernel_source=s)])) for s in ("fa3", "triton"))
    for one, source in ((fast, "fa3"), (triton, "triton")):
        assert one.implementation[0] in KERNELS["context"][source]
    assert fast.tiles_s == triton.tiles_s
    assert fast.predicted_s < triton.predicted_s
    (wide,) = validate.check([made([(1, 8, 8, 4096, 4096, 512, 512, 0, 0)])])
    assert wide.roofline_s > 0
    assert np.isnan([wide.tiles_s[0], wide.predicted_s[0]]).all(), "no known kernel takes it, so no tile is legal"
    assert wide.implementation[0] is None


def test_latent_attention_reads_its_values_inside_the_keys() -> None:
    rows = [(1.0, 128.0, 1.0, 1.0, 65536.0, 576.0, 512.0, 0.0, 0.0)]
    both, apart = validate.check([made(rows, operation="mla-decode", v_in_k=v) for v in (True, False)])
    h100 = load_hardware("h100")
    assert h100.l2_bytes is not None
    moved = 2 * (65536 * 576 + 128 * (576 + 512)) - h100.l2_bytes
    floor = both.roofline_s[0]
    assert floor >= moved / (h100.hbm_bandwidth_bytes_per_s or 0)
    assert apart.roofline_s[0] > 1.4 * floor


def test_records_count_and_measure() -> None:
    table = made(CONTEXT[:1] * 5)
    (checked,) = validate.check([table])
    predicted, floor = checked.predicted_s[0], checked.roofline_s[0]
    split = np.array([0, 1, 1, 1, 1], dtype=np.uint8)
    latency = np.array([predicted, predicted / 1.1, predicted / 0.8, 0.99 * floor, 0.5 * floor])
    excluded = np.array([False, False, False, False, True])
    (checked,) = validate.check([made(CONTEXT[:1] * 5, latency_s=latency, split=split, excluded=excluded)])
    first, second = accuracy.records(accuracy.pieces([checked]))
    assert set(first) >= FIELDS
    assert (first["split"], first["rows"], first["bound_violations"]) == ("calibration", 1, 0)
    assert first["mape"] == pytest.approx(0, abs=1e-9)
    assert (second["split"], second["rows"], second["excluded"]) == ("held-out", 3, 1)
    assert second["bound_violations"] == second["roofline_violations"] == second["tiles_violations"] == 1
    errors = [10, 20, 100 * (predicted / (0.99 * floor) - 1)]
    assert second["mape"] == pytest.approx(np.mean(errors))
    assert second["median"] == pytest.approx(20)
    assert second["signed_median"] == pytest.approx(10)
    assert accuracy.records(accuracy.pieces([checked]), splits=["zero-shot"]) == []
    (coarse,) = accuracy.records(accuracy.pieces([checked, checked]), accuracy.COARSE, ["held-out"])
    assert (coarse["rows"], coarse["excluded"]) == (6, 2)
    assert coarse["mape"] == pytest.approx(second["mape"])


def test_excluded_rows_are_told_by_rule() -> None:
    table = made(
        [(1, 8, 8, 64, 64, 72, 72, 0, 0)] * 2, chip="b200", framework="trtllm", operation="encoder",
        split=np.array([0, 1], dtype=np.uint8),
    )  # fmt: skip
    (checked,) = validate.check([silicon.exclude(table, silicon.known_bad())])
    records = accuracy.records(accuracy.pieces([checked]))
    assert [r["reasons"] for r in records] == [{"trtllm-blackwell-encoder-72-fallback": 1}] * 2
    assert [(r["rows"], r["mape"]) for r in records] == [(0, None)] * 2


def overhead_files(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
    """Files of overheads by framework-version_generation."""
    for name, text in files.items():
        version, _, generation = name.partition("__")
        path = folder / version.replace("_", "-") / f"{generation}.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text("format = 1\n" + text)
    monkeypatch.setattr(overhead, "FOLDER", folder)


def test_the_nearest_overhead_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def table(kind: str, seconds: float) -> str:
        return f"[{kind}]\nfixed_s = {seconds}\nsource = 'x'\n"

    overhead_files(
        tmp_path, monkeypatch, fw_1__hopper=table("decode.a.bf16", 1) + table("decode.b.fp8", 2),
        fw_2__hopper=table("decode.a.bf16", 3), fw_1__blackwell=table("context.a.bf16", 4),
    )  # fmt: skip

    def found(*asked: str) -> tuple[float, bool]:
        one = overhead.load("fw", *asked)
        assert one is not None
        return one.fixed_s, one.exact

    assert found("1", "hopper", "decode", "a", "bf16") == (1, True)
    assert found("1", "hopper", "decode", "a", "fp8") == (1, False), "another type of the kernel"
    assert found("1", "hopper", "decode", "c", "fp8") == (1, False), "another kernel of the operation"
    assert found("3", "hopper", "decode", "a", "bf16") == (3, False), "another version, the last"
    assert found("1", "hopper", "context", "a", "bf16") == (4, False), "a neighbouring generation"
    assert overhead.load("fw", "1", "hopper", "encoder", "a", "bf16") is None
    assert overhead.load("other", "1", "hopper", "decode", "a", "bf16") is None


def test_an_overhead_is_the_sum_of_its_passes() -> None:
    h100 = replace(load_hardware("h100"), l2_achieved_bytes_per_s=None)
    one = overhead.Overhead(fixed_s=1.0, query_passes=2.0, kv_passes=3.0, token_clocks=4.0)
    assert h100.hbm_bandwidth_bytes_per_s is not None
    moved = (2 * 10 + 3 * 20) / h100.hbm_bandwidth_bytes_per_s
    clocks = 4 * 30 / h100.sm_count / (h100.clock_sustained_hz or 0)
    assert one.seconds(10, 20, 30, h100) == pytest.approx(1 + moved + clocks, rel=1e-12)
    cached = load_hardware("l40s")
    assert cached.l2_bytes is not None
    inside, beyond = (one.seconds(size, 0, 0, cached) - 1 for size in (cached.l2_bytes, 1000 * cached.l2_bytes))
    assert beyond / inside > 2000, "what fits the L2 stays in it"


@pytest.mark.parametrize(("text", "message"), [
    ("[context.a.bf16]\nspeed = 1\nsource = 'x'", "speed"), ("[context.a.bf16]\nfixed_s = 1", "source"),
])  # fmt: skip
def test_a_broken_overhead_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    overhead_files(tmp_path, monkeypatch, broken_1__hopper=text)
    with pytest.raises(InputError, match=message):
        overhead.load("broken", "1", "hopper", "context", "a", "bf16")


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["attnsim", "validate", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    captured = capsys.readouterr()
    return int(done.value.code or 0), captured.out, captured.err


def test_the_command_prints_tables_and_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Any] = []

    def tables(*names: Any) -> Iterator[Table]:
        asked.append(names)
        yield made(CONTEXT)
        yield made(DECODE, chip="l40s", operation="decode", split=np.full(len(DECODE), 2, dtype=np.uint8))

    monkeypatch.setattr(accuracy, "tables", tables)
    code, out, err = run(monkeypatch, capsys, "--format", "json", "--chip", "h100,l40s", "--op", "context,mla-decode")
    assert (code, err) == (0, "")
    assert asked == [(["h100", "l40s"], None, ["context", "mla-decode"])]
    records = json.loads(out)
    of = {(r["chip"], r["op"], r["split"]) for r in records}
    assert of == {("h100", "context", "held-out"), ("l40s", "decode", "zero-shot")}
    assert sum(r["rows"] for r in records) == len(CONTEXT) + len(DECODE), "kernel by kernel"
    code, out, err = run(monkeypatch, capsys, "--data", "silicon", "--split", "zero-shot")
    assert (code, err) == (0, "")
    assert "l40s" in out
    assert "h100" not in out
    assert "zero-shot chips" in out.splitlines()[-1]


@pytest.mark.parametrize(("arguments", "message"), [
    (("--data", "silicone"), "did you mean 'silicon'"), (("--format", "xml"), "unknown format"),
    (("--split", "heldout"), "did you mean 'held-out'"), (("--chip", ","), "names nothing"),
])  # fmt: skip
def test_mistakes_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == silicon.PACKAGE else find(name, *rest)
    )
    code, out, err = run(monkeypatch, capsys, "--data", "silicon")
    assert (code, out) == (2, "")
    assert "pip install 'attnsim[silicon]'" in err
    assert err.count("\n") == 1


@installed
def test_no_measured_row_beats_a_floor() -> None:
    records = accuracy.validate(["a100", "h100"]).records
    assert sum(r["rows"] for r in records) > 300_000
    assert [r for r in records if r["bound_violations"]] == []
    assert all(r["predicted"] == r["rows"] for r in records if r["op"] in ("decode", "encoder", "mla decode"))


@installed
def test_unknown_chips_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(monkeypatch, capsys, "--chip", "h10")
    assert (code, out) == (2, "")
    assert "did you mean 'h100'" in err
