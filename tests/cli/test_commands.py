"""The other commands: what they print, and what they say of bad input."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import attnsim
from attnsim import _presets
from attnsim.cli import cli
from attnsim.commands import explain

Run = Callable[..., Any]
COMMANDS = cli.list_commands(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(run: Run, name: str) -> None:
    done = run(name, "--help")
    assert done.code == 0
    assert name in done.out
    if name not in ("hw", "report"):
        assert "Example" in done.out or "Install it" in done.out


def test_without_arguments_the_help_is_shown(run: Run) -> None:
    done = run()
    assert (done.code, done.err) == (0, "")
    assert "attnsim predict --hw b200" in done.out


def test_variants_are_listed_with_what_programs_need(run: Run) -> None:
    entries = json.loads(run("variants", "--format", "json").out)
    assert [e["id"] for e in entries] == list(attnsim.variants.names())
    for entry in entries:
        assert set(entry) == {"id", "title", "family", "paper", "aliases", "parameters", "phases"}
    assert {e["id"] for e in json.loads(run("variants", "--paper", "2504.16922", "--format", "json").out)} == {"gna"}
    assert "sliding-window" in run("variants", "--search", "window").out


@pytest.mark.parametrize("name", attnsim.variants.names())
def test_every_variant_is_explained(run: Run, name: str) -> None:
    done = run("explain", name)
    assert (done.code, done.err) == (0, "")
    assert "dataflow:" in done.out
    assert "matrix FLOPs = " in done.out


@pytest.mark.parametrize("window", ["18x24x24", "80x80", "4096", "9000"])
def test_windows_of_any_axes_are_explained(run: Run, window: str) -> None:
    assert "compulsory bytes = " in run("explain", "gna", "-p", f"window={window}").out


def test_formulas_are_the_known_ones(run: Run) -> None:
    dense = run("explain", "mha").out
    assert "matrix FLOPs = 2*B*H*N^2*(d + d_v)" in dense
    assert r"\frac{B H N \left(N + 1\right)}{2}" in dense
    window = run("explain", "sliding-window", "-p", "window=1024").out
    assert "N >= 1024" in window
    assert "cache bytes = 2048*B*G*(d + d_v)" in window
    assert "no closed form" in run("explain", "gna").out
    assert "[unverified]" in run("explain", "padre").out


@pytest.mark.parametrize("name", attnsim.variants.names())
def test_formulas_give_the_counts(name: str) -> None:
    from attnsim.simulator import formulas
    from attnsim.simulator.counts import counts

    for case, variant in explain.cases(attnsim.variants.make(name)):
        causal, cross = case == explain.CAUSAL, case == explain.CROSS
        sizes = {"batch": 2, "heads": 16, "kv_heads": 8, "head_dim": 64, "v_dim": 32}
        sizes |= {"seq": 300, "kv_len": 5000} if cross else {"seq": 8192}
        if name in ("mla", "dsa"):
            sizes["kv_heads"] = 16
        asked = variant.prepare(attnsim.Problem.make(causal=causal, **sizes))
        graph = variant.graph(asked)
        useful = counts(graph)
        values = {"B": 2, "H": 16, "G": asked.kv_heads, "N": asked.queries, "M": asked.kv_len, "d": 64, "d_v": 32}
        _, found = formulas.formulas(variant, causal=causal, cross=cross)
        amounts = (useful.matrix_flops, useful.special, useful.hbm_bytes, graph.cache_bytes)
        for formula, amount in zip(found, amounts, strict=True):
            known = {**values, "log2": math.log2, "ceiling": math.ceil, "Min": min, "Max": max}
            assert eval(formula.text.replace("^", "**"), known) == pytest.approx(amount, rel=1e-12), (case, formula)


def test_a_crossover_is_where_the_speedup_passes_one(run: Run) -> None:
    done = run("explain", "gated-deltanet", "--hw", "h100")
    found = re.search(r"by schedule: from about ([\d,]+) tokens", done.out)
    assert found
    length = int(found[1].replace(",", ""))
    later = attnsim.predict("gated-deltanet", hardware="h100", seq=length * 2)
    earlier = attnsim.predict("gated-deltanet", hardware="h100", seq=length // 2)
    assert earlier.speedup < 1 < later.speedup


def test_a_grid_becomes_a_table(run: Run, tmp_path: Path) -> None:
    arguments = ("sweep", "mha", "sliding-window", "--hw", "b200,h100", "--seq", "1k..4k", "--batch", "1,2", "-p",
                 "window=512")  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(run(*arguments).out)))
    assert len(rows) == 2 * 2 * 3 * 2
    last = rows[-1]
    one = attnsim.predict(last["variant"], hardware=last["hardware"], seq=4096, batch=2, window=512)
    assert float(last["ladder.schedule.time_s"]) == one.time_s
    target = tmp_path / "out.parquet"
    pyarrow = pytest.importorskip("pyarrow.parquet")
    assert run(*arguments, "--output", str(target)).out == ""
    assert pyarrow.read_table(target).num_rows == len(rows)


def test_the_published_stride_is_recommended(run: Run) -> None:
    entries = json.loads(run("recommend", "gna", "--hw", "b200", "--shape", "30x48x80", "--window", "18x24x24",
                             "--heads", "24", "--format", "json").out)  # fmt: skip
    assert entries[0]["stride"] == [16, 8, 8]
    assert "block-sparse" in entries[0]["reason"]
    assert entries[-1]["same_pattern"]
    times = [e["time_s"] for e in entries]
    assert times == sorted(times)
    for e in entries:
        assert e["tiles"]["visited"] > 0
        assert e["speedup"] <= e["flops_speedup"] * 1.2


def test_a_latent_model_decodes_absorbed(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(DEEPSEEK))

    def forms(*arguments: str) -> Any:
        done = json.loads(run("predict", "mla", "--config", str(path), *arguments, "--format", "json").out)
        return done["predictions"][0]["parameters"]["form"]

    assert forms("--seq", "1", "--kv-len", "32k") == "absorbed"
    assert forms("--seq", "1", "--kv-len", "32k", "-p", "form=expanded") == "expanded"
    assert forms("--seq", "8k") is None


def test_a_preset_knows_variants_by_their_aliases(run: Run) -> None:
    done = run("predict", "fna", "--preset", "hunyuanvideo", "--format", "json")
    assert json.loads(done.out)["predictions"][0]["parameters"]["stride"] == [16, 8, 8]


def test_chips_are_listed_and_shown(run: Run) -> None:
    chips = json.loads(run("hw", "list", "--format", "json").out)
    assert [c["name"] for c in chips] == attnsim.Hardware.names()
    shown = json.loads(run("hw", "show", "blackwell", "--set", "exp_per_clock_per_sm=32", "--format", "json").out)
    assert shown["name"] == "b200"
    assert shown["numbers"]["exp_per_clock_per_sm"]["value"] == 32
    assert "132" in run("hw", "show", "h100").out


def test_a_calibrated_host_can_be_predicted(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "mine.toml"
    assert run("hw", "calibrate", "cpu", "--output", str(target)).code == 0
    done = run("predict", "mha", "--hw", str(target), "--dtype", "fp32", "--seq", "1024", "--format", "json")
    assert json.loads(done.out)["predictions"][0]["ladder"]["schedule"]["time_s"] > 0


@pytest.mark.parametrize("name", _presets.names())
def test_every_preset_is_predicted(run: Run, name: str) -> None:
    predictions = json.loads(run("predict", "--preset", name, "--format", "json").out)["predictions"]
    assert len(predictions) == len(_presets.preset(name).variants)
    assert name in run("presets").out


LLAMA = {"model_type": "llama", "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_size": 4096,
         "torch_dtype": "bfloat16"}  # fmt: skip
DEEPSEEK = {"model_type": "deepseek_v3", "num_attention_heads": 128, "kv_lora_rank": 512, "qk_rope_head_dim": 64,
            "qk_nope_head_dim": 128, "v_head_dim": 128}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAMA, {"heads": 32, "kv_heads": 8, "head_dim": 128, "dtype": "bf16", "causal": True}),
        ({**LLAMA, "head_dim": 64, "torch_dtype": "float16"}, {"head_dim": 64, "dtype": "fp16"}),
        ({"model_type": "gpt2", "n_head": 12, "n_embd": 768}, {"heads": 12, "kv_heads": 12, "head_dim": 64}),
        (
            {"model_type": "falcon", "num_attention_heads": 71, "hidden_size": 4544, "multi_query": True},
            {"kv_heads": 1},
        ),
        ({"model_type": "gemma3", "text_config": {**LLAMA, "model_type": "gemma3_text"}}, {"heads": 32}),
        (DEEPSEEK, {"heads": 128, "head_dim": 192, "v_dim": 128}),
    ],
)
def test_model_configs_are_read(tmp_path: Path, config: dict[str, Any], expected: dict[str, Any]) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    found = _presets.read_config(str(path)).arguments
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "is an object"),
        (json.dumps({**LLAMA, "model_type": "lama"}), "did you mean 'llama'"),
        (json.dumps({**LLAMA, "num_attention_heads": -1}), "num_attention_heads is -1"),
        (json.dumps({**LLAMA, "num_attention_heads": "32"}), "num_attention_heads is '32'"),
        (json.dumps({**LLAMA, "num_key_value_heads": 5}), "does not divide"),
        (json.dumps({"model_type": "llama", "hidden_size": 64}), "has no num_attention_heads"),
        (json.dumps({**LLAMA, "torch_dtype": "int3"}), "torch_dtype"),
        (json.dumps({**LLAMA, "torch_dtype": ["bfloat16"]}), "torch_dtype"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_broken_configs_are_refused(run: Run, tmp_path: Path, config: str, said: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(config)
    done = run("predict", "--config", str(path))
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("explain", "gna", "-p", "window=2x2x2x2"), ("explain", "gna", "-p", "window=2x2x2", "-p", "stride=2x2"),
        ("explain", "mhaa"), ("explain",), ("explain", "mha", "--hw", "b20"), ("variants", "--family", "linea"),
        ("variants", "--format", "yaml"), ("variants", "--search", "nothing at all"), ("hw", "show", "b20"),
        ("hw", "calibrate", "gpu"), ("hw", "calibrate", "cpu", "--output", "/nonexistent/x.toml"), ("hw", "lst"),
        ("sweep", "mha", "--seq", "4k..1k"), ("sweep", "mha", "--output", "x.txt"), ("sweep",),
        ("sweep", "mha", "--seq", "0,1"), ("sweep", "mha", "--seq", "1:2"), ("sweep", "mha", "-p", "wndow=3"),
        ("sweep", "mha", "--seq", "1k", "--output", "/nonexistent/x.csv"), ("completion", "tcsh"),
        ("sweep", "mha", "--seq", "1:1G:1"), ("sweep", "mha", "--seq", "1:1M:1", "--batch", "1:1k:1"),
        ("recommend", "gna", "--shape", "8x8", "--window", "4x4", "--top", "0"), ("recommend", "mha"),
        ("recommend", "gna", "--shape", "8x8", "--window", "9x9"),
        ("recommend", "gna", "--hw", "tensor-g4", "--shape", "8x8"), ("report", "rooflin"),
        ("report", "roofline", "--out", "/proc/nowhere"), ("validate", "--data", "gold"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, ""), done
    assert done.err.count("\n") == 1
    assert done.err.startswith("error: ")


def test_an_unknown_option_says_how_parameters_of_a_variant_are_given(run: Run) -> None:
    done = run("predict", "gna", "--window", "18x24x24")
    assert (done.code, done.out) == (2, "")
    [line] = done.err.splitlines()
    assert "--window" in line
    assert line.endswith("A variant's own parameters are given as -p NAME=VALUE.")
