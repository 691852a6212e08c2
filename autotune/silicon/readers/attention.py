"""Context, encoder and decode attention.

- context: `isl` queries, causal; keys `isl + step`, and `step` is 0 in every row. Encoder: no mask, as many K/V heads.
- decode: `step` is the history before the new token, which attends to itself too: 1 query, `step + 1` keys.
- `window_size` counts keys, the query among them; 0 is none. SGLang is given Llama 4's 8192 as the length of fixed
  chunks, not as a window: `fa3` runs it so (`chunk`; 0.52x dense at N = 16384, where a window would cost 0.75x), every
  other backend of it ignores it and runs dense (1.00x at any N), and so it is mapped.
- SGLang's head_dim 192 is MiMo-V2, whose V has 128; read as 192, some rows would beat the HBM.
- `dtype` is what the matrix units run. On an fp8 cache many kernels turn Q into fp8 and compute in fp8, although the
  row is labelled bfloat16 (`QUANTISES_QUERIES`): TensorRT-LLM's H100 prefill then beats the bf16 peak.

Read from the collectors `collector/*/collect_attn*.py` and `cases/models/*.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import DTYPES, Floats, Origin

FILES = {
    "context_attention_perf": ("context",), "encoder_attention_perf": ("encoder",),
    "generation_attention_perf": ("decode",),
}  # fmt: skip
TEXT = ("attn_dtype", "kv_cache_dtype")
KEY_COLUMNS = ("batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim", "window_size")
NUMBERS = KEY_COLUMNS

QUANTISES_QUERIES = {
    "context": {"torch_flow", "torch_flow_flashinfer", "vllm_flash_attn_fa3", "vllm_flashinfer", "vllm_triton_attn",
                "vllm_flashinfer_trtllmprefill", "vllm_flashinfer_trtllmdecode"},
    "decode": {"torch_flow", "torch_flow_flashinfer", "vllm_flash_attn_fa3", "vllm_flashinfer", "vllm_triton_attn",
               "vllm_flashinfer_trtllmdecode", "fa3", "trtllm_mha"},
}  # fmt: skip
"""Kernel sources that compute in fp8 on an fp8 cache whatever the label says, by operation."""
KEEPS_QUERIES = (("torch_flow", "l40s"), ("torch_flow", "rtx-pro-6000"))
"""Except these on these chips: no faster on an fp8 cache (0.97 to 1.00x), where fp8 operands take 0.55 to 0.6x."""


def columns(origin: Origin, kind: Mapping[str, str], raw: Mapping[str, Floats]) -> dict[str, Any]:
    """Fields of a table (see `Reader`)."""
    chip, framework, _, stem = origin
    source, operation = kind["kernel_source"], FILES[stem][0]
    label, kv_dtype = DTYPES[kind["attn_dtype"]], DTYPES[kind["kv_cache_dtype"] or kind["attn_dtype"]]
    heads, head_dim = raw["num_heads"], raw["head_dim"]
    zeros = np.zeros_like(heads)
    window, chunk, v_dim = raw.get("window_size", zeros), zeros, head_dim
    if framework == "sglang":
        v_dim = np.where(head_dim == 192, 128.0, head_dim)
        chunk = np.where((window == 8192) & (source == "fa3"), window, 0.0)
        window = np.where(window == 8192, 0.0, window)
    quantised = kv_dtype == "fp8" and source in QUANTISES_QUERIES.get(operation, ())
    return {
        "identity": "/".join((*origin[:3], operation, source, label, kv_dtype)),
        "operation": operation, "dtype": "fp8" if quantised and (source, chip) not in KEEPS_QUERIES else label,
        "kv_dtype": kv_dtype, "label_dtype": label, "batch": raw["batch_size"], "heads": heads,
        "kv_heads": raw.get("num_key_value_heads", heads), "seq": raw["isl"], "kv_len": raw["isl"] + raw.get("step", 0),
        "head_dim": head_dim, "v_dim": v_dim, "v_in_k": False, "window": window, "chunk": chunk,
    }  # fmt: skip
