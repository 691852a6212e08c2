"""How times move with each number: floors obey their definition, ends that cannot be had say why."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attnsim
from attnsim.simulator.hardware import NUMBERS
from attnsim.simulator.prediction import Prediction
from attnsim.simulator.sensitivity import Moved, Sensitivity, numbers_together, read, sensitivity

CHIPS = ("b200", "h100", "mi300x", "tpu-v5p")
VARIANTS = ("mha", "moba", "linear-attention", "mla")
WORKLOADS: dict[str, dict[str, Any]] = {
    "prefill": {}, "decode": {"seq": 1, "kv_len": 32768, "batch": 16}, "backward": {"direction": "backward"},
}  # fmt: skip
RATES = ("_per_s", "_per_clock_per_sm")
UNITS = ("fp32 matrix rate", "bf16 matrix rate", "exp rate", "vector rate", "HBM bandwidth", "L2 bandwidth")


def _predictions(workload: str = "prefill", variants: Any = VARIANTS, chips: Any = CHIPS) -> list[Prediction]:
    return attnsim.predict(list(variants), list(chips), **WORKLOADS[workload])


def _of(p: Prediction) -> Sensitivity:
    made = sensitivity(p)
    assert made is not None
    return made


def _named(p: Prediction, name: str) -> Moved:
    return next(one for one in _of(p).moved if one.name == name)


def _rates(p: Prediction) -> dict[str, float]:
    return {name: value for name in NUMBERS if name.endswith(RATES) and not name.startswith("datasheet")
            and (value := getattr(p.hardware, name))}  # fmt: skip


@pytest.mark.parametrize("workload", WORKLOADS)
def test_twice_every_rate_halves_the_floor(workload: str) -> None:
    """The schedule nearly so: its constants have latencies of their own, which no number of the chip changes."""
    for p in _predictions(workload):
        faster = {name: 2 * value for name, value in _rates(p).items()}
        if p.hardware.launch_latency_s:
            faster["launch_latency_s"] = p.hardware.launch_latency_s / 2
        then = p.evaluated(hardware=p.hardware.with_numbers(**faster))
        assert then.tiles_s == pytest.approx(p.evaluation.tiles_s / 2)
        if p.time_s is not None:
            assert 0.499 < then.chosen.time_s / p.time_s < 0.75


@pytest.mark.parametrize("workload", WORKLOADS)
def test_one_limit_binds_the_floor(workload: str) -> None:
    """Elasticities of rates at the floor are 0 or -1, but where two meet inside the step; together they are -1."""
    for p in _predictions(workload):
        moved = [one for one in _of(p).moved if one.name in UNITS]
        local = [slope for one in moved if (slope := one.local("tiles")) is not None]
        assert sum(local) == pytest.approx(-1, abs=0.02)
        binding = [slope for slope in local if abs(slope) > 1e-9]
        assert len(binding) > 1 or binding == [pytest.approx(-1)]
        for one in moved:
            assert -1 - 1e-9 <= (one.elasticity("tiles") or 0.0) <= 1e-9


@settings(max_examples=40, deadline=None)
@given(data=st.data(), factor=st.floats(1.0, 64.0))
def test_floors_never_rise_with_a_rate(data: st.DataObject, factor: float) -> None:
    chip, variant = data.draw(st.sampled_from(CHIPS)), data.draw(st.sampled_from(VARIANTS))
    workload = data.draw(st.sampled_from(list(WORKLOADS)))
    p = _predictions(workload, [variant], [chip])[0]
    name = data.draw(st.sampled_from(sorted(_rates(p))))
    then = p.evaluated(hardware=p.hardware.with_numbers(**{name: factor * getattr(p.hardware, name)}))
    assert then.tiles_s <= p.evaluation.tiles_s * (1 + 1e-12)


def test_ends_are_predictions_of_their_own() -> None:
    p = _predictions(variants=["moba"], chips=["b200"])[0]
    for name, arguments in {
        "exp rate": {"overrides": {"exp_per_clock_per_sm": 2 * p.hardware.exp_per_clock_per_sm}},
        "top": {"top": 6}, "seq with kv_len": {"seq": 16384}, "heads with kv_heads": {"heads": 64, "kv_heads": 64},
    }.items():  # fmt: skip
        again = attnsim.predict(["moba"], ["b200"], **arguments)[0]
        end = _named(p, name).doubled
        assert end.time_s == pytest.approx(again.time_s)
        assert end.floor_s == pytest.approx(again.rung_time("tiles"))


def test_elasticities_are_slopes_of_logarithms() -> None:
    p = _predictions(variants=["mha"], chips=["h100"])[0]
    one = _named(p, "bf16 matrix rate")
    assert one.halved.time_s
    assert one.doubled.time_s
    assert one.near
    assert one.elasticity("schedule") == pytest.approx(math.log2(one.doubled.time_s / one.halved.time_s) / 2)
    assert [end.value for end in one.near] == [pytest.approx(4096 * 0.99), pytest.approx(4096 * 1.01)]
    assert _named(p, "compute units").local("schedule") is None
    batch = _named(p, "batch")
    assert batch.halved.time_s is None
    assert batch.doubled.time_s
    assert batch.now.time_s
    assert batch.elasticity("schedule") == pytest.approx(math.log2(batch.doubled.time_s / batch.now.time_s))


def test_what_cannot_be_had_says_why() -> None:
    p = _predictions(variants=["moba"], chips=["b200"])[0]
    assert "half of 1" in _named(p, "batch").halved.why
    assert "does not divide" in _named(p, "heads").halved.why
    assert "does not divide" in _named(p, "kv_heads").doubled.why
    assert "cannot exceed 1" in _named(p, "HBM efficiency").doubled.why


def test_a_form_that_sizes_decide_stays_as_it_is() -> None:
    """Half of nope_dim fits the default head_dim as expanded keys would: 40 times the work, and another operator."""
    p = _predictions("decode", ["mla"], ["mi300x"])[0]
    half = _named(p, "nope_dim").halved
    absorbed = attnsim.predict(["mla"], ["mi300x"], **WORKLOADS["decode"], nope_dim=64, form="absorbed")[0]
    assert half.time_s == absorbed.time_s
    assert half.time_s <= p.time_s


def test_whole_numbers_of_a_chip_are_halved_as_such() -> None:
    """A matrix instruction of one row has no half, and no elasticity from it."""
    p = attnsim.predict(["mha"], ["apple-m4-ane"])[0]
    assert p.hardware.mma_n == 1
    assert _of(p)
    one = next((one for one in _of(p).moved if one.name == "mma_n"), None)
    assert one is None or "whole" in one.halved.why


def test_another_kernel_may_be_the_fastest() -> None:
    moved = _of(_predictions(variants=["mha"], chips=["b200"])[0]).moved
    switched = [end for one in moved for end in (one.halved, one.doubled) if one.switches(end)]
    assert switched
    assert all(end.kernel for end in switched)


@pytest.mark.parametrize("chip", CHIPS)
def test_numbers_that_are_not_read_move_nothing(chip: str) -> None:
    p = _predictions(variants=["mha"], chips=[chip])[0]
    used = read(p)
    for name, fields in numbers_together():
        values = {field: getattr(p.hardware, field) for field in fields if getattr(p.hardware, field)}
        if values and not used & set(values):
            then = p.evaluated(hardware=p.hardware.with_numbers(**{field: 2 * v for field, v in values.items()}))
            assert then.chosen.time_s == p.evaluation.chosen.time_s, name


def test_every_number_is_told_of_once() -> None:
    """Moved, or named among those that move nothing; published peaks are only checks of the rates."""
    s = _of(_predictions(variants=["mha"], chips=["h100"])[0])
    told = [one.name for one in s.moved] + list(s.unmoved)
    assert len(told) == len(set(told))
    known = {name for name, fields in numbers_together() if any(getattr(s.prediction.hardware, f) for f in fields)}
    assert known <= set(told)


def test_the_floor_stands_in_where_there_is_no_schedule() -> None:
    s = _of(_predictions(variants=["moba"], chips=["tpu-v5p"])[0])
    assert s.rung == "tiles"
    assert all(one.now.time_s is None for one in s.moved)
