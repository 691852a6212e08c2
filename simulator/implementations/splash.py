"""JAX's splash attention for TPUs (jax/experimental/pallas/ops/tpu/splash_attention): blocks of 512 queries by 512 or
1024 keys stream through VMEM; the mask is evaluated in partial blocks only."""

from __future__ import annotations

from ..graph import Part
from ..hardware import Hardware
from ..tiling import Tile
from . import BAND_AND_CHUNKS, Implementation


class Splash(Implementation):
    name = "splash"
    title = "JAX splash attention"
    source = "jax-ml/jax, jax/experimental/pallas/ops/tpu/splash_attention"
    generations = frozenset({"tpu"})
    dtypes = ("bf16", "fp32", "fp8", "fp8_e4m3", "fp8_e5m2", "int8")
    head_dims = (64, 256)
    mask_kinds = BAND_AND_CHUNKS | {"BlockMask"}

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((512,), (512,)), Tile((512,), (1024,)))


IMPLEMENTATION = Splash()
