"""TensorRT-LLM's masked multi-head attention (MMHA): a decode kernel of one query head a block, on CUDA cores.

Facts: decoderMaskedMultiheadAttentionLaunch.h and Template.h, common/attentionOp.cpp of NVIDIA/TensorRT-LLM. It runs
what `trtllm-xqa` and the generated kernels refuse. Blocks take 256 threads, or up to 1024 where fewer heads than four
a unit are left; heads that do not fill the units once are split, so that every split fills one turn of its block
(8 keys for each of threads / (head_dim / 8) groups) at least. A block keeps scores in shared memory, 6 bytes a key.
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, clip, floor_div, maximum, minimum, where
from ..graph import Part
from ..hardware import Hardware
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart
from . import BANDS, SplitKV, windowed

KEYS = 64
THREADS, MOST_THREADS = 256, 1024
"""Of a block; registers leave room for as many as the largest block on a unit."""
SCORE_BYTES = 6
"""In fp32 and once more in 16 bits."""
RESERVED = 2048
"""Bytes of shared memory that the library leaves out of account."""


class TrtllmMmha(SplitKV):
    name = "trtllm-mmha"
    title = "TensorRT-LLM masked multi-head attention, decode"
    source = "NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/kernels/decoderMaskedMultiheadAttention"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell", "blackwell-consumer"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    head_dims = (32, 256)
    mask_kinds = BANDS
    packs_heads = False
    offered = False

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((1,), (KEYS,)),)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        part, units = tiled.part, hardware.sm_count
        left = getattr(part.mask, "left", None)
        keys: Number = part.keys if left is None else minimum(part.keys, left + 1)
        heads = part.batch * part.heads
        wanted = clip(ceil_div(units * (MOST_THREADS // THREADS), heads), 1, MOST_THREADS // THREADS)
        threads = where(wanted >= 4, 4, where(wanted >= 2, 2, 1)) * THREADS
        shared = (hardware.smem_bytes_per_block or 96 * 1024) - RESERVED
        least = ceil_div(keys * SCORE_BYTES, shared)
        turn = threads / (part.depth / 8) * 8
        # Splits are cut from all keys, with or without a window, and from the new one beside the cached.
        splits = maximum(minimum(ceil_div(units, heads), floor_div(part.keys, turn) + 1), least)
        each = minimum(ceil_div(part.keys, splits), keys)
        room = maximum(floor_div(shared, SCORE_BYTES * each + RESERVED), 1)
        resident = minimum(MOST_THREADS // THREADS * THREADS / threads, room)
        # All threads of a block take tiles of a step at once; the first step lasts as long as it has keys.
        step = KEYS * threads / THREADS
        steps = ceil_div(each, step) - 1 + minimum(each / step, 1)
        return SplitPlan(heads, splits, steps, resident,
                         splitting=where(splits > 1, 1, 0), combine_blocks=heads, windowed=windowed(part))  # fmt: skip


IMPLEMENTATION = TrtllmMmha()
