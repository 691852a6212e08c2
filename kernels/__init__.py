"""Triton kernels, one file a kernel family, and `attention`, the one call that runs them.

A family's file states NAME, the implementation whose tile facts it uses (simulator/implementations), VARIANTS where it
runs certain variants only, and `inputs`, `plan` and where there is one `plan_backward`. torch and triton are imported
when a kernel is asked for.
"""

from __future__ import annotations

import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .call import attention

__all__ = ["attention", "families", "for_variant"]


def __getattr__(name: str) -> Any:
    """`attention` is loaded when first used."""
    if name == "attention":
        return importlib.import_module(f"{__name__}.call").attention
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@functools.cache
def families() -> tuple[Any, ...]:
    """The modules of all kernel families, in the order of their names. Raises InputError where an extra is missing."""
    from ..simulator.errors import InputError

    stems = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    try:
        modules = [importlib.import_module(f"{__name__}.{stem}") for stem in stems]
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "triton"):
            raise
        raise InputError(f"kernels need {error.name}: pip install 'attnsim[kernels]'") from None
    return tuple(module for module in modules if hasattr(module, "NAME"))


def for_variant(implementation: str, variant: str) -> Any:
    """The family that runs a variant with an implementation's tiles. Raises InputError where there is none."""
    from ..simulator.errors import InputError

    ours = [module for module in families() if implementation == module.NAME]
    for module in sorted(ours, key=lambda module: not hasattr(module, "VARIANTS")):
        if variant in getattr(module, "VARIANTS", (variant,)):
            return module
    raise InputError(f"{implementation} has no kernel here for {variant}; kernels: "
                     f"{', '.join(sorted({module.NAME for module in families()}))}")  # fmt: skip
