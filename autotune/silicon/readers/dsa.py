"""DeepSeek sparse attention of GLM-5's geometry: its three kernels alone, as SGLang runs them.

Read from the collector `collector/sglang/glm5_dsa_sparse_modules.py`: `isl` queries after `step` cached keys, which
are all benchmarked on made-up inputs.

- `glm5_mqa_logits`: 32 index heads of 128, causal, over the concatenated keys of all sequences.
- `glm5_topk`: the best 2048 of each row's scores, of which there are two kinds: all equal (`flat`, the worst case) and
  with 2048 clear winners. Where no row has more than 2048 keys nothing was run, and the time is 0.
- `glm5_dsa_attn`: 64 heads, 128 on Blackwell (padded); every query is given the first 2048 keys of its sequence,
  future ones too, in a cache of 16 bits, whatever the label says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import Floats, Origin

FILES = {
    "glm5_mqa_logits_module_perf": ("dsa-index",),
    "glm5_topk_module_perf": ("dsa-select", "dsa-select-ties"),
    "glm5_dsa_attn_module_perf": ("dsa-attend",),
}
TEXT = ("score_mode",)
KEY_COLUMNS = ("batch_size", "isl", "step", "num_heads")
NUMBERS = KEY_COLUMNS
STAGES = {"dsa-index": "index", "dsa-select": "select", "dsa-select-ties": "select", "dsa-attend": "attention"}
PADDED_HEADS = 128
BLACKWELL = ("b200", "b300", "gb200", "gb300")


def columns(origin: Origin, kind: Mapping[str, str], raw: Mapping[str, Floats]) -> dict[str, Any]:
    """Fields of a table (see `Reader`)."""
    operation = FILES[origin[3]][-1 if kind["score_mode"] == "flat" else 0]
    ones = np.ones_like(raw["isl"])
    stage = STAGES[operation]
    padded = stage == "attention" and origin[0] in BLACKWELL
    dtype = {"index": "fp8", "select": "bf16", "attention": "bf16"}[stage]
    return {
        "identity": "/".join((*origin[:3], operation, kind["kernel_source"])), "operation": operation, "dtype": dtype,
        "kv_dtype": dtype, "label_dtype": dtype, "batch": raw["batch_size"],
        "heads": PADDED_HEADS * ones if padded else raw["num_heads"], "kv_heads": ones, "seq": raw["isl"],
        "kv_len": raw["isl"] + raw["step"], "head_dim": 576 * ones, "v_dim": 512 * ones, "v_in_k": True,
        "window": 0 * ones, "chunk": 0 * ones, "variant": "dsa",
        "parameters": {"index_heads": 32, "stage": stage, "same_keys": True},
    }  # fmt: skip
