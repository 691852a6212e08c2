"""The model in other people's tuners: the configs that are worth trying, first ones first.

@triton.autotune(configs=[...], key=[...], prune_configs_by=attnsim.autotune.prune(
    problem_of=lambda a: {"seq": a["N_CTX"], "heads": a["H"], "batch": a["Z"], "head_dim": a["HEAD_DIM"]}, top_k=4))
@triton.autotune(configs=attnsim.autotune.configs("mha", "h100", seq=8192), key=[...])
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from ..simulator.config import FLAGS, Config, Tunable
from ..simulator.errors import InputError, unknown
from ..simulator.prediction import config_fields
from ..simulator.tiling import Tile
from .rank import Ranked, fits, rank
from .space import Space
from .task import Task

QUERY_NAMES = ("BLOCK_M", "BLOCK_SIZE_M", "BLOCK_Q", "BLOCK_M1")
KEY_NAMES = ("BLOCK_N", "BLOCK_SIZE_N", "BLOCK_KV", "BLOCK_N1")
"""What kernels call the sides of their tile."""
NAMES: Mapping[str, str | Sequence[str]] = {"query": "BLOCK_M", "key": "BLOCK_N"}
Sides = tuple[int | tuple[int, ...], int | tuple[int, ...]]
TileOf = Callable[[Any], Sides | Mapping[str, Any] | Tile]


def prune(
    *, problem_of: Callable[[dict[str, Any]], Mapping[str, Any]], tile_of: TileOf | None = None, top_k: int = 4,
    variant: str = "mha", hardware: str | None = None, implementation: str = "triton-other",
) -> dict[str, Any]:  # fmt: skip
    """What `triton.autotune` takes as `prune_configs_by`: of a kernel's configs the `top_k` predicted to be fastest.

    problem_of: from the kernel's arguments by name to arguments of `attnsim.predict` (sizes, dtype, causal, parameters
    of the variant, and `variant` itself where it varies). tile_of: from a `triton.Config` to (queries, keys) of its
    tile, each a number or one an axis, or to fields of a config of attnsim; warps and stages are the config's own.
    hardware: a chip (default: the current device's). implementation: the kernel whose constants rank.

    Configs whose keys and values cannot fit the chip's shared memory are dropped first. There is always one left: where
    none fits, the first `top_k` as they are given. On a chip that is not known all are kept, with a warning.
    Raises InputError for problems that are none.
    """
    if top_k < 1:
        raise InputError(f"top_k is {top_k}; allowed: 1 or more")
    return {"early_config_prune": Pruner(problem_of, tile_of or named_tile, top_k, variant, hardware, implementation)}


@dataclass
class Pruner:
    """Triton's `early_config_prune`: (configs, positional arguments by name, other arguments) -> configs."""

    problem_of: Callable[[dict[str, Any]], Mapping[str, Any]]
    tile_of: TileOf
    top_k: int
    variant: str
    hardware: str | None
    implementation: str
    _warned: set[str] = field(default_factory=set)

    def __call__(self, configs: list[Any], named: Mapping[str, Any], **others: Any) -> list[Any]:
        hardware = self.hardware or self._device()
        if hardware is None:
            return list(configs)
        task = self.task({**named, **others}, hardware)
        tiles = [config_of(config, self.tile_of, task.kernel) for config in configs]
        fitting = [i for i, tile in enumerate(tiles) if fits(task, tile)]
        if not fitting:
            return list(configs[: self.top_k])
        places: dict[Any, list[int]] = {}
        for i in fitting:
            places.setdefault(tiles[i], []).append(i)
        ranked = rank(task, places)
        if ranked[0].predicted_s is None:
            self._warn(f"{task.chip.name} has no prediction for this kernel: no config is dropped")
            return list(configs)
        return [configs[i] for one in ranked for i in places[one.config]][: self.top_k]

    def task(self, arguments: dict[str, Any], hardware: str) -> Task:
        """The problem that the kernel is called for. Raises InputError."""
        asked = dict(self.problem_of(arguments))
        variant = asked.pop("variant", self.variant)
        return Task.make(variant, hardware, self.implementation, **asked)

    def _device(self) -> str | None:
        """The profile of the current device; None, with a warning, where there is none."""
        from ..kernels.call import chip

        try:
            return chip("cuda").name
        except (InputError, RuntimeError, AssertionError) as error:
            self._warn(f"no config is dropped: {error}")
            return None

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warnings.warn(f"attnsim.autotune.prune: {message}", stacklevel=3)


def named_tile(config: Any) -> Sides:
    """The tile of a `triton.Config` by the usual names. Raises InputError where it has others."""
    found = [next((config.kwargs[n] for n in names if n in config.kwargs), None) for names in (QUERY_NAMES, KEY_NAMES)]
    if found[0] is None or found[1] is None:
        raise InputError(f"the config {config} names its tile otherwise than {QUERY_NAMES[0]} and {KEY_NAMES[0]}: "
                         "give tile_of")  # fmt: skip
    return found[0], found[1]


def config_of(config: Any, tile_of: TileOf, kernel: Tunable) -> Any:
    """A `triton.Config` as a config of a kernel. Raises InputError for a tile that is none."""
    tile = tile_of(config)
    if isinstance(tile, Tile):
        given = {one.name: getattr(tile, one.name) for one in fields(tile)}
    elif isinstance(tile, Mapping):
        given = dict(tile)
    elif isinstance(tile, Sequence) and len(tile) == 2:
        given = {"query": tile[0], "key": tile[1]}
    else:
        raise InputError(f"tile_of gives {tile!r}; allowed: (queries, keys) or fields of a config")
    for name in ("query", "key"):
        sides = given.get(name)
        given[name] = tuple(sides) if isinstance(sides, (tuple, list)) else (sides,)
        if not all(isinstance(side, int) and side > 0 for side in given[name]):
            raise InputError(f"tile_of gives a {name} tile of {sides!r}; allowed: whole numbers above 0")
    own = {"warps": config.num_warps, "stages": config.num_stages, "max_registers": config.maxnreg}
    known = {one.name for one in fields(kernel.config_type)}
    wrong = next((name for name in given if name not in known), None)
    if wrong is not None:
        raise unknown("field of a config", wrong, known)
    return kernel.config_type(**{name: value for name, value in own.items() if name in known} | given)


def configs(
    variant: str, hardware: str, *, top: int = 8, names: Mapping[str, str | Sequence[str]] = NAMES,
    implementation: str | None = None, **arguments: Any,
) -> list[Any]:  # fmt: skip
    """The first `top` configs for a problem as `triton.Config` objects, for the caller's own kernel.

    arguments: as of `attnsim.predict`. names: what the kernel calls the fields of a config (`query`, `key`, and where
    it has them `splits`, `packed_heads`, ...): one name, which gets the product of the sides, or one for each side.
    Configs with a launch option (persistent, tma, ...) that has no name are left out where others remain.
    Raises InputError for unknown names and for problems that no kernel of attnsim takes.
    """
    try:
        import triton
    except ModuleNotFoundError:
        raise InputError("triton.Config needs triton: pip install 'attnsim[kernels]'") from None
    task = Task.make(variant, hardware, implementation, **arguments)
    found = []
    for one in candidates(task, names=names):
        values = triton_arguments(one.config, names)
        made = triton.Config(values["kwargs"], num_warps=values["num_warps"], num_stages=values["num_stages"])
        if made not in found:
            found.append(made)
        if len(found) == top:
            break
    return found


def candidates(task: Task, top: int | None = None, names: Mapping[str, str | Sequence[str]] = NAMES) -> list[Ranked]:
    """The configs of a task that can be said with these names, fastest predicted first.

    Raises InputError where the kernel has none, or a name for a field that its configs do not have.
    """
    known = [one.name for one in fields(task.kernel.config_type)]
    wrong = next((name for name in names if name not in known), None)
    if wrong is not None:
        raise unknown("field of a config", wrong, known)
    space = Space.of(task)
    if not space.configs:
        raise InputError(f"{task.implementation} has no config for {task}")
    options = [flag for flag in FLAGS if flag not in names]
    plain = [c for c in space.configs if not any(getattr(c, flag, False) for flag in options)]
    return rank(task, plain or space.configs)[:top]


def triton_arguments(config: Tile, names: Mapping[str, str | Sequence[str]] = NAMES) -> dict[str, Any]:
    """Arguments of `triton.Config` for a config: `kwargs` by the kernel's names, `num_warps`, `num_stages`.

    >>> triton_arguments(Config((2, 64), (64, 1)), {"query": ("ROWS", "COLUMNS"), "key": "BLOCK_N"})["kwargs"]
    {'ROWS': 2, 'COLUMNS': 64, 'BLOCK_N': 64}
    """
    kwargs: dict[str, Any] = {}
    for name, called in names.items():
        value = getattr(config, name)
        sides = value if isinstance(value, tuple) else (value,)
        if isinstance(called, str):
            kwargs[called] = math.prod(sides) if isinstance(value, tuple) else value
        elif len(called) == len(sides):
            kwargs |= dict(zip(called, sides, strict=True))
        else:
            raise InputError(f"{len(called)} names for the {len(sides)} sides of {name}")
    return {"kwargs": kwargs, "num_warps": getattr(config, "warps", 4), "num_stages": getattr(config, "stages", 1)}


def listed(task: Task, found: Sequence[Ranked]) -> dict[str, Any]:
    """A candidate list as JSON has it, for other libraries' tuners."""
    from .. import __version__

    rows = [
        {"rank": index, "config": config_fields(one.config),
         "triton": triton_arguments(one.config) if isinstance(one.config, Config) else None,
         "predicted_s": one.predicted_s, "floor_s": one.floor_s}
        for index, one in enumerate(found, start=1)
    ]  # fmt: skip
    return {"attnsim": __version__, "variant": task.variant, "parameters": task.to_dict()["parameters"],
            "problem": task.problem.to_dict(), "hardware": task.chip.name, "kernel": task.implementation,
            "candidates": rows}  # fmt: skip
