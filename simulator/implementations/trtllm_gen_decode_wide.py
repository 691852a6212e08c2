"""TensorRT-LLM's generated decode kernels for many query heads a kv head, whose rows are enough for one side of a matrix
instruction (KeepsMmaAbForGeneration in fmhaKernels.cuh, where those of fewer swap the sides). See `trtllm-gen-decode`."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import SplitKV
from .trtllm_gen_decode import MOST_HEADS, TrtllmGenDecode, group


class TrtllmGenDecodeWide(TrtllmGenDecode):
    name = "trtllm-gen-decode-wide"
    title = "TensorRT-LLM generated FMHA, decode, many heads a kv head"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if group(part) <= MOST_HEADS:
            return f"{self.name} takes more than {MOST_HEADS} query heads a kv head, not {group(part)}"
        return SplitKV.refuses_more(self, part, hardware, tile)


IMPLEMENTATION = TrtllmGenDecodeWide()
