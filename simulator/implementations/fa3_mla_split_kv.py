"""FlashAttention-3 over latents for few queries: as `fa3-mla`, with the keys split over the chip.

SGLang keeps no 16-bit copy of an fp8 cache: it widens the whole cache before every call (flashattention_backend.py).
"""

from __future__ import annotations

from . import BANDS, LatentSplitKV


class FlashAttention3LatentSplitKV(LatentSplitKV):
    name = "fa3-mla-split-kv"
    title = "FlashAttention-3, absorbed latents, split-KV"
    source = "Dao-AILab/flash-attention, hopper"
    generations = frozenset({"hopper"})
    mask_kinds = BANDS
    runs_as = "mla-fa3"


IMPLEMENTATION = FlashAttention3LatentSplitKV()
