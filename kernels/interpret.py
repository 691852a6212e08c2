"""Triton's interpreter, corrected where it is wrong and made to count.

The interpreter multiplies the raw bits of bfloat16 operands, and truncates where hardware rounds to nearest (triton 3.6
to 3.9): inside `counting()` a dot converts them first, and torch rounds. It runs only where TRITON_INTERPRET=1 was set
before the kernels were imported.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


def interpreting() -> bool:
    """Whether kernels imported now run in the interpreter."""
    import triton

    return bool(triton.knobs.runtime.interpret)


BITS: dict[str, tuple[torch.dtype, Any]] = {
    "fp64": (torch.float64, np.float64), "fp32": (torch.float32, np.float32), "fp16": (torch.float16, np.float16),
    "bf16": (torch.bfloat16, np.uint16), "fp8e4nv": (torch.float8_e4m3fn, np.uint8),
    "fp8e5": (torch.float8_e5m2, np.uint8),
}  # fmt: skip
"""Float types by the interpreter's name: torch's type, and what the interpreter holds them in."""


def _converted(data: Any, source: str, wanted: str) -> Any:
    """An array of one float type as another, rounded to nearest even."""
    (kind, _), (target, stored) = BITS[source], BITS[wanted]
    values = torch.from_numpy(np.ascontiguousarray(data)).view(kind).to(target)
    same = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[target.itemsize]
    return values.view(same).numpy().view(stored).reshape(np.shape(data))


@dataclass(slots=True)
class Counted:
    """What interpreted kernels did.

    load_bytes, store_bytes, atomic_bytes: bytes of elements whose mask was set, by element type name. dot_flops: 2 m n
    k of every dot, by operand type. exp: exponentials evaluated, dots: (m, n, k) of every dot and how often.
    """

    load_bytes: Counter[str] = field(default_factory=Counter)
    store_bytes: Counter[str] = field(default_factory=Counter)
    atomic_bytes: Counter[str] = field(default_factory=Counter)
    dot_flops: Counter[str] = field(default_factory=Counter)
    dots: Counter[tuple[int, ...]] = field(default_factory=Counter)
    exp: int = 0

    def bytes(self, *types: str) -> int:
        """Loaded, stored and atomically added bytes of the given element types (all if none is given)."""
        every = self.load_bytes + self.store_bytes + self.atomic_bytes
        return sum(n for name, n in every.items() if not types or name in types)


def _moved(pointers: Any, mask: Any) -> tuple[str, int]:
    """(element type, bytes) of the elements whose mask is set."""
    kind = pointers.get_element_ty()
    return str(kind), int(np.count_nonzero(np.broadcast_to(mask.data, np.shape(pointers.data)))) * (
        max(kind.primitive_bitwidth // 8, 1)
    )


@contextlib.contextmanager
def counting() -> Iterator[Counted]:
    """Count the loads, stores, dots and exponentials of every kernel interpreted inside; bfloat16 dots are right."""
    import triton.language as tl
    from triton.runtime import interpreter

    builder: Any = interpreter.InterpreterBuilder
    counted = Counted()
    names = (
        "create_masked_load", "create_masked_store", "create_atomic_rmw", "create_dot", "create_exp2", "create_exp",
        "cast_impl", "create_fp_to_fp",
    )  # fmt: skip
    kept = {name: getattr(builder, name) for name in names}

    def load(self: Any, ptrs: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        kind, size = _moved(ptrs, mask)
        counted.load_bytes[kind] += size
        return kept["create_masked_load"](self, ptrs, mask, *rest, **named)

    def store(self: Any, ptrs: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        kind, size = _moved(ptrs, mask)
        counted.store_bytes[kind] += size
        return kept["create_masked_store"](self, ptrs, value, mask, *rest, **named)

    def atomic(self: Any, op: Any, ptr: Any, val: Any, mask: Any, *rest: Any, **named: Any) -> Any:
        kind, size = _moved(ptr, mask)
        counted.atomic_bytes[kind] += size
        return kept["create_atomic_rmw"](self, op, ptr, val, mask, *rest, **named)

    def dot(self: Any, a: Any, b: Any, d: Any, *rest: Any, **named: Any) -> Any:
        shape = (*np.shape(a.data), np.shape(b.data)[-1])
        counted.dot_flops[str(a.dtype)] += 2 * math.prod(shape)
        counted.dots[shape[-3], shape[-1], shape[-2]] += math.prod(shape[:-3])
        operands = []
        for operand in (a, b):
            if operand.dtype == tl.bfloat16:
                operand = interpreter.TensorHandle(_converted(operand.data, "bf16", "fp32"), tl.float32)
            operands.append(operand)
        return kept["create_dot"](self, *operands, d, *rest, **named)

    def exponential(name: str) -> Any:
        def run(self: Any, arg: Any, *rest: Any, **named: Any) -> Any:
            counted.exp += int(np.size(arg.data))
            return kept[name](self, arg, *rest, **named)

        return run

    def cast(self: Any, src: Any, dst_type: Any, *rest: Any) -> Any:
        wanted = dst_type.scalar
        if str(src.dtype.scalar) in BITS and str(wanted) in BITS:
            data = _converted(src.data, str(src.dtype.scalar), str(wanted))
            return interpreter.TensorHandle(data, wanted)
        return kept["create_fp_to_fp" if rest else "cast_impl"](self, src, dst_type, *rest)

    replaced = (load, store, atomic, dot, exponential("create_exp2"), exponential("create_exp"), cast, cast)
    for name, function in zip(names, replaced, strict=True):
        setattr(builder, name, function)
    try:
        yield counted
    finally:
        for name, function in kept.items():
            setattr(builder, name, function)
