"""TensorRT-LLM's generated FMHA kernels for datacenter Blackwell, context phase (cubins; FlashInfer ships them too).

Facts: include/flashinfer/trtllm/fmha/fmhaKernels.cuh of flashinfer-ai/flashinfer. Context kernels take a query tile of
one head (no packing) on a persistent grid and key tiles of 128. Two query tiles of 128 rows alternate where tensor
memory (512 columns of 128 lanes) holds scores (128 columns) and results (v_dim columns) of both. Beyond a v_dim of 256
two work items share a query tile, each with 256 columns of V (headDimPerCtaV) and all scores. Sliding windows skip
tiles; TensorRT-LLM, vLLM and SGLang run them for prefill.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import PartedTile, Tile
from . import BANDS, Implementation, largest, plain_dense

TENSOR_MEMORY_COLUMNS = 512
KEYS = 128
WIDEST = 256
"""Columns of V that one work item takes."""


class TrtllmGen(Implementation):
    name = "trtllm-gen"
    title = "TensorRT-LLM generated FMHA, context"
    source = "flashinfer-ai/flashinfer, include/flashinfer/trtllm/fmha/fmhaKernels.cuh"
    generations = frozenset({"blackwell"})
    directions = ("forward",)
    head_dims = (32, 512)
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    mask_kinds = BANDS

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        width = largest(part.width)
        rows = 256 if 2 * (KEYS + width) <= TENSOR_MEMORY_COLUMNS else 128
        if width > WIDEST:
            return (PartedTile((rows,), (KEYS,), value_parts=-int(-width // WIDEST)),)
        return (Tile((rows,), (KEYS,)),)

    def masked(self, part: Part, tile: Tile) -> str:
        """Without a mask of the problem's own the last keys cost nothing: lengths that fill whole tiles are no faster
        in the public tables of its encoder attention (calibration rows, B200)."""
        return "none" if plain_dense(part) else "partial"


IMPLEMENTATION = TrtllmGen()
