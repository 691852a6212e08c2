"""The fixed list of problems: what golden rankings are kept for and what a campaign measures, most valuable first.

Sizes are those of models and papers: Llama-like heads, FLUX and video token layouts (2504.16922), DeepSeek's latents.
No problem depends on the contents of q and k, so that all can be compiled without data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .task import Task

GROUPS = (
    "causal", "dense", "window", "neighbourhood", "decode", "block-sparse", "linear", "backward", "simplicial",
)  # fmt: skip
"""Kinds of problems, the most valuable first."""


@dataclass(frozen=True)
class Named:
    """A problem with a name: a variant, sizes (arguments of `Problem.make`), the variant's own parameters."""

    name: str
    group: str
    variant: str
    sizes: Mapping[str, Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def task(self, hardware: str) -> Task:
        """By the fastest predicted of our kernels on a chip. Raises InputError where none takes it."""
        return Task.make(self.variant, hardware, **self.sizes, **self.parameters)


LAYER = {"batch": 1, "heads": 32, "head_dim": 128, "causal": True}
"""A layer of a language model with as many kv heads; GROUPED: with a quarter of them."""
GROUPED = LAYER | {"kv_heads": 8}
VIDEO = {"batch": 1, "heads": 24, "head_dim": 128, "shape": (30, 48, 80)}
"""HunyuanVideo's tokens."""
IMAGE = {"batch": 1, "heads": 24, "head_dim": 128, "shape": (128, 128)}
"""FLUX's heads at a quarter of the tokens of its 4K images."""
CACHED = {"heads": 32, "kv_heads": 8, "head_dim": 128, "seq": 1}
"""One new token a sequence."""


def _prefill() -> list[Named]:
    return [
        Named("causal-4k-gqa", "causal", "gqa", GROUPED | {"batch": 4, "seq": 4096}),
        Named("dense-4k", "dense", "mha", {"batch": 4, "heads": 16, "head_dim": 128, "seq": 4096}),
        Named("causal-16k", "causal", "mha", LAYER | {"seq": 16384}),
        Named("causal-1k", "causal", "mha", LAYER | {"batch": 8, "seq": 1024}),
        Named("dense-4k-d64", "dense", "mha", {"batch": 4, "heads": 16, "head_dim": 64, "seq": 4096}),
        Named("causal-4k-d64", "causal", "mha", LAYER | {"batch": 4, "head_dim": 64, "seq": 4096}),
        Named("dense-16k", "dense", "mha", {"batch": 1, "heads": 16, "head_dim": 128, "seq": 16384}),
        Named("causal-2k-d256", "causal", "mha", {"batch": 4, "heads": 8, "head_dim": 256, "seq": 2048,
                                                  "causal": True}),
    ]  # fmt: skip


def _sparse() -> list[Named]:
    long = GROUPED | {"seq": 8192}
    return [
        Named("window-1k-of-8k", "window", "sliding-window", long, {"window": 1024}),
        Named("window-4k-of-16k", "window", "sliding-window", GROUPED | {"seq": 16384}, {"window": 4096}),
        Named("window-128-of-8k-d64", "window", "sliding-window", long | {"head_dim": 64}, {"window": 128}),
        Named("sinks-1020-of-8k", "window", "sink-window", long, {"window": 1020, "sinks": 4}),
        Named("video-18x24x24", "neighbourhood", "gna", VIDEO, {"window": (18, 24, 24)}),
        Named("video-18x24x24-stride", "neighbourhood", "gna", VIDEO,
              {"window": (18, 24, 24), "stride": (16, 8, 8)}),
        Named("image-40x40", "neighbourhood", "gna", IMAGE, {"window": (40, 40)}),
        Named("image-40x40-stride-8", "neighbourhood", "gna", IMAGE, {"window": (40, 40), "stride": (8, 8)}),
        Named("image-16x16-d64", "neighbourhood", "gna", IMAGE | {"head_dim": 64}, {"window": (16, 16)}),
        Named("neighbours-511-of-8k", "neighbourhood", "gna",
              {"batch": 1, "heads": 32, "head_dim": 128, "seq": 8192}, {"window": 511}),
        Named("power-16k", "block-sparse", "power-attention", LAYER | {"seq": 16384}),
        Named("dilated-8k", "block-sparse", "dilated", LAYER | {"seq": 8192}),
        Named("radial-video", "block-sparse", "radial",
              {"batch": 1, "heads": 24, "head_dim": 128, "shape": (16, 32, 48)}),
    ]  # fmt: skip


def _decode() -> list[Named]:
    latent = {"batch": 16, "heads": 128, "seq": 1, "kv_len": 8192, "head_dim": 576}
    return [
        Named("decode-32k-batch-1", "decode", "gqa", CACHED | {"batch": 1, "kv_len": 32768}),
        Named("decode-8k-batch-32", "decode", "gqa", CACHED | {"batch": 32, "kv_len": 8192}),
        Named("decode-2k-batch-128", "decode", "gqa", CACHED | {"batch": 128, "kv_len": 2048}),
        Named("decode-4k-mha", "decode", "mha", {"batch": 8, "heads": 32, "head_dim": 128, "seq": 1, "kv_len": 4096}),
        Named("decode-8k-mla", "decode", "mla", latent, {"form": "absorbed"}),
        Named("decode-8k-fp8-cache", "decode", "gqa", CACHED | {"batch": 32, "kv_len": 8192, "kv_dtype": "fp8_e5m2"}),
    ]  # fmt: skip


def _other() -> list[Named]:
    recurrent = {"batch": 4, "heads": 16, "head_dim": 128, "seq": 8192, "causal": True}
    trained = {"direction": "backward"}
    return [
        Named("linear-8k", "linear", "linear-attention", recurrent | {"head_dim": 64}),
        Named("lightning-8k", "linear", "lightning", recurrent),
        Named("deltanet-8k", "linear", "gated-deltanet", recurrent),
        Named("log-linear-8k", "linear", "log-linear", recurrent | {"head_dim": 64}),
        Named("simplicial-4k", "simplicial", "simplicial-2",
              {"batch": 1, "heads": 64, "kv_heads": 1, "head_dim": 128, "seq": 4096, "causal": True}),
        Named("causal-4k-backward", "backward", "gqa", GROUPED | trained | {"batch": 2, "seq": 4096}),
        Named("image-40x40-backward", "backward", "gna", IMAGE | trained, {"window": (40, 40)}),
    ]  # fmt: skip


def problems() -> tuple[Named, ...]:
    """All of them: the first of every group, then the second of each, and so on, so that a budget that ends early has
    seen all groups."""
    turn: dict[str, int] = dict.fromkeys(GROUPS, 0)

    def place(one: Named) -> tuple[int, int]:
        turn[one.group] += 1
        return turn[one.group], GROUPS.index(one.group)

    return tuple(sorted((*_prefill(), *_sparse(), *_decode(), *_other()), key=place))


def small() -> tuple[Named, ...]:
    """A short list for the host's flex_attention: masks only, milliseconds a call."""
    host = {"batch": 1, "heads": 4, "head_dim": 64, "dtype": "fp32"}
    return (
        Named("dense-1k", "dense", "mha", host | {"seq": 1024}),
        Named("causal-1k", "causal", "mha", host | {"seq": 1024, "causal": True}),
        Named("window-128-of-2k", "window", "sliding-window", host | {"seq": 2048, "causal": True}, {"window": 128}),
        Named("image-16x16", "neighbourhood", "gna", host | {"shape": (48, 32)}, {"window": (16, 16)}),
        Named("video-4x8x8", "neighbourhood", "gna", host | {"shape": (8, 16, 16)}, {"window": (4, 8, 8)}),
        Named("power-2k", "block-sparse", "power-attention", host | {"seq": 2048, "causal": True}, {"block": 128}),
    )
