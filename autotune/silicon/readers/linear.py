"""Gated delta net and Kimi delta attention: the kernels of their recurrences alone.

- prefill (`*-chunk`): `batch_size` sequences of `seq_len` tokens, packed. They start from a state (of zeros) and leave
  one, except in TensorRT-LLM, which is given none.
- decode: one token and an fp32 state in place; `fused_recurrent_gated_delta_rule` is given one in bf16 and returns
  another in fp32.
- What is in a state does not matter: one token of history is put down for it, and none where there is no state.
- `num_k_heads` heads of q and k, `num_v_heads` of v and of the state; fewer than a model has where it is split.
- FlashKDA's chunks have 16 tokens, all others' 64. `kda_fused_decode` and `fused_kda_decode` hold the short
  convolution and the gated norm too.

vLLM's packed decode of Kimi delta attention returns at once for state slot 0, its null block, and the collector's slots
start there: one sequence fewer runs than `batch_size` says, none where it says one (a rule leaves those out).

Not read: convolutions (`causal_conv1d_*`: work before the attention), and Kimi's verification of several drafts (which
writes a state for every draft). Mamba-2's files hold convolutions alone: every call of `mamba_chunk_scan_combined` and
`selective_state_update` is missing. Shapes that several models share are listed for each: repeated measurements.

Read from the collectors `collector/*/collect_gdn.py`, `collect_kda.py`, `collect_mamba2.py` and `cases/base_ops`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import Floats, Origin

FILES = {"gdn_perf": ("gdn-chunk", "gdn-decode"), "kda_perf": ("kda-chunk", "kda-decode")}
TEXT = ()
KEY_COLUMNS = ("batch_size", "seq_len", "num_k_heads", "num_v_heads", "head_k_dim", "head_v_dim")
NUMBERS = KEY_COLUMNS

CHUNK = {
    "chunk_gated_delta_rule", "chunk_gated_delta_rule_flashinfer", "chunk_gated_delta_rule_triton", "chunk_kda",
    "chunk_kda_with_fused_gate", "flashkda_fwd",
}  # fmt: skip
DECODE = {
    "fused_recurrent_gated_delta_rule", "fused_recurrent_gated_delta_rule_packed_decode",
    "fused_recurrent_kda_packed_decode", "kda_fused_decode", "fused_kda_decode",
}  # fmt: skip


def columns(origin: Origin, kind: Mapping[str, str], raw: Mapping[str, Floats]) -> dict[str, Any] | None:
    """Fields of a table (see `Reader`)."""
    source, gated = kind["kernel_source"], origin[3] == "gdn_perf"
    if source not in CHUNK | DECODE:
        return None
    one = source in DECODE
    carried: Any = one or origin[1] != "trtllm"
    operation = FILES[origin[3]][one]
    parameters: dict[str, Any] = {"grouped_values": True} if gated else {"chunk": 16} if "flashkda" in source else {}
    if source == "fused_recurrent_gated_delta_rule":
        parameters["state_dtype"] = "bf16"
    batch = raw["batch_size"]
    if (origin[1], source) == ("vllm", "fused_recurrent_kda_packed_decode"):
        batch, carried = np.maximum(batch - 1, 1), batch > 1
    zeros = 0 * raw["batch_size"]
    return {
        "identity": "/".join((*origin[:3], operation, source)), "operation": operation, "dtype": "bf16",
        "kv_dtype": "bf16", "label_dtype": "bf16", "batch": batch, "heads": raw["num_v_heads"],
        "kv_heads": raw["num_k_heads"], "seq": raw["seq_len"], "kv_len": raw["seq_len"] + carried,
        "head_dim": raw["head_k_dim"], "v_dim": raw["head_v_dim"], "v_in_k": False, "window": zeros, "chunk": zeros,
        "variant": "gated-deltanet" if gated else "kda", "parameters": parameters,
    }  # fmt: skip
