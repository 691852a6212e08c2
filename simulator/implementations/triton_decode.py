"""attnsim's own Triton decode kernel: split-KV, packed heads, contiguous or paged cache, absorbed MLA."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..config import Config, TritonKernel, launch_refusal, operand_refusal
from ..graph import Part
from ..hardware import Hardware
from ..masks import BandMask
from ..problem import DTYPE_BITS
from ..resources import padded
from ..splitting import MAX_SPLITS, fill
from ..tiling import Tile, tile_attention
from . import SplitKV, largest
from .triton_flash import GENERATIONS

STORED = ("fp16", "bf16", "fp8", "fp8_e4m3", "fp8_e5m2", "tf32", "fp32")
WIDE_ROWS = 64
"""Rows from which Hopper and data-centre Blackwell multiply with wgmma and tcgen05, whose operands lie in shared
memory; fewer rows take mma.sync, as all rows do on other chips."""

FULL = 96.0
"""Pressure (see `Block.pressure`) from which a tile is worth eight warps."""


def smallest_side(dtype: str) -> int:
    """The smallest depth of a dot: 16, or 32 of 8-bit operands."""
    return 32 if DTYPE_BITS[dtype] == 8 else 16


def split_depth(depth: int, shared_width: int | None = None, smallest: int = 16) -> tuple[int, int]:
    """(columns, further columns) that hold head_dim, both powers of two that a dot takes, the second may be 0.

    96 is held as 64 + 32 where 128 would be loaded and multiplied for nothing. shared_width: keys of which the first
    columns are the values split there (512 + 64 in DeepSeek's latents).

    >>> split_depth(128), split_depth(96), split_depth(576, 512)
    ((128, 0), (64, 32), (512, 64))
    """

    if shared_width is not None:
        rest = depth - shared_width
        return padded(shared_width, smallest), padded(rest, smallest) if rest > 0 else 0
    whole = padded(depth, smallest)
    first = max(smallest, 1 << (depth.bit_length() - 1))
    if depth > first and first + padded(depth - first, smallest) < whole:
        return first, padded(depth - first, smallest)
    return whole, 0


@dataclass(frozen=True, slots=True)
class Block:
    """What a block of threads holds: rows x keys of scores; keys of first + rest columns (see `split_depth`), values of
    `width` more (0: they are the keys' first columns); bytes of an element as stored and as multiplied.

    wide: the instruction (see WIDE_ROWS), "wgmma", "tcgen05" or None.
    """

    rows: int
    keys: int
    first: int
    rest: int
    width: int
    stored: int
    multiplied: int
    warps: int
    stages: int
    wide: str | None

    @property
    def depth(self) -> int:
        return self.first + self.rest

    @property
    def threads(self) -> int:
        return 32 * self.warps

    def shared_mma(self) -> int:
        """Queries, one buffer of K and V fewer than stages, and the probabilities on their way between two layouts.

        8-bit operands are multiplied as 16-bit ones. Latent keys of 8 bits are kept as they are multiplied, in one
        buffer, where probabilities have room afterwards.
        """
        queries = self.rows * self.depth * max(self.multiplied, 2)
        if not self.width and self.stored == 1:
            return queries + self.keys * (self.first * self.multiplied + (self.stages - 1) * self.rest)
        loaded = (self.stages - 1) * self.keys * (self.depth + self.width) * self.stored
        return queries + loaded + self.rows * self.keys * max(self.multiplied, 2)

    def shared_wgmma(self) -> int:
        """As `shared_mma` with as many buffers as stages; probabilities stay in registers of 4 warps, and more
        warps exchange those of 32 keys or more.

        Converted keys lie there once more, in a place that values take over. 8-bit values are transposed there, from
        registers. In the end the result passes in fp32.
        """
        q = self.rows * self.depth * self.multiplied
        p = self.rows * max(self.keys, 32) * self.multiplied if self.warps >= 8 else 0
        if self.stored < self.multiplied:
            converted = max(self.depth, self.width) * self.multiplied
            return q + p + self.keys * ((self.stages - 1) * (self.depth + self.width) * self.stored + converted)
        if self.multiplied == 1:
            loop = q + p + self.keys * (self.stages * self.depth + self.width)
            return max(loop, self.rows * (self.width or self.first) * 4)
        return q + p + self.stages * self.keys * (self.depth + self.width) * self.stored

    def shared_tcgen05(self) -> int:
        """Probabilities lie in tensor memory. Keys of two parts, multiplied one after the other, have one buffer fewer
        than values. Barriers take 32 bytes, more where 8 warps reduce a row together or there are two parts."""
        q = self.rows * self.depth * self.multiplied
        if self.stored < self.multiplied:
            converted = (self.depth + self.width) * self.multiplied
            sums = 1008 if self.warps >= 8 and self.keys >= 128 else 0
            return q + 32 + sums + self.keys * ((self.stages - 1) * (self.depth + self.width) * self.stored + converted)
        barriers = 32 + (512 if self.warps >= 8 else 0) + (8 if self.rest else 0)
        values, keys = (self.width, self.depth) if self.width else (self.first, self.rest)
        columns = self.stages * values + (self.stages - (1 if self.rest else 0)) * keys
        return q + barriers + self.keys * columns * self.stored

    def margin(self) -> int:
        """Shared memory by which the estimates may fall short: in triton 3.6 of a result that changes its layout and of
        converted keys, which are padded; of sums over 32-bit operands."""
        result = self.rows * self.first * 2 + 16 if self.wide == "tcgen05" and not self.width else 0
        return result + (2048 if self.stored < self.multiplied else 512 if self.stored == 4 else 0)

    def pressure(self) -> float:
        """Registers of a thread that hold the result, scores (twice), and addresses of keys in pages; with mma.sync,
        for which they are loaded to registers, keys themselves; what 8-bit keys are converted to."""
        if self.wide is None:
            loads = {1: 6.0, 2: 4.5, 4: 9.0}[self.stored] * (self.depth + self.width)
        else:
            loads = (2.0 if self.stored == 2 else 6.0) * max(self.depth, self.width)
        held = self.rows * ((self.width or self.first) + 2 * self.keys)
        return (held + self.keys * loads / 8) / self.threads


class TritonDecode(SplitKV, TritonKernel):
    """For a Tile it answers for the model: any mask has such tiles. Only a Config is launched, and there the mask must
    be a band and the cache of floats that Triton converts. No config of the default space spills, paged or not."""

    name = "triton-decode"
    title = "attnsim Triton split-KV decode kernel"
    source = "attnsim.kernels"
    generations = GENERATIONS
    dtypes = STORED
    head_dims = (16, 576)

    def tiles(self, part: Part, hardware: Hardware) -> tuple[Tile, ...]:
        rows = largest(part.tokens) * self.packed_heads(part)
        return (Tile((16 if rows <= 16 else 32 if rows <= 32 else 64,), (64 if largest(part.depth) > 128 else 128,)),)

    def candidates(self, part: Part, hardware: Hardware) -> tuple[Config, ...]:
        """Key tiles, warps, pipeline depths and splits around the tile of the model; latent keys, too wide for many
        rows on most chips, also with fewer rows."""
        (tile,) = self.tiles(part, hardware)
        packed = self.packed_heads(part)
        rows = [n for n in (64, 32, 16) if n == tile.query[0] or (part.shared_kv and n < tile.query[0])]
        keys = [n for n in (128, 64, 32) if n <= tile.key[0]]
        shapes = [
            Config((m,), (n,), packed, warps=warps, stages=stages)
            for m in rows for n in keys for stages in (3, 4, 2) for warps in (4, 8, 2)
            if self.worthwhile(part, hardware, Config((m,), (n,), packed, warps=warps))
        ]  # fmt: skip
        found = [replace(c, splits=self.splits(part, hardware, c)) for c in shapes]
        other = [
            replace(c, splits=n) for c in found for n in (c.splits // 2, c.splits * 2, 1)
            if 1 <= n <= MAX_SPLITS and n != c.splits
        ]  # fmt: skip
        return tuple(dict.fromkeys(found + other))

    def worthwhile(self, part: Part, hardware: Hardware, config: Config) -> bool:
        """Whether the warps of a block have work of their own, and eight of them more than four have room for.

        Warps beyond the instructions of a tile of scores repeat those of others: mma.sync makes 16x8 scores, and of
        fewer than 64 rows warps stand side by side along the keys; AMD's instructions make 16x16, or 32x32 of 32 rows.
        """
        rows, keys, warps = config.query[0], config.key[0], config.warps
        if hardware.vendor == "amd":
            side = 16 if rows == 16 else 32
            own = rows * keys >= side * side * warps
        else:
            own = warps >= 4 and (rows >= WIDE_ROWS or keys >= 8 * warps)
        fewer = self.block(part, hardware, replace(config, warps=config.warps // 2))
        return own and (warps <= 4 or fewer.pressure() > FULL)

    def with_tile(self, part: Part, hardware: Hardware, tile: Tile) -> Config:
        packed = tile.packed_heads if isinstance(tile, Config) else self.packed_heads(part)
        shapes = [
            Config(tile.query, tile.key, packed, warps=warps, stages=stages)
            for stages in (3, 2) for warps in (4, 8)
        ]  # fmt: skip
        legal = [c for c in shapes if self.refuses(part, hardware, c) is None]
        chosen = (legal or shapes)[0]
        return replace(chosen, splits=self.splits(part, hardware, chosen))

    def splits(self, part: Part, hardware: Hardware, tile: Tile) -> int:
        """Splits that fill the chip, as the model's schedule has them."""
        tiled = tile_attention(part, tile, hardware)
        assert tiled.summary is not None
        items = max(int(tiled.summary.query_tiles * tiled.instances), 1)
        return int(fill(items, int(tiled.summary.longest_row), hardware.sm_count, MAX_SPLITS))

    def refuses_more(self, part: Part, hardware: Hardware, tile: Tile | None) -> str | None:
        refusal = SplitKV.refuses_more(self, part, hardware, tile)
        if refusal is not None or not isinstance(tile, Config):
            return refusal
        return (
            launch_refusal(tile)
            or self._refuses_operands(part, hardware)
            or self._refuses_shape(part, tile)
            or self._refuses_resources(part, hardware, tile)
        )

    def _refuses_operands(self, part: Part, hardware: Hardware) -> str | None:
        if not isinstance(part.mask, BandMask):
            return f"{self.name} is launched for causal, sliding-window and sink masks only"
        if part.kv_dtype not in STORED:
            return f"{self.name} reads caches of {', '.join(STORED)}, not {part.kv_dtype}"
        return operand_refusal(self.name, part, hardware)

    def _refuses_shape(self, part: Part, config: Config) -> str | None:
        if len(config.query) != 1 or len(config.key) != 1:
            return f"{self.name} has tiles of flattened tokens"
        smallest = smallest_side(part.dtype)
        if config.query[0] < 16 or config.key[0] < smallest:
            return f"tile {config.query[0]}x{config.key[0]}: {self.name} needs at least 16x{smallest}"
        if part.heads // part.kv_heads % config.packed_heads:
            return f"{config.packed_heads} packed heads do not divide the {part.heads // part.kv_heads} of a kv head"
        for flag in ("persistent", "tma", "warp_specialize"):
            if getattr(config, flag):
                return f"{self.name} has no {flag} form"
        if not 1 <= config.splits <= MAX_SPLITS:
            return f"{config.splits} splits: allowed are 1 to {MAX_SPLITS}"
        return None

    def _refuses_resources(self, part: Part, hardware: Hardware, config: Config) -> str | None:
        block = self.block(part, hardware, config)
        if hardware.vendor == "amd":
            # Not modelled exactly: buffers are padded, queries stay in registers.
            need, limit = block.shared_mma() * 9 // 8 - block.rows * block.depth * block.multiplied, 320.0
        else:
            table = 8 * block.keys * (block.stages - 1)  # entries of the table, at most
            need = (self.shared_memory_bytes(part, hardware, config) or 0) + table + block.margin()
            limit = 192.0 if block.wide == "tcgen05" else 161.0
        given = hardware.smem_bytes_per_block
        if given is not None and need > given:
            return (f"{config} needs {need / 1024:.0f} KiB of shared memory; {hardware.name} has "
                    f"{given / 1024:.0f} KiB a block")  # fmt: skip
        if part.shared_kv and block.stored == 1 and block.rows > 16:
            return f"{config} needs more registers than a thread has: 8-bit latent keys leave room for 16 rows"
        if block.pressure() > limit:
            return f"{config} needs more registers than a thread has; take more warps or a smaller tile"
        return None

    def block(self, part: Part, hardware: Hardware, config: Config) -> Block:
        """The block of a config, as the kernel lays it out."""
        smallest = smallest_side(part.dtype)
        first, rest = split_depth(int(part.depth), int(part.width) if part.shared_kv else None, smallest)
        width = 0 if part.shared_kv else padded(int(part.width))
        wide = {"hopper": "wgmma", "blackwell": "tcgen05"}.get(hardware.generation)
        many = config.query[0] >= WIDE_ROWS and part.dtype != "fp32"
        stored, multiplied = (max(int(DTYPE_BITS[dtype]) // 8, 1) for dtype in (part.kv_dtype, part.dtype))
        return Block(config.query[0], config.key[0], first, rest, width, stored, multiplied, config.warps,
                     config.stages, wide if many else None)  # fmt: skip

    def shared_memory_bytes(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """Of a contiguous cache on NVIDIA chips; pages add (stages - 1) entries of the table for each key, twice for
        latents, or one a tile that lies in a page.

        Over the default spaces of ten problems (head_dim 64 to 256, latents, fp8 caches) triton 3.9 allocates exactly
        this for 92 of 92 configs on sm_90 and 96 of 96 on sm_100, triton 3.6 for 92 and 95. See `Block.margin`.
        """
        if hardware.vendor != "nvidia":
            return None
        block = self.block(part, hardware, config)
        return {None: block.shared_mma, "wgmma": block.shared_wgmma, "tcgen05": block.shared_tcgen05}[block.wide]()

    def registers(self, part: Part, hardware: Hardware, config: Config) -> int | None:
        """Of a thread: result, scores and addresses of a tile, conversions, and 62 for the rest; fitted to what triton
        3.6 and 3.9 allocate for contiguous caches: the median error over the same configs is 5 to 6 %."""
        if hardware.vendor != "nvidia":
            return None
        b = self.block(part, hardware, config)
        result, scores = b.rows * (b.width or b.first), b.rows * b.keys
        addresses = b.keys * (b.depth + b.width) / 8
        conversion = b.keys * b.depth / 8 if b.stored == 1 else 0
        return min(255, round(62 + (0.7 * result + 1.1 * scores + 3.5 * addresses + 5 * conversion) / b.threads))


IMPLEMENTATION = TritonDecode()
