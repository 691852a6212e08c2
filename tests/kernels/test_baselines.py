"""The rules given to flex_attention are those of the masks; sampled rows are rows of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from attnsim.kernels.reference.baselines import mask_mod, sampled, sdpa
from attnsim.kernels.reference.softmax import masked_attention, pair_matrix
from attnsim.simulator.errors import InputError

from .attention_cases import case

MASKS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("mha", {}, {"seq": 9, "kv_len": 13}),
    ("mha", {}, {"seq": 9, "kv_len": 13, "causal": True}),
    ("mha", {}, {"seq": 1, "kv_len": 13, "causal": True}),
    ("sliding-window", {"window": 5}, {"seq": 20, "causal": True}),
    ("sliding-window", {"left": 2, "right": 4}, {"seq": 20}),
    ("sink-window", {"window": 4, "sinks": 3}, {"seq": 20, "causal": True}),
    ("gna", {"window": 5, "stride": 2}, {"seq": 23}),
    ("gna", {"window": 4, "dilation": 3}, {"seq": 23, "causal": True}),
    ("gna", {"window": (3, 6), "stride": (2, 4), "dilation": (2, 1)}, {"shape": (7, 10)}),
    ("gna", {"window": (2, 3, 4), "stride": (1, 3, 2), "causal": (True, False, False)}, {"shape": (3, 5, 6)}),
]


@pytest.mark.parametrize(("variant", "parameters", "sizes"), MASKS)
def test_rules_are_those_of_the_masks(variant: str, parameters: dict[str, Any], sizes: dict[str, Any]) -> None:
    made, problem = case(variant, parameters, **sizes)
    mask: Any = made.graph(problem).main.mask
    i, j = np.arange(mask.queries)[:, None], np.arange(mask.keys)[None, :]
    found = mask_mod(mask)(0, 0, torch.from_numpy(i), torch.from_numpy(j))
    assert np.array_equal(np.broadcast_to(found.numpy(), (mask.queries, mask.keys)),
                          np.broadcast_to(mask.attends(i, j), (mask.queries, mask.keys)))  # fmt: skip


def test_rules_of_other_masks_are_refused() -> None:
    made, problem = case("radial", {}, shape=(4, 64))
    with pytest.raises(InputError, match="not written"):
        mask_mod(made.graph(problem).main.mask)


def test_sampled_rows_are_rows_of_the_whole() -> None:
    made, problem = case("sliding-window", {"window": 6}, seq=30, causal=True, heads=4, kv_heads=2)
    mask: Any = made.graph(problem).main.mask
    q, k, v = torch.randn(2, 4, 30, 8), torch.randn(2, 2, 30, 8), torch.randn(2, 2, 30, 8)
    rows = torch.tensor([0, 7, 29])
    whole = masked_attention(q.double(), k.double(), v.double(), pair_matrix(mask, "cpu"))
    torch.testing.assert_close(sampled(q, k, v, mask, rows, torch.float64), whole[:, :, rows])


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_sdpa_is_the_same_attention(kv_heads: int) -> None:
    made, problem = case("mha", {}, seq=30, causal=True)
    mask: Any = made.graph(problem).main.mask
    q, k, v = torch.randn(2, 4, 30, 8), torch.randn(2, kv_heads, 30, 8), torch.randn(2, kv_heads, 30, 8)
    expected = masked_attention(q, k, v, pair_matrix(mask, "cpu"))
    torch.testing.assert_close(sdpa(q, k, v, True, "math"), expected)
