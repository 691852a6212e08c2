"""Other people's split-KV decode kernels: vLLM's, SGLang's, flex_decoding. As `triton-other`: only by name."""

from __future__ import annotations

from ..graph import Part
from ..tiling import Tile
from . import SplitKV
from .triton_other import TritonOther


class TritonOtherDecode(TritonOther, SplitKV):
    name = "triton-other-decode"
    title = "another Triton decode kernel"
    source = "pytorch/pytorch, torch/_inductor/kernel/flex/flex_decoding.py; vllm-project/vllm, triton_decode_attention"
    directions = ("forward",)
    packs_heads = True
    splits_keys = True
    calibration = "triton-decode"

    def usual_tile(self, part: Part) -> Tile:
        return Tile((16,), (64,), self.packed_heads(part))


IMPLEMENTATION = TritonOtherDecode()
