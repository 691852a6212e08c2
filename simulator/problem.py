"""Problem: what is asked. One attention call: sizes, layout, operand types, direction, cache.

Letters used throughout: B batch, H query heads, G kv heads, N queries, M keys, d head_dim, dv v_dim.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .algebra import Number, is_symbol
from .errors import InputError, unknown

DTYPE_BITS: dict[str, float] = {
    "fp32": 32, "tf32": 32, "bf16": 16, "fp16": 16, "fp8": 8, "fp8_e4m3": 8, "fp8_e5m2": 8, "int8": 8,
    "mxfp8": 8.25, "fp6": 6, "fp4": 4, "mxfp4": 4.25, "nvfp4": 4.5,
}  # fmt: skip
"""Stored bits an element; block-scaled formats include their scale (mxfp: 8 bits per 32 elements, nvfp4:
8 bits per 16 elements; OCP Microscaling specification 1.0 and NVIDIA's nvfp4 layout)."""

SIZE_LIMIT = 2**40
"""Largest size of one axis or count: products of a few such sizes stay exact in float64 or int."""


def nbytes(elements: Number, dtype: str) -> Number:
    """Bytes that `elements` values of `dtype` occupy; an int where it is one."""
    bits = DTYPE_BITS[dtype]
    if bits % 8 == 0:
        return elements * (int(bits) // 8)
    return elements * bits / 8


def output_dtype(dtype: str) -> str:
    """The type kernels write their result in: narrow inputs (8 bits and below) give bf16."""
    return dtype if DTYPE_BITS[dtype] >= 16 else "bf16"


def check_size(name: str, value: Any, *, minimum: int = 1) -> Any:
    """A whole number between `minimum` and 2**40, or an array of them, or a symbol; else InputError."""
    if is_symbol(value):
        return value
    if isinstance(value, np.ndarray):
        array = np.asarray(value, dtype=np.float64)
        bad = ~((array >= minimum) & (array <= SIZE_LIMIT) & (array == np.floor(array)))
        if bad.any():
            raise InputError(f"{name} has the value {array[bad][0]:g}; allowed: whole numbers {minimum} .. 2**40")
        return array
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputError(f"{name} is {value!r}; allowed: a whole number {minimum} .. 2**40")
    if not math.isfinite(value) or value != int(value):
        raise InputError(f"{name} is {value}; allowed: a whole number {minimum} .. 2**40")
    if not minimum <= value <= SIZE_LIMIT:
        raise InputError(f"{name} is {int(value)}; allowed: {minimum} .. 2**40")
    return int(value)


def check_name(kind: str, value: Any, known: Any) -> str:
    """`value` if it is one of `known`, else InputError with the nearest of them."""
    if value not in known:
        raise unknown(kind, str(value), known)
    return str(value)


@dataclass(frozen=True, slots=True)
class Problem:
    """One attention call.

    Sizes are ints; `sweep` puts float64 arrays in their place and `explain` symbols. Build it with
    :meth:`make`, which checks and fills the defaults.

    batch, heads (query heads), kv_heads, shape (query tokens along 1 to 3 axes), kv_len (keys),
    head_dim, v_dim: counts. dtype: operands; kv_dtype: K and V as stored. direction: forward | backward.
    causal: query i stands at key position M - N + i and sees keys at or before it. page_size: tokens a page
    of a paged KV cache, or None. documents: lengths of a ragged batch, each attending to itself only.
    cache: cold (compulsory bytes come from HBM) or warm (what fits the L2 may come from there).
    """

    batch: Number = 1
    heads: Number = 32
    kv_heads: Number = 32
    shape: tuple[Number, ...] = (8192,)
    kv_len: Number = 8192
    head_dim: Number = 128
    v_dim: Number = 128
    dtype: str = "bf16"
    kv_dtype: str = "bf16"
    direction: str = "forward"
    causal: bool = False
    page_size: int | None = None
    documents: tuple[int, ...] | None = None
    cache: str = "cold"

    @classmethod
    def make(
        cls,
        *,
        batch: Any = 1,
        heads: Any = 32,
        kv_heads: Any = None,
        seq: Any = None,
        shape: Any = None,
        kv_len: Any = None,
        head_dim: Any = 128,
        v_dim: Any = None,
        dtype: str = "bf16",
        kv_dtype: str | None = None,
        direction: str = "forward",
        causal: bool = False,
        page_size: Any = None,
        documents: Any = None,
        cache: str = "cold",
    ) -> Problem:
        """Check the sizes and fill the defaults. Raises InputError (one line) for anything else.

        >>> Problem.make(seq=1024, heads=8, kv_heads=2).queries
        1024
        """
        if documents is not None:
            if seq is not None or shape is not None or kv_len is not None:
                raise InputError("documents gives the lengths itself; drop seq, shape and kv_len")
            documents = tuple(check_size("documents", n) for n in np.atleast_1d(documents).tolist())
            seq = check_size("the sum of documents", sum(documents))
        if seq is not None and shape is not None:
            raise InputError("give seq or shape, not both")
        if shape is None:
            shape = (8192 if seq is None else seq,)
        shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        if not 1 <= len(shape) <= 3:
            raise InputError(f"shape has {len(shape)} axes; allowed: 1 to 3")
        shape = tuple(check_size("seq" if len(shape) == 1 else "shape", n) for n in shape)
        heads = check_size("heads", heads)
        kv_heads = heads if kv_heads is None else check_size("kv_heads", kv_heads)
        if not is_symbol(heads) and not is_symbol(kv_heads) and np.any(np.asarray(heads % kv_heads) != 0):
            raise InputError(f"kv_heads {kv_heads} does not divide heads {heads}")
        queries = math.prod(shape)
        if not is_symbol(queries):
            check_size("the number of tokens", queries)
        if kv_len is not None and len(shape) > 1:
            raise InputError("kv_len is for one-dimensional problems; with shape the keys are the same tokens")
        head_dim = check_size("head_dim", head_dim)
        check_name("dtype", dtype, DTYPE_BITS)
        return cls(
            batch=check_size("batch", batch),
            heads=heads,
            kv_heads=kv_heads,
            shape=shape,
            kv_len=queries if kv_len is None else check_size("kv_len", kv_len),
            head_dim=head_dim,
            v_dim=head_dim if v_dim is None else check_size("v_dim", v_dim),
            dtype=dtype,
            kv_dtype=dtype if kv_dtype is None else check_name("kv_dtype", kv_dtype, DTYPE_BITS),
            direction=check_name("direction", direction, ("forward", "backward")),
            causal=bool(causal),
            page_size=None if page_size is None else check_size("page_size", page_size),
            documents=documents,
            cache=check_name("cache", cache, ("cold", "warm")),
        )

    @property
    def queries(self) -> Number:
        """N, the number of query tokens of one batch element."""
        return math.prod(self.shape)

    @property
    def group(self) -> Number:
        """Query heads that share one kv head."""
        if type(self.heads) is int and type(self.kv_heads) is int:
            return self.heads // self.kv_heads
        return self.heads / self.kv_heads

    @property
    def matrix_dtype(self) -> str:
        """Type the matrix unit works in: the wider of operand and cache type (the narrower one is converted)."""
        return self.dtype if DTYPE_BITS[self.dtype] >= DTYPE_BITS[self.kv_dtype] else self.kv_dtype

    def with_(self, **changes: Any) -> Problem:
        """A copy with some fields changed (checked by the caller)."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Fields by name, `shape` and `seq` both present."""
        return {
            "batch": self.batch, "heads": self.heads, "kv_heads": self.kv_heads, "seq": self.queries,
            "shape": list(self.shape), "kv_len": self.kv_len, "head_dim": self.head_dim, "v_dim": self.v_dim,
            "dtype": self.dtype, "kv_dtype": self.kv_dtype, "direction": self.direction, "causal": self.causal,
            "page_size": self.page_size, "documents": None if self.documents is None else list(self.documents),
            "cache": self.cache,
        }  # fmt: skip
