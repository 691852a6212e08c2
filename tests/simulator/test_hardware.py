"""Hardware profiles: every shipped chip, what is published and measured about it, and each error a user can make."""

from __future__ import annotations

import json
import math
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import attnsim.hardware_profiles
from attnsim.simulator import hardware as module
from attnsim.simulator.errors import InputError, unknown
from attnsim.simulator.hardware import KINDS, NUMBERS, REQUIRED, Hardware, profile_of_device

FOLDER = Path(str(attnsim.hardware_profiles.__file__)).parent
NAMES = Hardware.names()
ALIASES: dict[str, str] = tomllib.loads((FOLDER / "aliases.toml").read_text())["aliases"]
PROMISED = [
    "a100", "a100-40gb", "a30", "h100", "h100-pcie", "h200", "h20", "b200", "b300", "gb200", "gb300", "l4", "l40s",
    "rtx-4090", "rtx-5090", "rtx-pro-6000", "mi300x", "mi325x", "mi355x", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e",
    "tpu-v7", "gaudi3", "trainium2", "snapdragon-8-gen3", "snapdragon-8-elite", "apple-a17-pro", "apple-a18-pro",
    "apple-m4-ane", "apple-m4-max", "tensor-g4", "tensor-g5", "dimensity-9400", "jetson-agx-orin", "jetson-thor",
    "cpu", "h800", "l20", "a10g", "rtx-3090", "rtx-a6000", "rtx-4090d", "rtx-5070-ti", "rtx-5080", "rtx-pro-5000",
    "mi250x", "mi350x", "rx-7900-xtx", "rx-9070-xt",
]  # fmt: skip
DTYPES = ("fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp6", "fp4")

# Published peaks that units x clock x rate does not give within 1 %, and why.
DATASHEET_EXCEPTIONS = {
    ("b300", "int8"): "150 TOP/s is the rate at the maximum clock, not at the matrix clock",
    ("gb300", "int8"): "165 TOP/s counts the full die of 160 SMs",
    ("l40s", "fp16"): "published at 2490 MHz, the other rows of the same sheet at 2520",
    ("l40s", "bf16"): "published at 2490 MHz, the other rows of the same sheet at 2520",
    ("trainium2", "fp8"): "1299 is less than twice the 667 of bf16 beside it",
}

# The fastest matrix products that anyone measured, TFLOP/s: a peak that one of them beats is not a peak.
MEASURED_MATRIX: list[tuple[str, str, float]] = [
    ("a100", "bf16", 271), ("a100", "fp16", 295), ("a100-40gb", "bf16", 262),
    ("h100", "bf16", 794.5), ("h100", "fp8", 1402.6), ("h100-pcie", "fp16", 634),
    ("h200", "bf16", 853), ("h200", "fp8", 1661), ("h200", "int8", 1630),
    ("b200", "bf16", 1745), ("b200", "fp8", 3432), ("gb200", "bf16", 1822), ("gb200", "fp8", 3616),
    ("b300", "bf16", 2259), ("b300", "fp16", 2246), ("b300", "fp8", 4393), ("b300", "fp4", 9856), ("b300", "int8", 143),
    ("l4", "fp16", 87), ("l4", "fp8", 188), ("l4", "int8", 165),
    ("rtx-4090", "bf16", 179), ("rtx-4090", "fp8", 354), ("rtx-4090", "int8", 676),
    ("rtx-5090", "bf16", 254), ("rtx-5090", "fp8", 774), ("rtx-5090", "int8", 906), ("rtx-5090", "nvfp4", 1617),
    ("h800", "bf16", 865), ("mi350x", "fp16", 1022), ("mi350x", "bf16", 1117),
    ("rtx-pro-6000", "bf16", 458), ("rtx-pro-6000", "fp8", 905), ("rtx-pro-6000", "nvfp4", 1608),
    ("mi300x", "fp16", 654), ("mi300x", "bf16", 708), ("mi300x", "fp8", 1273),
    ("mi325x", "fp16", 787), ("mi325x", "bf16", 831), ("mi325x", "fp8", 1409),
    ("mi355x", "bf16", 1610), ("mi355x", "fp8", 3378), ("mi355x", "fp6", 3122),
    ("tpu-v6e", "bf16", 827), ("tpu-v7", "bf16", 2 * 956), ("tpu-v7", "fp8", 1854),
    ("gaudi3", "bf16", 1243), ("gaudi3", "fp8", 1290),
    ("snapdragon-8-gen3", "fp16", 12.0), ("snapdragon-8-elite", "fp16", 11.9),
    ("apple-m4-ane", "fp16", 19), ("apple-m4-ane", "int8", 35.1), ("cpu", "fp32", 0.244),
]  # fmt: skip
# Attention kernels, useful FLOPs only.
MEASURED_ATTENTION: list[tuple[str, str, float]] = [
    ("a100", "bf16", 180), ("h100", "fp16", 740), ("h100", "fp8", 1200), ("h200", "bf16", 329), ("mi300x", "bf16", 329),
    ("b200", "bf16", 1613), ("b300", "bf16", 1561), ("rtx-5090", "bf16", 204), ("mi355x", "bf16", 1304),
]  # fmt: skip
MEASURED_HBM = [
    ("a100", 1880), ("a100-40gb", 1503), ("h100-pcie", 2016), ("h100", 3180), ("h200", 4480), ("l40s", 844),
    ("b200", 6600), ("b300", 7570), ("mi300x", 4801), ("mi355x", 3890), ("tpu-v6e", 1360), ("tpu-v7", 6421),
    ("snapdragon-8-gen3", 60), ("cpu", 86),
]  # fmt: skip
MEASURED_L2 = [("a100", 5.4), ("h100-pcie", 7.0), ("h100", 10.9), ("l40s", 6.1), ("b300", 29.2), ("mi300x", 26.5)]
MEASURED_EXP = [("h100", 3.87), ("b300", 9.6)]


def test_every_promised_chip_has_a_profile() -> None:
    assert set(PROMISED) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_profile_is_complete_and_consistent(name: str) -> None:
    chip = Hardware.load(name)
    assert chip.name == name
    assert chip.title
    assert chip.sm_count == int(chip.sm_count) > 0
    for field in REQUIRED:
        kind, source = chip.note(field)
        assert source != "not stated in the profile", field
        assert (kind == "unknown") == (getattr(chip, field) is None), field
    for field in NUMBERS:
        value = getattr(chip, field)
        kind, source = chip.note(field)
        assert source.strip()
        if value is not None:
            assert kind in KINDS, field
            assert math.isfinite(value), field
            assert value >= 0, field
        for key in re.findall(r"\[([A-Z0-9]+(?:-[A-Z0-9]+)*)\]", source):
            assert key in chip.sources, f"{field} cites [{key}]"
    sustained = chip.clock_sustained_hz
    assert sustained is None or 0.5 * chip.clock_max_hz <= sustained <= chip.clock_max_hz
    assert chip.l2_achieved_bytes_per_s is None or chip.l2_achieved_bytes_per_s <= (chip.l2_bandwidth_bytes_per_s or 0)
    for dtype in DTYPES:
        depth = chip.mma_k(dtype)
        assert depth is None or depth >= 1
    # In one line of JSON, with every number's origin.
    assert json.loads(json.dumps(chip.to_dict()))["numbers"]["sm_count"]["value"] == chip.sm_count


@pytest.mark.parametrize("name", NAMES)
def test_units_times_clock_times_rate_is_the_published_peak(name: str) -> None:
    chip = Hardware.load(name)
    for dtype in DTYPES:
        published = getattr(chip, f"datasheet_{dtype}_flop_per_s")
        if published is None:
            continue
        assert chip.clock_matrix_hz is not None
        computed = chip.matrix_flop_per_s(dtype, chip.clock_matrix_hz)
        assert computed is not None
        within = abs(computed / published - 1) <= 0.01
        assert within != ((name, dtype) in DATASHEET_EXCEPTIONS), f"{dtype}: {computed:.4g} against {published:.4g}"


@pytest.mark.parametrize(("name", "dtype", "tflops"), MEASURED_MATRIX + MEASURED_ATTENTION)
def test_no_measured_matrix_rate_beats_the_peak(name: str, dtype: str, tflops: float) -> None:
    chip = Hardware.load(name)
    peak = chip.matrix_flop_per_s(dtype, chip.clock_max_hz)
    assert peak is not None
    assert tflops * 1e12 <= peak
    assert peak <= (chip.matrix_peak_flop_per_s(dtype) or 0)


@pytest.mark.parametrize(("name", "gigabytes"), MEASURED_HBM)
def test_no_measured_bandwidth_beats_the_peak(name: str, gigabytes: float) -> None:
    assert gigabytes * 1e9 <= (Hardware.load(name).hbm_bandwidth_bytes_per_s or 0)


@pytest.mark.parametrize(("name", "terabytes"), MEASURED_L2)
def test_no_measured_cache_bandwidth_beats_the_peak(name: str, terabytes: float) -> None:
    assert terabytes * 1e12 <= (Hardware.load(name).l2_bandwidth_bytes_per_s or 0)


@pytest.mark.parametrize(("name", "tera"), MEASURED_EXP)
def test_no_measured_exponential_rate_beats_the_peak(name: str, tera: float) -> None:
    chip = Hardware.load(name)
    assert tera * 1e12 <= (chip.exp_per_s(chip.clock_max_hz) or 0)


@pytest.mark.parametrize(
    ("name", "matrix_clocks", "exp_clocks"),
    [("h100", 2048, 1024), ("b200", 1024, 1024), ("b300", 1024, 512), ("mi300x", 4096, 1024), ("mi355x", 2048, 512)],
)
def test_clocks_of_one_attention_tile(name: str, matrix_clocks: int, exp_clocks: int) -> None:
    """128 queries by 128 keys, head_dim 128, bf16: the budget that the FlashAttention papers print."""
    chip = Hardware.load(name)
    rate = chip.matrix_flop_per_s("bf16", 1.0)
    assert rate is not None
    assert chip.exp_per_clock_per_sm is not None
    assert 4 * 128**3 / (rate / chip.sm_count) == matrix_clocks
    assert 128 * 128 / chip.exp_per_clock_per_sm == exp_clocks


def test_geforce_halves_fp32_accumulation_and_professional_cards_do_not() -> None:
    card = Hardware.load("rtx-4090")
    assert card.matrix_peak_flop_per_s("fp16") == 2 * (card.matrix_flop_per_s("fp16", card.clock_max_hz) or 0)
    assert card.matrix_peak_flop_per_s("bf16") == card.matrix_flop_per_s("bf16", card.clock_max_hz)
    pro = Hardware.load("rtx-pro-6000")
    assert pro.matrix_peak_flop_per_s("fp16") == pro.matrix_flop_per_s("fp16", pro.clock_max_hz)


def test_dtypes_share_rates_and_unsupported_is_zero() -> None:
    b200, a100 = Hardware.load("b200"), Hardware.load("a100")
    eight = {b200.matrix_flop_per_s(d, 1e9) for d in ("fp8", "fp8_e4m3", "fp8_e5m2", "mxfp8")}
    four = {b200.matrix_flop_per_s(d, 1e9) for d in ("fp4", "nvfp4", "mxfp4")}
    assert eight == {148 * 16384 * 1e9}
    assert four == {148 * 32768 * 1e9}
    assert a100.matrix_flop_per_s("fp8", 1e9) == 0
    assert Hardware.load("dimensity-9400").matrix_flop_per_s("bf16", 1e9) is None
    assert [b200.mma_k(d) for d in ("tf32", "bf16", "fp8", "nvfp4")] == [8, 16, 32, 64]
    assert [Hardware.load("tpu-v6e").mma_k(d) for d in ("bf16", "int8")] == [256, 256]


# -- names


@pytest.mark.parametrize(("alias", "name"), sorted(ALIASES.items()))
def test_alias_leads_to_a_profile_and_hides_none(alias: str, name: str) -> None:
    assert name in NAMES
    assert alias not in NAMES
    assert alias == alias.lower().replace("_", "-").replace(" ", "-")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("H100", "h100"), ("h100_sxm", "h100"), ("hopper", "h100"), ("Blackwell", "b200"), ("tpu", "tpu-v5p"),
        ("TPU_v6e", "tpu-v6e"), ("Ironwood", "tpu-v7"), ("trillium", "tpu-v6e"), ("RTX 4090", "rtx-4090"),
        ("rtx_pro_6000_server", "rtx-pro-6000"), ("a100_sxm", "a100"), ("b300_sxm", "b300"), ("gb200", "gb200"),
    ],
)  # fmt: skip
def test_names_as_people_type_them(given: str, name: str) -> None:
    assert Hardware.load(given).name == name


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"), ("NVIDIA A100-SXM4-80GB", "a100"), ("NVIDIA H100 PCIe", "h100-pcie"),
        ("H100 80GB HBM3 (Nebius VM)", "h100"), ("NVIDIA GH200 480GB", "h200"), ("NVIDIA GB200", "gb200"),
        ("NVIDIA L4", "l4"), ("NVIDIA L40S", "l40s"), ("RTX 5080 (84 SMs)", "rtx-5080"), ("RTX 4090D", "rtx-4090d"),
        ("NVIDIA GeForce RTX 4090 D", "rtx-4090d"), ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("A6000 (issue title)", "rtx-a6000"), ("NVIDIA RTX PRO 5000 72GB Blackwell", "rtx-pro-5000"),
        ("AMD Instinct MI250X MI250", "mi250x"), ("MI355X (gfx950)", "mi355x"), ("MI325 (gfx942)", "mi325x"),
        ("gfx90a (MI200 series) gfx90a_mod0", "mi250x"), ("AMD Radeon RX 7900 XTX", "rx-7900-xtx"),
        ("gfx1201 (repository name; board not stated in the file)", "rx-9070-xt"),
        ("sm80/sm90 (A100, H100)", None), ("B200 and RTX 5080 (working config)", None), ("unstated", None), ("", None),
        ("a GPU with 40GB", None),
    ],
)  # fmt: skip
def test_names_as_drivers_and_logs_print_them(device: str, name: str | None) -> None:
    assert profile_of_device(device) == name


def test_every_gpu_is_found_by_its_title_and_words_lead_to_profiles() -> None:
    tables = tomllib.loads((FOLDER / "aliases.toml").read_text())
    for words, chip in (tables["devices"] | tables["targets"]).items():
        assert chip in NAMES, words
        assert words == " ".join(re.findall(r"[a-z0-9]+", words)), "as names are split"
    for name in NAMES:
        chip = Hardware.load(name)
        if chip.kind == "gpu" and not name.startswith(("jetson", "apple")):
            assert profile_of_device(chip.title) == name


def test_names_are_listed_without_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_read", lambda path: pytest.fail(f"parsed {path}"))
    assert Hardware.names() == sorted(NAMES)
    assert "aliases" not in NAMES


def test_loading_parses_one_chain_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    read, real = [], module._read
    monkeypatch.setattr(module, "_read", lambda path: read.append(path.stem) or real(path))  # type: ignore[func-returns-value]
    Hardware.load("gb300")
    assert read == ["gb300", "b300", "b200"]


def test_import_is_light() -> None:
    code = "import sys, attnsim.simulator.hardware as h; h.Hardware.load('b200'); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "sympy", "networkx", "torch", "difflib", "json", "importlib.resources"} & set(loaded)


# -- siblings, overrides, notes


def test_sibling_states_only_what_differs() -> None:
    parent, child = Hardware.load("h100"), Hardware.load("h200")
    assert child.matrix_bf16_flop_per_clock_per_sm == parent.matrix_bf16_flop_per_clock_per_sm
    assert child.hbm_bytes == 141e9
    assert child.note("hbm_bytes")[1].startswith("[STAS]")
    assert child.note("mma_m") == parent.note("mma_m")


def test_validation_is_not_inherited(tmp_path: Path) -> None:
    parent = profile(validated="A device.")
    (tmp_path / "parent.toml").write_text(dump(parent))
    assert Hardware.load(str(tmp_path / "parent.toml")).validated == "A device."
    (tmp_path / "child.toml").write_text('format = 1\nname = "child"\ninherits = "parent.toml"\n')
    assert Hardware.load(str(tmp_path / "child.toml")).validated == ""


def test_own_file_may_inherit_a_shipped_chip(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'format = 1\nname = "mine"\ninherits = "h100-sxm"\n[numbers]\n'
        'sm_count = { value = 100, kind = "estimate", source = "a guess" }\n'
    )
    mine = Hardware.load(str(path))
    assert (mine.name, mine.sm_count, mine.vendor) == ("mine", 100, "nvidia")
    assert mine.note("sm_count") == ("estimate", "a guess")


def test_override() -> None:
    chip = Hardware.load("b200", {"exp_per_clock_per_sm": 32, "sm-count": "100", "clock_max_hz": "2.0e9"})
    assert (chip.exp_per_clock_per_sm, chip.sm_count, chip.clock_max_hz) == (32, 100, 2e9)
    assert isinstance(chip.sm_count, int)
    assert chip.note("sm_count") == ("override", "set by the user")
    assert Hardware.load("b200", {"matrix_fp8_flop_per_clock_per_sm": 0}).matrix_flop_per_s("fp8", 1.0) == 0


def test_equal_hashable_and_sent_to_other_processes() -> None:
    chip = Hardware.load("b200")
    assert chip == Hardware.load("blackwell") == pickle.loads(pickle.dumps(chip))
    assert len({chip, Hardware.load("b200"), Hardware.load("b300")}) == 2
    assert chip != Hardware.load("b200", {"sm_count": 100})


def test_note_of_an_unstated_number() -> None:
    assert Hardware.load("b200").note("mma_k_elements") == ("unknown", "not stated in the profile")
    with pytest.raises(InputError, match="did you mean 'sm_count'"):
        Hardware.load("b200").note("sm_counts")


# -- errors: one line each, which says what to do


def profile(**changes: Any) -> dict[str, Any]:
    """A smallest legal profile; keys of [numbers] and top-level keys replaced, None removes."""
    number = {"value": 1, "kind": "estimate", "source": "a test"}
    top: dict[str, Any] = {"format": 1, "name": "mine", "title": "Mine", "vendor": "me", "kind": "npu"}
    top |= {"generation": "mine", "numbers": {key: dict(number) for key in REQUIRED}}
    for key, value in changes.items():
        table = top["numbers"] if key in NUMBERS or key.startswith("number_") else top
        table[key.removeprefix("number_")] = value
    return {key: value for key, value in top.items() if value is not None}


def dump(top: dict[str, Any]) -> str:
    def literal(value: Any) -> str:
        if isinstance(value, dict):
            return "{ " + ", ".join(f"{k} = {literal(v)}" for k, v in value.items()) + " }"
        return str(value).lower() if isinstance(value, bool | float) else json.dumps(value)

    numbers = {key: value for key, value in top.pop("numbers").items() if value is not None}
    lines = [f"{key} = {literal(value)}" for key, value in top.items()]
    return "\n".join([*lines, "[numbers]", *(f"{key} = {literal(value)}" for key, value in numbers.items())])


def entry(value: object, **changes: Any) -> dict[str, Any]:
    made = {"value": value, "kind": "estimate", "source": "a test", **changes}
    return {key: item for key, item in made.items() if item is not None}


def error(given: str, overrides: dict[str, float | str] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        Hardware.load(given, overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_the_smallest_profile_loads(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(dump(profile(hbm_bytes={"value": "unknown", "source": "nobody says"})))
    chip = Hardware.load(str(path))
    assert chip.hbm_bytes is None
    assert chip.note("hbm_bytes") == ("unknown", "nobody says")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sm_count": None}, "missing in [numbers]: sm_count"),
        ({"number_sm_cout": entry(1)}, "unknown field 'sm_cout'; did you mean 'sm_count'?"),
        ({"number_bogus": entry(1)}, "unknown field 'bogus'; known:"),
        ({"sm_count": entry(0)}, "sm_count: value must be a positive finite number, not 0"),
        ({"sm_count": entry(1.5)}, "sm_count: value must be a whole number, not 1.5"),
        ({"hbm_bytes": entry(-1)}, "hbm_bytes: value must be a positive finite number, not -1"),
        ({"hbm_bytes": entry(math.nan)}, "hbm_bytes: value must be a positive finite number, not nan"),
        ({"hbm_bytes": entry(math.inf)}, "hbm_bytes: value must be a positive finite number, not inf"),
        ({"hbm_bytes": entry(True)}, "hbm_bytes: value must be a number or \"unknown\", not True"),
        ({"hbm_bytes": entry("80 GB")}, "not '80 GB'"),
        ({"matrix_fp8_flop_per_clock_per_sm": entry(-1)}, "a finite number, 0 or more"),
        ({"hbm_bytes": entry(1, source=None)}, "hbm_bytes: has no source"),
        ({"hbm_bytes": entry(1, source=" ")}, "hbm_bytes: has no source"),
        ({"hbm_bytes": entry(1, kind=None)}, "hbm_bytes: kind must be one of datasheet, microbenchmark"),
        ({"hbm_bytes": entry(1, kind="rumour")}, "not 'rumour'"),
        ({"hbm_bytes": entry(1, sourc="x")}, "unknown key 'sourc'; did you mean 'source'?"),
        ({"hbm_bytes": 80}, "hbm_bytes: must be { value = ..., kind = ..., source = ... }"),
        ({"clock_max_hz": entry("unknown")}, "clock_max_hz: must be a number; give an estimate"),
        ({"hbm_efficiency": entry(1.2)}, "a share of the peak cannot exceed 1"),
        ({"clock_sustained_hz": entry(2)}, "clock_sustained_hz (2) exceeds clock_max_hz (1)"),
        ({"format": 2}, "written for profile format 2; this attnsim reads 1: update attnsim"),
        ({"format": 0}, "changed since: format 1: "),
        ({"format": None}, "changed since: format 1: "),
        ({"format": "new"}, "format must be a whole number"),
        ({"title": None}, "missing: title"),
        ({"title": 5}, "title must be a text"),
        ({"kind": "toaster"}, "kind must be one of gpu, tpu, npu, cpu, not 'toaster'"),
        ({"exp_on_vector": "yes"}, "exp_on_vector must be true or false"),
        ({"vender": "me"}, "unknown top-level key 'vender'; did you mean 'vendor'?"),
        ({"inherits": "b20"}, "inherits: unknown hardware 'b20'; did you mean 'b200'"),
        ({"inherits": "mine.toml"}, "inherits from itself: mine -> mine"),
    ],
)  # fmt: skip
def test_mistake_in_a_profile(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(dump(profile(**changes)))
    message = error(str(path))
    assert says in message
    assert "mine.toml" in message


def test_inherits_in_a_circle(tmp_path: Path) -> None:
    for own, other in (("one", "two"), ("two", "one")):
        (tmp_path / f"{own}.toml").write_text(f'format = 1\nname = "{own}"\ninherits = "{other}.toml"\n')
    assert "inherits from itself: one -> two -> one" in error(str(tmp_path / "one.toml"))


def test_broken_toml_says_the_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("format = 1\nname = mine\n")
    assert "not valid TOML" in error(str(path))
    assert "line 2" in error(str(path))


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    assert error("nowhere/mine.toml") == "no such hardware profile: nowhere/mine.toml"
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    assert "cannot be read" in error(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("b20", "unknown hardware 'b20'; did you mean 'b200'"),
        ("B2000", "did you mean 'b200'"),
        ("mi300xx", "did you mean 'mi300x'"),
        ("toaster", "unknown hardware 'toaster'; known: "),
        ("", "unknown hardware ''; known: "),
        ("aliases", "unknown hardware 'aliases'"),
    ],
)
def test_unknown_name(given: str, says: str) -> None:
    assert says in error(given)


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"exp_per_clock": 32}, "unknown hardware number 'exp_per_clock'; did you mean 'exp_per_clock_per_sm'"),
        ({"name": "x"}, "unknown hardware number 'name'"),
        ({"sm_count": 0}, "--set sm_count: value must be a positive finite number, not 0"),
        ({"sm_count": "-3"}, "--set sm_count: value must be a positive finite number"),
        ({"sm_count": 1.5}, "whole number"),
        ({"hbm_bytes": "nan"}, "positive finite number, not nan"),
        ({"hbm_bytes": "inf"}, "positive finite number, not inf"),
        ({"hbm_bytes": "80GB"}, "--set hbm_bytes=80GB: not a number"),
        ({"clock_max_hz": 1e9}, "clock_sustained_hz (1.82e+09) exceeds clock_max_hz (1e+09); change the other one too"),
    ],
)  # fmt: skip
def test_mistake_in_an_override(overrides: dict[str, float | str], says: str) -> None:
    assert says in error("b200", overrides)


def test_unknown_dtype() -> None:
    with pytest.raises(InputError, match="unknown dtype 'bf61'; did you mean 'bf16'"):
        Hardware.load("b200").matrix_flop_per_s("bf61", 1.0)


def test_a_long_list_of_names_is_shortened() -> None:
    message = str(unknown("chip", "zzz", [f"name-{i:03}" for i in range(200)]))
    assert len(message) < 250
    assert "more)" in message
    assert str(unknown("chip", "HOPER", ["Hopper", "ada"])) == "unknown chip 'HOPER'; did you mean 'Hopper'?"
    assert str(unknown("chip", "x", [])) == "unknown chip 'x'; known: none"
