"""DeepSeek sparse attention as a whole layer: from the hidden states of DeepSeek-V3.2 and GLM-5 back to them.

Read from the collectors `collector/*/collect_mla_module.py`: `isl` queries after `step` cached keys, on the heads that
`tp_size` chips leave to one.

- SGLang's prefill is run eagerly, call after call without waiting: short ones take what the host needs to start their
  kernels. Up to 2048 keys it is dense (`dense_mha`: expanded, no indexer). Decoding replays a graph, up to the largest
  batch that one is captured for. vLLM's prefill is eager too; the others are graphs.
- `skip_indexer` takes the selection of an earlier layer (GLM-5.2).
- Products are quantised to `gemm_type`, but for those into and out of the latents and the indexer's keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import DTYPES, Floats, Origin

FILES = {
    "dsa_context_module_perf": ("dsa-context", "dsa-context-reuse", "dsa-context-dense"),
    "dsa_generation_module_perf": ("dsa-decode", "dsa-decode-reuse"),
}
TEXT = ("op_name", "model", "kv_cache_dtype", "gemm_type")
KEY_COLUMNS = ("batch_size", "isl", "step", "num_heads", "tp_size")
NUMBERS = KEY_COLUMNS
WEIGHTS = {"bfloat16": "bf16", "fp8_block": "fp8", "nvfp4": "nvfp4"}
MODELS = {
    "DeepSeek": {"hidden": 7168, "q_rank": 1536, "nope_dim": 128, "value_dim": 128, "index_heads": 64},
    "GLM": {"hidden": 6144, "q_rank": 2048, "nope_dim": 192, "value_dim": 256, "index_heads": 32},
}
"""Sizes by how the name of a model begins, from its config.json."""
EAGER = ("sglang", "vllm")
"""Frameworks whose prefill replays no graph."""
PLANS_FROM = 65536
"""Cached keys beyond which SGLang's collector has every call plan its kernels (init_forward_metadata)."""


def columns(origin: Origin, kind: Mapping[str, str], raw: Mapping[str, Floats]) -> dict[str, Any]:
    """Fields of a table (see `Reader`)."""
    source, prefill = kind["kernel_source"], origin[3] == "dsa_context_module_perf"
    reuse, dense = kind["op_name"].endswith("skip_indexer"), "dense_mha" in source
    operation = "dsa-context" if prefill else "dsa-decode"
    operation += "-dense" if dense else "-reuse" if reuse else ""
    sizes = next(sizes for name, sizes in MODELS.items() if kind["model"].split("/")[-1].startswith(name))
    kv_dtype = DTYPES[kind["kv_cache_dtype"]]
    ones = np.ones_like(raw["isl"])
    return {
        "identity": "/".join((*origin[:3], operation, source, *(kind[name] for name in TEXT))),
        "operation": operation, "dtype": "bf16", "kv_dtype": kv_dtype, "label_dtype": "bf16",
        "batch": raw["batch_size"], "heads": raw["num_heads"], "kv_heads": ones, "seq": raw["isl"],
        "kv_len": raw["isl"] + raw["step"], "head_dim": 576 * ones, "v_dim": 512 * ones, "v_in_k": True,
        "window": 0 * ones, "chunk": 0 * ones, "variant": "sparse-layer",
        "parameters": {
            **sizes, "weights": WEIGHTS[kind["gemm_type"]], "reuse": reuse, "dense": dense,
            "eager": prefill and origin[1] in EAGER, "plans_from": PLANS_FROM,
        },
    }  # fmt: skip
