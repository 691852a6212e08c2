"""Problems are checked where they are made: bad sizes never give a number."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnsim import InputError, Problem, predict, sweep

BAD_SIZES = [0, -1, math.nan, math.inf, 1.5, 2**40 + 1, True, "8", None.__class__]


@pytest.mark.parametrize("name", ["batch", "heads", "seq", "kv_len", "head_dim", "v_dim", "page_size"])
@pytest.mark.parametrize("value", BAD_SIZES)
def test_bad_sizes_are_refused_in_one_line(name: str, value: Any) -> None:
    with pytest.raises(InputError) as error:
        Problem.make(**{name: value})
    assert "\n" not in str(error.value)
    assert name in str(error.value) or "tokens" in str(error.value)


@pytest.mark.parametrize("value", [[0.0, 1.0], [1.0, math.nan], [2.0**41], [1.5]])
def test_bad_arrays_are_refused(value: list[float]) -> None:
    with pytest.raises(InputError):
        sweep("mha", seq=np.array(value))


@pytest.mark.parametrize(
    "arguments",
    [
        {"seq": 8, "shape": (8,)}, {"shape": (1, 2, 3, 4)}, {"heads": 7, "kv_heads": 2}, {"shape": (2**30, 2**30)},
        {"shape": (4, 4), "kv_len": 8}, {"documents": (4, 4), "seq": 8}, {"dtype": "fp7"}, {"kv_dtype": "x"},
        {"direction": "up"}, {"cache": "hot"},
    ],
)  # fmt: skip
def test_contradictions_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Problem.make(**arguments)


@pytest.mark.parametrize(
    ("variant", "arguments", "said"),
    [
        ("mhaa", {}, "did you mean 'mha'"),
        ("mha", {"hardwear": 1}, "unknown argument"),
        ("gna", {"shape": (8, 8), "window": (9, 4)}, "larger than the shape"),
        ("gna", {"shape": (8, 8), "window": 4, "stride": 5}, "stride 5x5 exceeds window 4x4"),
        ("gna", {"shape": (8, 8), "window": (4, 4, 4)}, "3 axes"),
        ("gna", {"shape": (8, 8), "dilation": 9, "window": 1}, "larger than the shape"),
        ("gna", {"shape": (8, 8), "causal": 1}, "causal"),
        ("sliding-window", {"window": 4, "left": 3}, "not both"),
        ("sliding-window", {"causal": True, "right": 1}, "right"),
        ("sliding-window", {"shape": (8, 8)}, "axes"),
        ("swin", {"causal": True}, "no causal form"),
        ("mha", {"tile": (100, 64)}, "multiple of 16"),
        ("mha", {"tile": (64, 64), "q_tile": (4,)}, "not both"),
        ("mha", {"q_tile": (4,)}, "both"),
        ("mha", {"implementation": "fa4", "hardware": "h100"}, "hopper"),
        ("mha", {"implementation": "fa33"}, "did you mean 'fa3'"),
        ("gna", {"shape": (64, 64), "window": 16, "q_tile": (3, 5), "kv_tile": (4, 4),
                 "implementation": "natten-blackwell"}, "has no tile"),
        ("mla", {"form": "absorbt"}, "did you mean 'absorbed'"),
        ("block-mask", {"seq": 256, "mask": np.ones((3, 3), bool)}, "need 2x2"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_says_why(variant: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        predict(variant, **arguments)


def test_defaults_are_those_of_the_contract() -> None:
    p = Problem.make(seq=1000, heads=8, head_dim=64)
    assert (p.batch, p.kv_heads, p.kv_len, p.v_dim, p.dtype, p.kv_dtype) == (1, 8, 1000, 64, "bf16", "bf16")
    assert (p.direction, p.causal, p.cache, p.page_size) == ("forward", False, "cold", None)


@given(st.integers(1, 300), st.integers(1, 400), st.booleans())
def test_window_is_short_for_left_and_right(window: int, seq: int, causal: bool) -> None:
    short = predict("sliding-window", seq=seq, window=window, causal=causal)
    left, right = (window - 1, 0) if causal else (window // 2, window - 1 - window // 2)
    long = predict("sliding-window", seq=seq, left=left, right=right, causal=causal)
    assert short.to_dict()["pairs"] == long.to_dict()["pairs"]
    i, j = np.arange(seq)[:, None], np.arange(seq)[None, :]
    assert short.to_dict()["pairs"] == int(((j >= i - left) & (j <= i + right)).sum())


def test_one_problem_is_no_array_and_a_layout_no_sweep() -> None:
    assert predict("mha", seq=np.int64(64)).problem.queries == 64
    with pytest.raises(InputError, match="sweep takes arrays"):
        predict("mha", seq=np.array([64, 128]))
    with pytest.raises(InputError, match="one at a time"):
        sweep("gna", shape=(np.array([4, 8]), 8))
    with pytest.raises(InputError, match="broadcast"):
        sweep("mha", seq=[1, 2], batch=[1, 2, 3])
