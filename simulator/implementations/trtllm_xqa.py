"""TensorRT-LLM's XQA decode kernels ("multi-query attention, optimised"), before Blackwell's generated ones.

Facts: cpp/tensorrt_llm/kernels/decoderMaskedMultiheadAttention of NVIDIA/TensorRT-LLM (decoderXQAImplJIT/
kernelUtils.cpp, decoderXQAImplJIT.cpp, decoderXQAImplCommon.h, decoderXQAConstants.h) and the kernels, csrc/xqa of
flashinfer-ai/flashinfer (mha.cu; mha_sm90.cu for an fp8 cache on Hopper). 2 to 32 query heads a kv head, head_dim a
multiple of 16 up to 256. It is taken where sequences, kv heads and pieces of 128 keys together are worth a quarter of
the units (mayHavePerfGain) and no window cuts keys off; Hopper's kernel always (in 1.3.0rc20, by the tables: 6 us where
the alternative takes 9). What it refuses runs as `trtllm-mmha`.
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, ceil_to, clip, floor_div, maximum, minimum, where
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..splitting import SplitPlan
from ..tiling import Tile, TiledPart, key_bytes
from . import BANDS, SplitKV, largest, smallest, windowed

PIECE = 128
"""Keys of the least split worth having (kMinHistoryTokensPerBlock)."""
WORTH = 4
"""Times the blocks that fill the units at least (kEnableMinBlockFactor)."""
WAVES = 8
"""Waves of blocks that splits make at most (kTargetWaveFactor)."""
WORKSPACE = 6000
"""Splits of all sequences together at most (kXQA_MAX_NUM_SUB_SEQ)."""
KEYS = 64
"""Keys of a tile: of each of four warps, or of a block of Hopper's kernel (gemm0CtaTileNbTokens)."""


class TrtllmXqa(SplitKV):
    name = "trtllm-xqa"
    title = "TensorRT-LLM XQA decode"
    source = "NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/kernels/decoderMaskedMultiheadAttention"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell-consumer"})
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    head_dims = (16, 256)
    mask_kinds = BANDS
    offered = False

    def chosen_by(self, batch: Number, kv_heads: Number, keys: Number, hardware: Hardware) -> Number:
        """1 where there are enough blocks for it to be worth its while."""
        blocks = batch * kv_heads * maximum(floor_div(keys, PIECE), 1)
        return where(blocks * WORTH >= hardware.sm_count, 1, 0)

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        group = largest(part.heads / part.kv_heads)
        if not 1 < group <= 32:
            return f"{self.name} takes 2 to 32 query heads a kv head, not {int(group)}"
        if gmma(part, hardware):
            return super().refuses_more(part, hardware, tile)
        if largest(windowed(part)):
            return f"{self.name} takes no window that cuts keys off, but for 8-bit ones on Hopper"
        if smallest(self.chosen_by(part.batch, part.kv_heads, part.keys, hardware)) < 1:
            return f"{self.name} is not taken where so few blocks leave units idle"
        return super().refuses_more(part, hardware, tile)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        group = int(largest(part.heads / part.kv_heads))
        return (Tile((int(ceil_to(group, 8 if gmma(part, hardware) else 16)),), (KEYS,)),)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        assert tiled.summary is not None
        part, units = tiled.part, hardware.sm_count
        items = part.batch * part.kv_heads
        pieces = floor_div(part.keys, PIECE)
        splits = maximum(minimum(pieces, floor_div((8 * pieces) ** 0.5 + 0.5, 1)), 1)
        fewer = items * splits / units / WAVES
        splits = maximum(floor_div(splits, maximum(fewer, 1)), 1)
        splits = clip(splits, 1, maximum(floor_div(WORKSPACE, part.batch), 1))
        tiles = tiled.summary.longest_row
        fused = gmma(part, hardware)
        # Descriptors load whole tiles.
        padding = items * maximum(tiles * KEYS - part.keys, 0) * key_bytes(part) if fused else 0
        # Registers and shared memory leave room for three blocks, or two (mha_sm90.cu, __launch_bounds__).
        resident = where(part.depth * tiled.rows <= 2048, 3, 2) if fused else 1
        # At head_dim 64, that of models with attention sinks, the tables show 2 us more whatever the sizes.
        prepared = where(part.depth == 64, 1, 0) if fused else 0
        return SplitPlan(items, splits, ceil_div(tiles, splits), resident, splitting=where(splits > 1, 1, 0),
                         combine_blocks=items * splits, windowed=windowed(part), padding=padding,
                         prepared=prepared)  # fmt: skip


def gmma(part: Part, hardware: Hardware) -> bool:
    """Whether Hopper's kernel for fp8 caches runs, which also rotates queries and keys itself."""
    return hardware.generation == "hopper" and DTYPE_BITS[part.kv_dtype] < 16


IMPLEMENTATION = TrtllmXqa()
