"""What the readers of sparse attention make of a row: kernels alone, and whole layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attnsim.autotune.silicon import kernels
from attnsim.autotune.silicon.readers import dsa, dsa_layers

RAW = {
    "batch_size": np.array([4.0]), "isl": np.array([16.0]), "step": np.array([4096.0]), "num_heads": np.array([64.0]),
    "tp_size": np.array([1.0]),
}  # fmt: skip


def kernel(chip: str, stem: str, **kind: str) -> dict[str, Any]:
    return dsa.columns((chip, "sglang", "0.5.14", stem), {"kernel_source": "x", "score_mode": "", **kind}, RAW)


def layer(framework: str, stem: str, **kind: str) -> dict[str, Any]:
    text = {
        "kernel_source": "default", "op_name": "dsa", "model": "deepseek-ai/DeepSeek-V3.2", "kv_cache_dtype": "fp8",
        "gemm_type": "fp8_block",
    }  # fmt: skip
    return dsa_layers.columns(("h100", framework, "1", stem), {**text, **kind}, RAW)


def test_kernels_of_sparse_attention() -> None:
    attend = kernel("h100", "glm5_dsa_attn_module_perf")
    assert (attend["operation"], attend["heads"], attend["kv_len"], attend["dtype"]) == ("dsa-attend", 64, 4112, "bf16")
    assert kernel("b200", "glm5_dsa_attn_module_perf")["heads"] == 128
    index = kernel("b200", "glm5_mqa_logits_module_perf")
    assert (index["operation"], index["dtype"], index["heads"]) == ("dsa-index", "fp8", 64)
    modes = [kernel("b200", "glm5_topk_module_perf", score_mode=mode) for mode in ("flat", "top_last")]
    assert [mode["operation"] for mode in modes] == ["dsa-select-ties", "dsa-select"]
    assert modes[0]["identity"] != modes[1]["identity"]


@pytest.mark.parametrize(
    ("stem", "kind", "operation"),
    [
        ("dsa_context_module_perf", {}, "dsa-context"),
        ("dsa_context_module_perf", {"op_name": "dsa_context_module_skip_indexer"}, "dsa-context-reuse"),
        ("dsa_context_module_perf", {"kernel_source": "sglang_dsa_dense_mha_fa3"}, "dsa-context-dense"),
        ("dsa_generation_module_perf", {}, "dsa-decode"),
        ("dsa_generation_module_perf", {"op_name": "dsa_generation_module_skip_indexer"}, "dsa-decode-reuse"),
    ],
)
def test_layers_by_what_they_ran(stem: str, kind: dict[str, str], operation: str) -> None:
    row = layer("sglang", stem, **kind)
    assert row["operation"] == operation
    assert row["parameters"]["eager"] == (stem == "dsa_context_module_perf")
    assert (row["parameters"]["weights"], row["kv_dtype"], row["dtype"]) == ("fp8", "fp8", "bf16")


def test_layers_have_the_sizes_of_their_model() -> None:
    deepseek = layer("trtllm", "dsa_context_module_perf")["parameters"]
    glm = layer("trtllm", "dsa_context_module_perf", model="zai-org/GLM-5", gemm_type="bfloat16")["parameters"]
    assert (deepseek["hidden"], deepseek["value_dim"], deepseek["index_heads"], deepseek["eager"]) == (
        7168,
        128,
        64,
        False,
    )
    assert (glm["hidden"], glm["value_dim"], glm["index_heads"], glm["weights"]) == (6144, 256, 32, "bf16")


def test_every_operation_of_sparse_attention_names_kernels() -> None:
    named = {name for names in (*dsa.FILES.values(), *dsa_layers.FILES.values()) for name in names}
    assert named <= set(kernels.KERNELS)
