"""The public latency tables: rows read by hand, rules for wrong rows, splits that never move."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from attnsim.autotune import silicon
from attnsim.autotune.silicon import SPLITS, Rule, Table, exclude, known_bad, row_keys, splits, tables
from attnsim.simulator.errors import InputError

installed = pytest.mark.skipif(
    importlib.util.find_spec("aiconfigurator_core") is None or importlib.util.find_spec("pyarrow") is None,
    reason="the tables are not installed: pip install 'attnsim[silicon]'",
)


def made(**changes: object) -> Table:
    """Four decode rows of 1, 2, 4 and 8 thousand keys."""
    ones = np.ones(4)
    columns: dict[str, object] = {
        "chip": "h100", "framework": "vllm", "version": "1", "operation": "decode", "kernel_source": "fa3",
        "dtype": "bf16", "kv_dtype": "bf16", "label_dtype": "bf16", "path": "x", "batch": ones, "heads": 8 * ones,
        "kv_heads": ones, "seq": ones, "kv_len": np.array([1e3, 2e3, 4e3, 8e3]), "head_dim": 64 * ones,
        "v_dim": 64 * ones, "v_in_k": False, "window": 0 * ones, "chunk": 0 * ones, "latency_s": 1e-5 * ones,
        "key": np.arange(4, dtype=np.uint64), "split": np.array([0, 1, 1, 0], dtype=np.uint8),
        "excluded": np.zeros(4, dtype=np.bool_), "reasons": {},
    }  # fmt: skip
    return Table(**{**columns, **changes})  # type: ignore[arg-type]


def written(folder: Path, text: str) -> list[Rule]:
    path = folder / "rules.toml"
    path.write_text(text)
    return known_bad(path)


def test_rules_match_names_numbers_ranges_and_keys(tmp_path: Path) -> None:
    rules = written(
        tmp_path,
        """
        [[rule]]
        name = "long"
        reason = "r"
        match = { chip = ["h100", "h200"], operation = "decode", head_dim = 64, kv_len = { min = 4000 } }
        [[rule]]
        name = "between"
        reason = "r"
        match = { kv_len = { min = 1500, max = 4000 } }
        [[rule]]
        name = "elsewhere"
        reason = "r"
        match = { chip = "a100" }
        [[rule]]
        name = "single"
        reason = "r"
        match = { framework = "vllm" }
        rows = ["0000000000000000", "ffffffffffffffff"]
        """,
    )
    assert [rule.matches(made()).tolist() for rule in rules] == [
        [False, False, True, True],
        [False, True, True, False],
        [False, False, False, False],
        [True, False, False, False],
    ]
    marked = exclude(made(), rules[:2])
    assert marked.excluded.tolist() == [False, True, True, True]
    assert marked.reasons == {"long": 2, "between": 1}, "a row counts once"
    assert marked.rows("calibration").tolist() == [True, False, False, False]
    assert marked.rows("held-out").tolist() == [False, False, False, False]
    with pytest.raises(InputError, match="split"):
        marked.rows("test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]", "rules.toml"),
        ("[[rule]]\nname = 'a'\nmatch = { chip = 'h100' }", "reason"),
        ("[[rule]]\nname = 'a'\nreason = 'b'", "match"),
        ("[[rule]]\nname = 'a'\nreason = 'b'\nmatch = {}", "matches every row"),
        ("[[rule]]\nname = 'a'\nreason = 'b'\nmatch = { kvlen = 1 }", "did you mean 'kv_len'"),
        ("[[rule]]\nname = 'a'\nreason = 'b'\nmatch = { kv_len = { over = 1 } }", "min and max"),
        ("[[rule]]\nname = 'a'\nreason = 'b'\nmatch = { kv_len = 'x' }", "rules.toml"),
        ("[[rule]]\nname = 'a'\nreason = 'b'\nmatch = { chip = 'h100' }\nrows = ['xyz']", "rules.toml"),
    ],
)
def test_a_broken_rule_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        written(tmp_path, text)
    assert "\n" not in str(error.value)


def test_shipped_rules_name_what_exists() -> None:
    rules = known_bad()
    assert len({rule.name for rule in rules}) == len(rules)
    known = {"chip": set(silicon.CHIPS.values()), "framework": set(silicon.FRAMEWORKS),
             "operation": set(silicon.known_operations())}  # fmt: skip
    for rule in rules:
        assert len(rule.reason) > 40
        for attribute, values in rule.names.items():
            assert values <= known.get(attribute, values)


def test_keys_and_splits_never_move() -> None:
    columns = {"batch_size": np.array([1.0, 2.0]), "isl": np.array([4096.0, 4096.0]), "step": np.array([0.0, 0.0])}
    names = ("batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim", "window_size")
    assert [f"{key:016x}" for key in row_keys("h100/vllm", columns, names)] == ["8bf35b02141d6f00", "0fd73fb5c9656730"]
    assert row_keys("h100/trtllm", columns, names)[0] != row_keys("h100/vllm", columns, names)[0]
    windowless = row_keys("h100/vllm", {**columns, "window_size": np.zeros(2)}, names)
    assert (windowless == row_keys("h100/vllm", columns, names)).all(), "a column that a file lacks counts as 0"
    key = row_keys("x", {"step": np.arange(100_000.0)}, names)
    assert len(set(key.tolist())) == len(key)
    assert np.mean(splits("b200", "x", key) == SPLITS.index("calibration")) == pytest.approx(0.1, abs=0.005)
    for chip, source in (("gb200", "triton"), ("l40s", "vllm_flash_attn_fa2"), ("rtx-pro-6000", "triton")):
        assert (splits(chip, source, key) == SPLITS.index("zero-shot")).all()
    assert (splits("l40s", "triton", key) == splits("b200", "x", key)).all()


@pytest.mark.parametrize("absent", ["aiconfigurator_core", "pyarrow"])
def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == absent else find(name, *rest))
    with pytest.raises(InputError, match=r"pip install 'attnsim\[silicon\]'"):
        tables()


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'h100'"):
        tables(chips=["h10"])
    with pytest.raises(InputError, match="did you mean 'vllm'"):
        tables(frameworks=["vlm"])
    with pytest.raises(InputError, match="operation"):
        tables(operations=["prefill"])


# chip, framework, operation, kernel_source, label_dtype, kv_dtype, row -> dtype, v_in_k, columns, latency in ms
ROWS = [
    ("h100_sxm", "vllm", "context", "vllm_flash_attn_fa3", "bf16", "bf16",
     {"batch": 1, "heads": 32, "kv_heads": 8, "seq": 4096, "head_dim": 128, "window": 128},
     "bf16", False, {"kv_len": 4096, "v_dim": 128, "chunk": 0}, 0.09616532921791077),
    ("h100", "sglang", "context", "fa3", "bf16", "bf16",
     {"batch": 1, "heads": 40, "kv_heads": 8, "seq": 16384, "head_dim": 128, "chunk": 8192},
     "bf16", False, {"window": 0}, 2.190465545654297),
    ("h100", "sglang", "decode", "fa3", "bf16", "bf16",
     {"batch": 1, "heads": 64, "kv_heads": 4, "kv_len": 1024, "head_dim": 192, "window": 0},
     "bf16", False, {"seq": 1, "v_dim": 128}, 0.02003840059041977),
    ("h100", "trtllm", "mla-decode", "default", "bf16", "fp8", {"batch": 1, "heads": 128, "kv_len": 4096},
     "fp8", True, {"seq": 1, "kv_heads": 1, "head_dim": 576, "v_dim": 512}, 0.02067199970285098),
    ("h100", "trtllm", "mla-context", "default", "bf16", "bf16", {"batch": 1, "heads": 128, "seq": 4096},
     "bf16", False, {"kv_len": 4096, "kv_heads": 128, "head_dim": 192, "v_dim": 128}, 1.2629066308339437),
    ("h100", "sglang", "mla-context", "flash_attention", "bf16", "bf16", {"batch": 1, "heads": 128, "seq": 4096},
     "bf16", True, {"kv_heads": 1, "head_dim": 576, "v_dim": 512}, 4.214059066772461),
    ("b200", "vllm", "encoder", "vllm_vit_flash_attn_fa4", "bf16", "bf16",
     {"batch": 1, "heads": 16, "seq": 4096, "head_dim": 72},
     "bf16", False, {"kv_heads": 16, "kv_len": 4096, "window": 0}, 0.1271733343601227),
]  # fmt: skip


@installed
@pytest.mark.parametrize(("chip", "framework", "operation", "source", "label", "kv", "row", "dtype", "v_in_k",
                          "columns", "milliseconds"), ROWS)  # fmt: skip
def test_rows_read_by_hand(
    chip: str, framework: str, operation: str, source: str, label: str, kv: str, row: dict[str, float], dtype: str,
    v_in_k: bool, columns: dict[str, float], milliseconds: float,
) -> None:  # fmt: skip
    (table,) = [
        table
        for table in tables([chip], [framework], [operation])
        if (table.kernel_source, table.label_dtype, table.kv_dtype) == (source, label, kv)
    ]
    assert (table.dtype, table.v_in_k) == (dtype, v_in_k)
    found = np.flatnonzero(np.all([getattr(table, name) == value for name, value in row.items()], axis=0))
    assert len(set(table.key[found].tolist())) == 1
    for name, value in columns.items():
        assert getattr(table, name)[found[0]] == value
    assert table.latency_s[found[0]] == pytest.approx(milliseconds * 1e-3, rel=1e-12)


@installed
def test_what_the_kernels_computed_in() -> None:
    def dtypes(chip: str, operation: str, source: str) -> set[tuple[str, str, str]]:
        return {
            (table.label_dtype, table.kv_dtype, table.dtype)
            for table in tables([chip], operations=[operation])
            if table.kernel_source == source
        }

    assert dtypes("h100", "context", "torch_flow") == {
        ("bf16", "bf16", "bf16"), ("bf16", "fp8", "fp8"), ("fp8", "fp8", "fp8")
    }  # fmt: skip
    assert ("bf16", "fp8", "bf16") in dtypes("l40s", "context", "torch_flow")
    assert ("bf16", "fp8", "bf16") in dtypes("b200", "context", "triton")


@installed
def test_every_mapped_row_is_sound_and_counted() -> None:
    seen: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for table in tables():
        sizes = {len(getattr(table, name)) for name in ("batch", "kv_len", "key", "split", "excluded", "latency_s")}
        assert sizes == {len(table)}
        for name in ("batch", "heads", "kv_heads", "seq", "kv_len", "head_dim", "v_dim"):
            assert getattr(table, name).min() > 0
        assert (table.latency_s > 0)[~table.excluded].all()
        assert (table.heads % table.kv_heads == 0).all()
        assert (table.kv_len >= table.seq).all()
        assert int(table.excluded.sum()) == sum(table.reasons.values())
        seen[table.operation] += len(table)
        reasons.update(table.reasons)
    softmax = {"context": 1348906, "encoder": 184296, "decode": 1305166, "mla-context": 37432, "mla-decode": 62930}
    assert softmax.items() <= seen.items()
    assert set(seen) == set(silicon.known_operations())
    assert set(reasons) == {rule.name for rule in known_bad()}, "a rule that matches nothing is out of date"
    assert reasons["isolated-spike"] <= 61


@installed
def test_what_is_left_out_is_listed() -> None:
    left = list(silicon.unread())
    assert any(path.startswith("b60/attention") and "b60" in why for path, _, why in left)
    assert any(path.endswith("mamba2_perf.parquet") for path, _, _ in left)
    assert not any("gemm" in path or "moe" in path for path, _, _ in left)


@installed
def test_a_corrupt_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "h100_sxm/attention/vllm/1/context_attention_perf.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PAR1")
    monkeypatch.setattr(silicon, "data_directory", lambda: tmp_path)
    with pytest.raises(InputError, match="not the table") as error:
        list(tables())
    assert "\n" not in str(error.value)
