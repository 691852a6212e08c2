"""What kinds of measured rows are reported together: by mechanism, phase, types and whether one kernel runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .silicon import Table

TRITON = ("triton", "vllm_triton_attn")
NAMES = {
    "mla-context": "MLA prefill", "mla-decode": "MLA decode", "gdn-chunk": "gated delta net, chunks",
    "gdn-decode": "gated delta net, steps", "kda-chunk": "KDA, chunks", "kda-decode": "KDA, steps",
    "ssd-chunk": "Mamba-2 SSD, chunks", "ssd-decode": "Mamba-2 SSD, steps",
}  # fmt: skip


def cases(table: Table) -> NDArray[np.object_]:
    """The case of each row of a table."""
    operation = table.operation
    if operation in NAMES or operation not in ("context", "encoder", "decode"):
        layer = operation.startswith(("dsa-context", "dsa-decode"))
        name = NAMES.get(operation) or ("DSA, whole layers" if layer else "DSA kernels")
    elif table.kernel_source in TRITON:
        name = "Triton kernels"
    elif "fp8" in (table.dtype, table.kv_dtype):
        name = f"{operation}, fp8"
    elif operation == "decode":
        return np.where(_one_kernel(table), "decode, bf16, one kernel", "decode, bf16, several kernels").astype(object)
    else:
        name = f"{operation}, bf16"
    return np.full(len(table), name, dtype=object)


def _one_kernel(table: Table) -> NDArray[np.bool_]:
    """Where a framework decodes with one kernel: TensorRT-LLM picks another for one head a kv head and for more than
    32, SGLang's head_dim 192 and more pads V."""
    group = table.heads / table.kv_heads
    one: NDArray[np.bool_] = np.ones(len(table), dtype=np.bool_)
    if table.framework == "trtllm":
        one = (group > 1) & (group <= 32)
    elif table.framework == "sglang":
        one = table.head_dim < 192
    return one
