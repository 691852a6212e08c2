"""Latent attention (MLA) of DeepSeek-V3's geometry: kernels alone, no projections.

Decode is absorbed: 576 and 512, one latent K/V head whose V lies inside K (`v_in_k`). Prefill is expanded (192 and
128), except that SGLang's `flash_attention` and `triton` run it absorbed too: read as expanded, H100 would reach
193 TFLOP/s, not 654. SGLang's `trtllm_mla` is given one K/V head in prefill.

Read from the collectors `collector/*/collect_mla.py`; `dtype` is what the matrix units run, as in `attention`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import DTYPES, Floats, Origin

FILES = {"context_mla_perf": ("mla-context",), "generation_mla_perf": ("mla-decode",)}
TEXT = ("mla_dtype", "kv_cache_dtype")
KEY_COLUMNS = ("batch_size", "isl", "step", "num_heads", "num_key_value_heads", "head_dim", "window_size")
NUMBERS = KEY_COLUMNS

QUANTISES_QUERIES = ("default", "trtllm_mla")
KEEPS_QUERIES = (("default", "a100"), ("default", "l40s"))


def columns(origin: Origin, kind: Mapping[str, str], raw: Mapping[str, Floats]) -> dict[str, Any]:
    """Fields of a table (see `Reader`)."""
    source, operation = kind["kernel_source"], FILES[origin[3]][0]
    label, kv_dtype = DTYPES[kind["mla_dtype"]], DTYPES[kind["kv_cache_dtype"] or kind["mla_dtype"]]
    ones = np.ones_like(raw["num_heads"])
    absorbed = operation == "mla-decode" or source in ("flash_attention", "triton")
    quantised = kv_dtype == "fp8" and source in QUANTISES_QUERIES and (source, origin[0]) not in KEEPS_QUERIES
    return {
        # Keys were first made with a blank in the name of the operation, and splits never move.
        "identity": "/".join((*origin[:3], operation.replace("-", " "), source, label, kv_dtype)),
        "operation": operation, "dtype": "fp8" if quantised else label, "kv_dtype": kv_dtype, "label_dtype": label,
        "batch": raw["batch_size"], "heads": raw["num_heads"],
        "kv_heads": ones if absorbed or source == "trtllm_mla" else raw["num_heads"], "seq": raw["isl"],
        "kv_len": raw["isl"] + raw.get("step", 0), "head_dim": (576 if absorbed else 192) * ones,
        "v_dim": (512 if absorbed else 128) * ones, "v_in_k": absorbed, "window": 0 * ones, "chunk": 0 * ones,
    }  # fmt: skip
