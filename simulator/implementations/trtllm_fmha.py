"""TensorRT-LLM's context attention (fmha_v2): warp-specialised wgmma kernels on Hopper, mma.sync ones before.

Tiles: cpp/kernels/fmha_v2/setup.py, enumerate_hgmma_flash_warpspec_kernels, enumerate_qgmma_flash_warpspec_kernels (two
warpgroups of 64 queries) and enumerate_hmma_flash_kernels (64 queries, 32 keys). Heads are not packed, keys are not
split. On Hopper head dimensions are padded to whole rows of 128 bytes in shared memory, and three groups of them are
kernels of their own: this one is of 65 to 128, where head_dim 128 is a prebuilt binary (use_cubin_header).
"""

from __future__ import annotations

from ..algebra import ceil_to
from ..graph import Part
from ..hardware import Hardware
from ..problem import DTYPE_BITS
from ..tiling import FlashTile, Tile
from . import BANDS, Implementation, largest

ROW_BITS = 1024
SHORT_SEQUENCE = 64


class TrtllmFmha(Implementation):
    name = "trtllm-fmha"
    title = "TensorRT-LLM FMHA"
    source = "NVIDIA/TensorRT-LLM, cpp/kernels/fmha_v2"
    generations = frozenset({"ampere", "ada", "hopper", "blackwell-consumer"})
    directions = ("forward",)
    dtypes = ("fp16", "bf16", "fp8", "fp8_e4m3")
    head_dims = (8, 256)
    mask_kinds = BANDS
    offered = False
    on_hopper = 65, 128
    """Head dimensions of the kernel on Hopper."""
    keys = 128, 256
    """Keys of its tile: 16-bit operands, fp8."""

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        low, high = self.on_hopper
        if hardware.generation == "hopper" and not low <= largest(part.depth) <= high:
            return f"{self.name} takes head_dim {low} to {high} on Hopper, not {int(largest(part.depth))}"
        return None

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        bits = int(DTYPE_BITS[part.dtype])
        if hardware.generation != "hopper":
            return (Tile(*self.before_hopper(part, hardware, bits)),)
        d, width = (int(ceil_to(int(largest(n)), ROW_BITS // bits)) for n in (part.depth, part.width))
        return (FlashTile((128,), (self.keys[bits < 16],), head_dim=d, v_dim=width),)

    def before_hopper(self, part: Part, hardware: Hardware, bits: int) -> tuple[tuple[int], tuple[int]]:
        """Queries and keys of a tile of the mma.sync kernels (fmhaRunner.cpp, setupLaunchParams). With the shared
        memory of compute capability 8.0 key tiles are long (tiled_ kernels) but for short sequences."""
        d = largest(part.depth)
        if bits < 16:
            return ((128,), (128,)) if d <= 64 else ((64,), (32,))
        long = hardware.target == "sm_80" and largest(part.keys) > SHORT_SEQUENCE
        if long or d >= 256:
            return ((128,), (128,)) if d <= 64 else ((64,), (128,))
        return (64,), (64 if d <= 32 else 32 if d <= 128 else 16,)


IMPLEMENTATION = TrtllmFmha()
