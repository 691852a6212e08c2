"""A sweep is `predict` over arrays: equal to it at every point and in every column."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attnsim import predict, sweep

CASES: list[tuple[str, dict[str, Any]]] = [
    ("mha", {}),
    ("mha", {"causal": True, "kv_heads": 8}),
    ("mha", {"direction": "backward", "causal": True}),
    ("mha", {"page_size": 16, "dtype": "fp8"}),
    ("gqa", {"causal": True}),
    ("mqa", {}),
    ("sqa", {}),
    ("sliding-window", {"window": 700, "causal": True}),
    ("sink-window", {"window": 256}),
    ("chunked-softmax", {}),
    ("gated-attention", {"layer": True}),
    ("linear-attention", {}),
    ("linear-attention", {"causal": True}),
    ("lightning", {}),
    ("gated-deltanet", {}),
    ("log-linear", {}),
    ("padre", {}),
    ("perceiver", {}),
    ("moba", {}),
    ("dsa", {}),
    ("gna", {}),
]


def path(d: Any, name: str) -> Any:
    for key in name.split("."):
        d = None if d is None else d[key]
    return d


@pytest.mark.parametrize(("variant", "options"), CASES)
@pytest.mark.parametrize("hardware", ["b200", "h100", "a100", "mi300x", "tpu-v5p", "snapdragon-8-elite"])
def test_every_column_equals_predict(variant: str, options: dict[str, Any], hardware: str) -> None:
    seq = np.array([1, 63, 64, 65, 700, 4096, 10001, 2.0**18])
    batch = np.array([1, 3, 1, 16, 1, 1, 2, 1.0])
    columns = sweep(variant, hardware=hardware, seq=seq, batch=batch, heads=32, head_dim=128, **options)
    for index in range(len(seq)):
        d = predict(
            variant, hardware=hardware, seq=int(seq[index]), batch=int(batch[index]), heads=32, head_dim=128, **options
        ).to_dict()
        for name, column in columns.items():
            if name.startswith("problem."):
                continue
            ours, theirs = column[index], path(d, name)
            if theirs is None or isinstance(theirs, str):
                assert ours == theirs or (theirs is None and ours != ours), (name, seq[index])
            else:
                assert ours == pytest.approx(theirs, rel=1e-9), (name, seq[index])


def test_decoding_and_head_dims_are_grouped() -> None:
    kv_len = np.array([1024, 4096, 1024, 4096.0])
    head_dim = np.array([64, 64, 128, 128.0])
    columns = sweep("mha", hardware=["b200", "h100"], seq=1, kv_len=kv_len, head_dim=head_dim, batch=8, kv_heads=4)
    assert list(columns["hardware"]) == ["b200"] * 4 + ["h100"] * 4
    for index in range(8):
        one = predict(
            "mha", hardware=columns["hardware"][index], seq=1, kv_len=int(kv_len[index % 4]),
            head_dim=int(head_dim[index % 4]), batch=8, kv_heads=4,
        )  # fmt: skip
        assert columns["ladder.schedule.time_s"][index] == pytest.approx(one.time_s, rel=1e-12)
        assert columns["problem.kv_len"][index] == one.problem.kv_len


def test_columns_go_into_a_table_as_they_are() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    columns = sweep("sliding-window", hardware=["b200", "a100"], seq=np.arange(1, 2000), window=64)
    table = pyarrow.table({name: pyarrow.array(column) for name, column in columns.items()})
    assert table.num_rows == 2 * 1999
