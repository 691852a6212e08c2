"""attnsim's own chunked Triton kernels (kernels/linear.py, delta.py, log_linear.py): linear attention with or without a
decay, the gated delta rule, log-linear attention; chunks of 64 tokens as flash-linear-attention has them.

A chunk is the variant's own parameter; a config adds how many columns of v a program keeps the state for.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .. import resources
from ..config import ChunkConfig, Config, TritonKernel, is_power_of_two, launch_refusal, operand_refusal
from ..graph import Part
from ..hardware import Hardware
from ..pipeline import mechanism
from ..problem import DTYPE_BITS
from ..tiling import Tile
from . import largest
from .triton_flash import GENERATIONS

SPACE: dict[tuple[str, int], tuple[tuple[int, int], ...]] = {
    ("wgmma", 64): ((64, 4), (64, 8), (32, 4)),
    ("wgmma", 128): ((64, 8), (32, 8), (32, 4)),
    ("wgmma", 256): ((16, 8),),
    ("tcgen05", 64): ((64, 4), (64, 8), (32, 4)),
    ("tcgen05", 128): ((64, 8), (32, 8), (32, 4)),
    ("tcgen05", 256): ((32, 8), (16, 8)),
    ("mma", 64): ((32, 8), (32, 4)),
    ("mma", 128): ((16, 8),),
    ("mfma", 64): ((64, 4), (32, 4)),
    ("mfma", 128): ((32, 4), (16, 4)),
}
"""Value blocks and warps by matrix instruction and the wider of the padded head dimensions: those that compile without
spills for chunks of up to 64 tokens of 16-bit operands."""
LONG: dict[tuple[str, int], tuple[tuple[int, int], ...]] = {
    ("wgmma", 64): ((32, 8),), ("wgmma", 128): ((16, 8),), ("tcgen05", 64): ((32, 8),),
}  # fmt: skip
"""The same for chunks of 128 tokens, which the delta rule's kernels take none of."""
WIDE: dict[tuple[str, int], tuple[tuple[int, int], ...]] = {
    ("wgmma", 64): ((32, 8),), ("tcgen05", 64): ((32, 8),), ("mma", 64): ((16, 8),), ("mfma", 64): ((16, 4),),
}  # fmt: skip
"""The same for operands of 32 bits, as far as matrix instructions take them."""


def form(part: Part) -> str:
    """Which kernels run the part: "delta", "log", "linear", or "parallel" (no causality)."""
    ops = {op.name for op in part.ops}
    return "delta" if "kk" in ops else "log" if "level_read" in ops else "linear" if "intra" in ops else "parallel"


def decays(part: Part) -> bool:
    """Whether the state fades."""
    return any(op.name == "decay" for op in part.ops)


def shared_bytes(part: Part, hardware: Hardware, config: ChunkConfig) -> int | None:
    """Shared memory of the largest of a part's kernels: tiles of q, k (and W) and of v, each for every stage, and the
    state as an operand. No estimate is made for AMD and for operands of 32 bits.

    Equal to the compiler's for 428 of 430 configs of the default space, 308 of 310 of sm_90 and sm_100, the rest of
    sm_80, 89, 103 and 120 (16-bit operands, chunks of 16 to 128, head_dim 64 to 256, triton 3.6 and 3.9); in the other
    two the delta rule with chunks of 16 takes 512 bytes less. Lightning with a decay for each token, which the variant
    does not have, takes 4 bytes a token and further stage more.
    `mma` and the value blocks of `wgmma` hold one stage less (loads land in registers first).
    """
    kind = resources.instruction(hardware.generation, part.chunk)
    element = int(DTYPE_BITS[part.dtype]) // 8
    if kind is None or element > 2:
        return None
    depth, chunk, n = resources.padded(int(largest(part.depth))), part.chunk, config.stages
    if part.backward:  # the passes for dq and dk contract over v
        depth = max(depth, resources.padded(int(largest(part.width))))
    block = min(config.value_block, depth if part.backward else resources.padded(int(largest(part.width))))
    key, value, state = chunk * depth * element, chunk * block * element, depth * block * element
    names = {op.name: op for op in part.ops}
    gates = 4 * chunk if "decay" in names and "gates" in names["decay"].inputs else 0
    if form(part) == "log":
        if kind == "mma":
            return key + 4 * depth * block
        barrier = 8 if kind == "tcgen05" else 0
        return max(2 * key + value + gates, key + value + barrier, 4 * depth * block if kind == "wgmma" else 0)
    keys = 3 * key if form(part) == "delta" else 2 * key
    if not decays(part):  # with feature maps, q and k are written back
        if kind == "mma":
            return n * keys + (n - 1) * value + state
        if kind == "wgmma":
            return n * (keys + value) + key
        aligned = 16 + 16 * block if depth >= 256 else 16 if chunk > 64 else 32
        return (n - 1) * (keys + value) + key + max(state, value) + value + aligned
    if kind == "mma":  # q is read straight into registers for chunks of 64
        return (n - 1) * (keys - (key if chunk >= 64 else 0) + value + gates) + state
    if kind == "wgmma":
        scores = chunk * chunk * element // 2 + value if config.warps == 8 and chunk == 64 else 0
        return n * keys + (n - 1) * (value + gates) + max(state, value, scores)
    if form(part) == "delta":
        aligned = 48 if depth >= 128 else 32 + 16 * block if block == 8 * config.warps else 40
        return (n - 1) * (keys + value + gates) + 2 * (key + state + value) + aligned
    aligned = 32 if chunk > 64 else 32 + 16 * block if depth >= 128 else 48
    return n * (keys + value) + (n - 1) * gates + max(state, value) + aligned


REGISTERS: dict[tuple[str, str], tuple[float, float, float, float]] = {
    ("wgmma", "decay"): (175.7, 1.06, 0.6, -0.08), ("wgmma", "none"): (112.0, 1.86, 0.04, 0.71),
    ("wgmma", "delta"): (252.1, 2.78, -2.63, -0.39), ("wgmma", "log"): (64.0, 1.19, 1.61, -0.4),
    ("tcgen05", "decay"): (77.7, 0.92, 1.47, 0.47), ("tcgen05", "none"): (55.5, 0.5, 0.69, 1.67),
    ("tcgen05", "delta"): (108.8, -0.39, 3.73, 0.49), ("tcgen05", "log"): (29.1, 2.22, 1.9, -0.67),
}  # fmt: skip
"""Registers of the hungriest kernel of a form: base, and for each element of the state, of the scores and of the keys
that a thread holds. Fitted, not derived: the compiler spends what is left."""


class TritonLinear(TritonKernel):
    name = "triton-linear"
    title = "attnsim Triton chunked linear attention"
    source = "attnsim.kernels.linear, delta, log_linear; chunk sizes of fla-org/flash-linear-attention"
    generations = GENERATIONS
    part_styles = ("chunked",)
    config_type: ClassVar[type[Any]] = ChunkConfig
    dtypes = ("fp16", "bf16", "tf32", "fp32", "fp8", "fp8_e4m3", "fp8_e5m2")
    head_dims = (8, 512)

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        if mechanism(part) in ("kimi delta", "ssd"):
            return f"{self.name} has no decays of channels, and of tokens only those of its own variants"
        if not isinstance(tile, Config):  # what is predicted of kernels of this kind, not of ours alone
            return None
        refusal = self.refuses_sides(part, tile) or operand_refusal(self.name, part, hardware)
        return refusal or self.shared_refusal(part, hardware, tile)

    def refuses_sides(self, part: Part, config: Config) -> str | None:
        """What is wrong with a config on any chip."""
        if not isinstance(config, ChunkConfig):
            return f"{self.name} takes a ChunkConfig, which states the value block"
        if (refusal := launch_refusal(config)) is not None:
            return refusal
        if not config.query == config.key == (part.chunk,):
            return f"both sides of the tile are the chunk of {part.chunk} tokens, a parameter of the variant"
        if not 16 <= part.chunk <= 128:
            return f"{self.name} takes chunks of 16 to 128 tokens, not {part.chunk}"
        if not 16 <= config.value_block <= 128 or not is_power_of_two(config.value_block):
            return f"value block {config.value_block}: allowed are 16, 32, 64, 128"
        for name, width in (("head_dim", largest(part.depth)), ("v_dim", largest(part.width))):
            if width > 256:
                return f"{self.name} takes {name} up to 256, not {int(width)}"
        if DTYPE_BITS[part.dtype] < 16 or part.kv_dtype != part.dtype:
            return f"{self.name} takes q, k and v of one type of 16 or 32 bits, not {part.dtype} and {part.kv_dtype}"
        if config.packed_heads > 1 or config.splits > 1 or config.persistent or config.tma or config.warp_specialize:
            return f"{self.name} has no packed heads, splits, persistent blocks, tma or warp_specialize"
        if part.backward and form(part) != "linear":
            return f"{self.name} runs this variant forward only"
        return None

    def candidates(self, part: Part, hardware: Hardware) -> tuple[Config, ...]:
        kind = resources.instruction(hardware.generation, part.chunk) or "mfma"
        depth = max(64, resources.padded(int(largest(part.depth))), resources.padded(int(largest(part.width))))
        wide = DTYPE_BITS[part.dtype] > 16
        found = (WIDE if wide else SPACE if part.chunk <= 64 else LONG).get((kind, depth), ())
        if part.dtype == "fp32" and kind != "mfma":
            # Exact fp32 products are vector instructions with all their operands in registers.
            found = ((16, 4),) if part.chunk == 16 and depth == 64 and form(part) != "delta" else ()
        sort = form(part)
        if sort == "delta":  # one accumulator more than the others
            found = tuple(c for c in found if part.chunk <= 64 and (kind, depth, c[0]) != ("wgmma", 128, 64))
        if kind == "wgmma" and depth == 256 and sort in ("linear", "parallel") and not decays(part):
            found = ()  # the feature maps are too much for its registers
        if kind == "tcgen05" and part.chunk > 64 and part.backward:
            found = ()
        few = kind == "mfma" or wide or (kind == "mma" and depth == 128)
        sides, stages = (part.chunk,), (2,) if few else (2, 3)
        return tuple(
            ChunkConfig(sides, sides, warps=warps, stages=n, value_block=block)
            for block, warps in found
            for n in stages
        )

    def shared_memory_bytes(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        if not isinstance(config, ChunkConfig) or form(part) == "parallel":
            return None
        return shared_bytes(part, hardware, config)

    def registers(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """Within 7 % in the median, 27 % at most, of what the compiler gave 236 configs of the default space of sm_90
        and sm_100 (16-bit operands, chunks of 64 and 128, head_dim 64 to 256, triton 3.6 and 3.9)."""
        sort = form(part)
        sort = sort if sort != "linear" else "decay" if decays(part) else "none"
        found = REGISTERS.get((resources.instruction(hardware.generation, part.chunk) or "", sort))
        if found is None or not isinstance(config, ChunkConfig) or DTYPE_BITS[part.dtype] > 16:
            return None
        base, state, score, key = found
        depth, threads = resources.padded(int(largest(part.depth))), 32 * config.warps
        used = depth * config.value_block * state + part.chunk * part.chunk * score + part.chunk * depth * key
        return min(round(base + used / threads), 255)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        return (Tile((part.chunk,), (part.chunk,)),)


IMPLEMENTATION = TritonLinear()
