"""FlashAttention-4 (CuTe) on Hopper for few queries and head_dim 512, as vLLM captures it in CUDA graphs.

As in `fa3-split-kv-graph` the splits are a number; here that many blocks start for every item, whether they find keys
or not (flash_attn/cute/interface.py of vllm-project/flash-attention: no lengths are planned on the chip without
scheduler metadata), and each searches the packed batch for its sequence (tile_scheduler.py). Merging:
flash_fwd_combine.py, 8 rows by 128 columns. The key tile is that of two stages of 64 keys that shared memory holds.
"""

from __future__ import annotations

from ..algebra import Number, ceil_div, clip, where
from ..graph import Part
from ..hardware import Hardware
from ..splitting import MAX_SPLITS, SplitPlan, flash_splits
from ..tiling import Tile, TiledPart
from . import BANDS, SplitKV, windowed
from .fa3_split_kv_graph import GRAPH_SPLITS, LARGEST_GRAPH

ROWS, KEYS = 64, 64


class FlashAttention4SplitKVGraph(SplitKV):
    name = "fa4-split-kv-graph"
    title = "FlashAttention-4 on Hopper, split-KV, in vLLM's CUDA graphs"
    source = "vllm-project/flash-attention, flash_attn/cute"
    generations = frozenset({"hopper"})
    head_dims = (264, 512)
    mask_kinds = BANDS
    offered = False

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((ROWS,), (KEYS,)),)

    def plan(self, tiled: TiledPart, hardware: Hardware) -> SplitPlan:
        assert tiled.summary is not None
        part, tiles = tiled.part, tiled.summary.longest_row
        items: Number = tiled.summary.query_tiles * tiled.instances
        own = flash_splits(items, tiles, hardware.sm_count, MAX_SPLITS, uneven=True)
        splits = where(part.batch <= LARGEST_GRAPH, GRAPH_SPLITS, own)
        # Of packed sequences the merging kernel starts blocks for all rows once a sequence: most find none.
        rows = part.heads * part.tokens * part.batch
        blocks = ceil_div(rows, 8) * part.batch * ceil_div(part.width, 128)
        return SplitPlan(items, splits, ceil_div(tiles, splits), splitting=clip(splits - 1, 0, 1),
                         combine_blocks=blocks, windowed=windowed(part), searching=1)  # fmt: skip


IMPLEMENTATION = FlashAttention4SplitKVGraph()
