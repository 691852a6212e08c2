"""DeepGEMM's fp8_mqa_logits (deepseek-ai/DeepGEMM, deep_gemm/include/deep_gemm/impls/sm90_fp8_mqa_logits.cuh and
sm100): scores of the indexer of DeepSeek sparse attention.

128 rows (as many tokens as their heads fill) by 256 keys; a score is the weighted sum over heads of what is positive.
"""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import Implementation


class DeepGemmMqaLogits(Implementation):
    name = "deepgemm-mqa-logits"
    title = "DeepGEMM, scores of an indexer"
    source = "deepseek-ai/DeepGEMM, deep_gemm/impls"
    generations = frozenset({"hopper", "blackwell"})
    part_styles = ("index",)
    directions = ("forward",)
    dtypes = ("fp8", "fp8_e4m3")
    packs_heads = True

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((128,), (256,)),)


IMPLEMENTATION = DeepGemmMqaLogits()
