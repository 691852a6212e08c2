"""Which known kernels a table's name for what ran stands for.

The package's names are rarely one kernel (`torch_flow` is all of TensorRT-LLM). Of the implementations named, in
the order in which the framework would choose, the first that has a kernel for the chip's generation and accepts the
problem is predicted.
"""

from __future__ import annotations

from .table import Table

_FA2, _FA3 = ("fa2", "fa2-split-kv"), ("fa3", "fa3-split-kv")
_FMHA = ("trtllm-fmha", "trtllm-fmha-small", "trtllm-fmha-large")
_GENERATED = ("trtllm-gen-decode", "trtllm-gen-decode-wide")
_FUSED, _FLASHINFER = ("trtllm-gen", "cudnn", "fa2", "fa3", "fa4"), ("flashinfer-decode",)

_PREFILL: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("vllm_flash_attn", "vllm_flash_attn_fa2"), ("fa2-paged", "fa2-split-kv")),
    "vllm_vit_flash_attn_fa2": ("fa2",), "fa3": ("fa3-paged-uneven", "fa3-paged"),
    "flash_attention": ("fa3-paged",),
    "vllm_flash_attn_fa3": ("fa3-vllm-paged", "fa3-vllm-paged-spilled"), "vllm_vit_flash_attn_fa3": ("fa3-vllm",),
    "flash_attention_v3": ("fa3-ragged",),
    "vllm_flash_attn_fa4": ("fa4", "fa4-hopper", "fa4-split-kv-graph"),
    "vllm_vit_flash_attn_fa4": ("fa4-vllm",), "flash_attention_v4": ("fa4",),
    "triton": ("sglang-triton", "sglang-triton-unequal"), "vllm_triton_attn": ("vllm-triton", "vllm-triton-decode"),
    **dict.fromkeys(("flashinfer", "vllm_flashinfer_fiprefill"), ("flashinfer-cutlass", "flashinfer-prefill")),
    "vllm_flashinfer_fidecode": _FLASHINFER, "vllm_flashinfer_trtllmdecode": _GENERATED,
    **dict.fromkeys(("vllm_flashinfer", "vllm_flashinfer_trtllmprefill"), ("trtllm-gen-vllm", *_GENERATED)),
    "torch_flow": (*_FMHA, *_FUSED),
    **dict.fromkeys(("default", "trtllm_mha", "trtllm_mla"), _FUSED),
    "torch_flow_flashinfer": ("trtllm-gen-flashinfer",),
}  # fmt: skip
_DECODE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("vllm_flash_attn", "vllm_flash_attn_fa2"), _FA2[::-1]),
    "fa3": ("fa3-split-kv",), "vllm_flash_attn_fa3": ("fa3-split-kv-graph", "fa3-split-kv-graph-wide"),
    "vllm_flash_attn_fa4": ("fa4", "fa4-split-kv-graph"),
    "flash_attention": ("fa3-split-kv", "fa3-split-kv-sm80"),
    "triton": ("sglang-triton-decode-unequal", "sglang-triton-decode", "sglang-triton-decode-lone"),
    "vllm_triton_attn": ("vllm-triton-decode",),
    "torch_flow": ("trtllm-gen-dispatched", "trtllm-xqa", "trtllm-mmha"),
    **dict.fromkeys(("torch_flow_flashinfer", "trtllm_mha", "vllm_flashinfer", "vllm_flashinfer_trtllmdecode"),
                    _GENERATED),
    **dict.fromkeys(("flashinfer", "vllm_flashinfer_fidecode"), ("flashinfer-decode-lanes", *_FLASHINFER)),
}  # fmt: skip
_SPARSE_PREFILL: dict[str, tuple[str, ...]] = {
    **{f"sglang_dsa_{how}_{what}": (name,) for how in ("indexer", "skip_indexer") for what, name in (
        ("flashmla_sparse", "dsa-layer-sglang"), ("flashmla_kv", "dsa-layer-sglang"),
        ("trtllm", "dsa-layer-sglang-gen"),
    )},
    "default": ("dsa-layer-trtllm",), "FLASHMLA_SPARSE": ("dsa-layer-vllm-mixed", "dsa-layer-vllm"),
    "FLASHINFER_MLA_SPARSE": ("dsa-layer-vllm-flashinfer",),
}  # fmt: skip
_SPARSE_DECODE: dict[str, tuple[str, ...]] = {
    **{f"sglang_dsa_{how}_{what}": ("dsa-layer-sglang-decode",) for how in ("indexer", "skip_indexer")
       for what in ("fa3", "flashmla_kv", "trtllm")},
    "default": ("dsa-layer-trtllm-decode",), "FLASHMLA_SPARSE": ("dsa-layer-vllm-decode",),
    "FLASHINFER_MLA_SPARSE": ("dsa-layer-vllm-flashinfer-decode",),
}  # fmt: skip
KERNELS: dict[str, dict[str, tuple[str, ...]]] = {
    "context": _PREFILL,
    "encoder": _PREFILL | {"triton": ("sglang-triton-encoder",)},
    "decode": _DECODE,
    "mla-context": {
        "default": ("trtllm-mla",), "trtllm_mla": ("trtllm-mla",), "flash_attention": ("fa3-mla",),
        "triton": ("sglang-triton-latent",),
    },
    **dict.fromkeys(("dsa-context", "dsa-context-reuse"), _SPARSE_PREFILL),
    "dsa-context-dense": dict.fromkeys(("sglang_dsa_dense_mha_fa3", "sglang_dsa_dense_mha_trtllm_ragged"),
                                       ("dsa-layer-dense",)),
    **dict.fromkeys(("dsa-decode", "dsa-decode-reuse"), _SPARSE_DECODE),
    "dsa-index": {"deep_gemm.fp8_mqa_logits": ("deepgemm-mqa-logits",)},
    "dsa-select": {"fast_topk_transform_fused": ("topk-select",)},
    "dsa-select-ties": {"fast_topk_transform_fused": ("topk-select-ties",)},
    "dsa-attend": {"flash_mla_sparse_fwd": ("flash-mla-sparse",)},
    "mla-decode": {
        "default": ("trtllm-gen-mla", "flash-mla", "fmha-v2-mla"), "trtllm_mla": ("flashinfer-gen-mla",),
        "flash_attention": ("fa3-mla-split-kv",),
        "triton": ("sglang-triton-decode-latent", "sglang-triton-decode-lone-latent"),
    },
    "gdn-chunk": {
        "chunk_gated_delta_rule": ("fla-gdn-fused",), "trtllm/chunk_gated_delta_rule": ("fla-gdn",),
        "chunk_gated_delta_rule_triton": ("fla-gdn",), "chunk_gated_delta_rule_flashinfer": ("flashinfer-gdn",),
    },
    "gdn-decode": {
        "fused_recurrent_gated_delta_rule": ("fla-recurrent",),
        "fused_recurrent_gated_delta_rule_packed_decode": ("fla-packed-decode",),
    },
    "kda-chunk": {
        "chunk_kda": ("fla-kda",), "chunk_kda_with_fused_gate": ("fla-kda",), "flashkda_fwd": ("flash-kda",),
    },
    "kda-decode": {
        "fused_recurrent_kda_packed_decode": ("fla-packed-decode",),
        **dict.fromkeys(("kda_fused_decode", "fused_kda_decode"), ("kda-fused-decode",)),
    },
}  # fmt: skip
"""Operation -> kernel source, after the framework and a slash where it means another there -> names of
implementations."""


def kernels_of(table: Table) -> tuple[str, ...] | None:
    """The known kernels that the table's rows are predicted with, None: the fastest of all."""
    known = KERNELS.get(table.operation, {})
    return known.get(f"{table.framework}/{table.kernel_source}", known.get(table.kernel_source))
