"""The context kernels of `trtllm-gen` as vLLM calls them through FlashInfer: single queries go to the decode kernels
(vllm/v1/attention/backends/flashinfer.py of vllm-project/vllm, split_decodes_and_prefills), and its own overhead."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import largest
from .trtllm_gen import TrtllmGen


class TrtllmGenVllm(TrtllmGen):
    name = "trtllm-gen-vllm"
    title = "TensorRT-LLM generated FMHA, context, called by vLLM"
    offered = False
    calibration = "trtllm-gen"

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if largest(part.tokens) < 2:
            return f"{self.name} is for two queries or more; single ones go to trtllm-gen-decode"
        return None


IMPLEMENTATION = TrtllmGenVllm()
