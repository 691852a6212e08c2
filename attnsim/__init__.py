"""attnsim: how fast can this attention be on that chip, how fast will it be, what limits it.

>>> import attnsim
>>> p = attnsim.predict("mha", hardware="b200", seq=8192, heads=32, head_dim=128)
>>> p.limited_by
'matrix'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import autotune, kernels
    from .simulator import variants
    from .simulator.api import predict
    from .simulator.errors import InputError
    from .simulator.hardware import Hardware
    from .simulator.prediction import Prediction
    from .simulator.problem import Problem
    from .simulator.sweep import sweep

__version__ = "0.1.0"

if not (Path(__file__).parent / "simulator").is_dir():
    # A checkout: the folders of the packages stand beside this one.
    __path__.append(str(Path(__file__).parent.parent))

_WHERE = {
    "predict": ("api", "predict"), "sweep": ("sweep", "sweep"), "Problem": ("problem", "Problem"),
    "Hardware": ("hardware", "Hardware"), "Prediction": ("prediction", "Prediction"),
    "InputError": ("errors", "InputError"), "variants": ("variants", None),
}  # fmt: skip
_PACKAGES = ("autotune", "kernels")

__all__ = [
    "Hardware", "InputError", "Prediction", "Problem", "__version__", "autotune", "kernels", "predict", "sweep",
    "variants",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Public names are loaded when first used, so that `import attnsim` costs nothing."""
    import importlib

    if name in _PACKAGES:
        return importlib.import_module(f"attnsim.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'attnsim' has no attribute {name!r}")
    module, attribute = _WHERE[name]
    found = importlib.import_module(f"attnsim.simulator.{module}")
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
