"""The tables of gated delta net and Kimi delta attention: what their rows ran, and which kernels stand for them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from attnsim.autotune.silicon import Table, tables
from attnsim.autotune.silicon.kernels import kernels_of

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("aiconfigurator_core") is None, reason="needs the extra `silicon`"
)
OPERATIONS = ("gdn-chunk", "gdn-decode", "kda-chunk", "kda-decode")


def table_of(framework: str, source: str, chip: str = "h100") -> Table:
    (found,) = (t for t in tables([chip], [framework], OPERATIONS) if t.kernel_source == source)
    return found


def test_one_name_is_another_kernel_in_each_framework() -> None:
    name = "chunk_gated_delta_rule"
    assert kernels_of(table_of("sglang", name)) == ("fla-gdn-fused",)
    assert kernels_of(table_of("trtllm", name)) == ("fla-gdn",)
    assert all(kernels_of(table) for table in tables(None, None, OPERATIONS))


def test_heads_of_v_are_more_than_those_of_q_and_k() -> None:
    table = table_of("vllm", "chunk_gated_delta_rule_flashinfer")
    assert table.parameters == {"grouped_values": True}
    assert set((table.heads / table.kv_heads).tolist()) == {1, 2, 3, 4}


def test_states_are_there_where_the_call_is_given_one() -> None:
    assert (
        table_of("sglang", "chunk_gated_delta_rule").kv_len > table_of("sglang", "chunk_gated_delta_rule").seq
    ).all()
    assert (
        table_of("trtllm", "chunk_gated_delta_rule").kv_len == table_of("trtllm", "chunk_gated_delta_rule").seq
    ).all()
    assert table_of("trtllm", "fused_recurrent_gated_delta_rule").parameters["state_dtype"] == "bf16"
    assert "state_dtype" not in table_of("vllm", "fused_recurrent_gated_delta_rule_packed_decode").parameters


def test_the_null_block_of_vllm_does_no_work() -> None:
    table = table_of("vllm", "fused_recurrent_kda_packed_decode")
    idle = table.kv_len == table.seq
    assert (table.excluded == idle).all()
    assert idle.sum() == 4
    # The evidence: without work, the time does not depend on the heads.
    assert np.ptp(table.latency_s[idle]) < 0.1 * table.latency_s[idle].min()
    two = (table.batch == 1) & ~idle
    assert table.latency_s[two].max() > 1.4 * table.latency_s[two].min()


def test_flashkda_has_chunks_of_its_own() -> None:
    assert table_of("vllm", "flashkda_fwd").parameters == {"chunk": 16}
    assert table_of("sglang", "chunk_kda").parameters == {}


def test_the_disturbed_table_of_h200_is_left_out() -> None:
    """Repeated measurements of one shape differ there, and nowhere else."""

    def spread(chip: str, framework: str, source: str) -> float:
        table = table_of(framework, source, chip)
        groups = [table.latency_s[table.key == key] for key in np.unique(table.key)]
        return float(np.mean([g.max() / g.min() - 1 for g in groups if len(g) > 1]))

    name = "chunk_gated_delta_rule"
    assert spread("h200", "sglang", name) > 0.15
    assert spread("h100", "sglang", name) < 0.02
    assert spread("h200", "vllm", f"{name}_flashinfer") < 0.02
    assert table_of("sglang", name, "h200").excluded.all()
