"""Block size and kernel_options for torch's flex_attention, chosen by the model, without a device.

options = attnsim.autotune.flex_options("sliding-window", "h100", seq=8192, window=1024)
mask = create_block_mask(rule, None, None, 8192, 8192, BLOCK_SIZE=options.block_size)
flex_attention(q, k, v, block_mask=mask, kernel_options=options.kernel_options)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..simulator import api, resources
from ..simulator.errors import InputError
from ..simulator.implementations import largest
from ..simulator.implementations.triton_other import OtherConfig, TritonOther
from ..simulator.problem import DTYPE_BITS
from ..simulator.resources import padded
from ..simulator.tiling import Tile
from . import host, profiles
from .rank import Ranked, rank
from .space import Space
from .task import Task

MASK_BLOCK = 128
"""Side of a block of the mask for training. Torch drops its own default of the backward pass, and with it all choices,
where that does not divide the mask's blocks; no default has a side above 128 (torch/_inductor, `get_flex_attention_
bwd_configs`)."""
FEW_QUERIES = 128
"""Below it a forward pass is flex_decoding's (torch/_inductor/kernel/flex/flex_decoding.py, `_use_flex_decoding`)."""
MOST_REGISTERS = 255


@dataclass(frozen=True)
class FlexOptions:
    """block_size: (queries, keys), BLOCK_SIZE of `create_block_mask`. kernel_options: argument of `flex_attention`;
    empty on the CPU, whose blocks are those of the mask. predicted_s: seconds of the pass that was asked for."""

    block_size: tuple[int, int]
    kernel_options: dict[str, Any] = field(default_factory=dict)
    predicted_s: float | None = None


def flex_options(
    variant: str, hardware: str | None = None, *, direction: str = "forward", **arguments: Any
) -> FlexOptions:  # fmt: skip
    """The options predicted to be the fastest. arguments: as of `attnsim.predict`.

    hardware: a chip (default: the current GPU, else this host). direction "backward": for training, options of both
    passes. Names that start with fwd_ or bwd_ count for one pass only, so that options of one leave the other as it is;
    a forward block size is for inference, where no backward pass has to fit into it.

    Raises InputError for problems that flex_attention does not take, and chips that no prediction is made for.
    """
    chip = current_chip() if hardware is None else hardware
    if direction not in ("forward", "backward"):
        raise InputError(f"direction {direction!r}; allowed: forward, backward")
    if api.load_hardware(chip).kind == "cpu":
        task = Task.make(variant, chip, "flex-cpu", direction=direction, **arguments)
        best = first(task, Space.of(task).configs)
        return FlexOptions((best.config.query[0], best.config.key[0]), {}, best.predicted_s)
    ahead = Task.make(variant, chip, "triton-other", direction="forward", **arguments)
    if decodes(ahead):
        if direction == "backward":
            raise InputError(f"flex_attention's kernel for fewer than {FEW_QUERIES} queries has no backward pass; "
                             f"there are {ahead.part.tokens}")  # fmt: skip
        return decoding(Task.make(variant, chip, "triton-other-decode", **arguments))
    forward = first(ahead, (c for c in forward_configs() if fits(ahead, c)))
    options = launch("fwd_", forward.config)
    options |= {"fwd_BLOCK_M": forward.config.query[0], "fwd_BLOCK_N": forward.config.key[0]}
    if direction == "forward":
        return FlexOptions((forward.config.query[0], forward.config.key[0]), options, forward.predicted_s)
    behind = Task.make(variant, chip, "triton-other", direction="backward", **arguments)
    backward = first(behind, (c for c in backward_configs() if fits(behind, c)))
    rows, columns = backward.config.query[0], backward.config.key[0]
    # The loop for dK and dV keeps keys, the one for dQ queries: the same tile the other way round.
    options |= launch("bwd_", backward.config)
    options |= {"bwd_BLOCK_M1": rows, "bwd_BLOCK_N1": columns, "bwd_BLOCK_M2": columns, "bwd_BLOCK_N2": rows}
    return FlexOptions((MASK_BLOCK, MASK_BLOCK), options, backward.predicted_s)


def current_chip() -> str:
    """The profile of the GPU that torch uses, else that of this host. Raises InputError for a GPU without a profile."""
    host.need_torch()
    import torch

    if not torch.cuda.is_available():
        return profiles.best_profile("cpu")
    from ..kernels.call import chip

    return chip("cuda").name


def first(task: Task, configs: Any) -> Ranked:
    """The config predicted to be the fastest. Raises InputError where none fits or none is predicted."""
    ranked = rank(task, configs)
    if not ranked:
        raise InputError(
            f"no tile of flex_attention fits {task.chip.name} with head_dim {int(largest(task.part.depth))}"
        )
    if ranked[0].predicted_s is None:
        raise InputError(f"no prediction of flex_attention on {task.chip.name}")
    return ranked[0]


def forward_configs() -> Iterator[OtherConfig]:
    """Tiles and launch options of torch's own lists (torch/_inductor/template_heuristics/triton.py), and between."""
    for rows, columns, warps, stages in itertools.product((128, 64, 32), (64, 128, 32), (4, 8), (3, 2, 1)):
        yield OtherConfig((rows,), (columns,), warps=warps, stages=stages)


def backward_configs() -> Iterator[OtherConfig]:
    """The same for the backward pass, whose key tile is a multiple of the query tile (`BLOCK_N1 % BLOCK_M1 == 0`)."""
    for rows, columns, warps, stages in itertools.product((64, 32), (128, 64, 32), (4, 8), (3, 2, 1)):
        if columns % rows == 0:
            yield OtherConfig((rows,), (columns,), warps=warps, stages=stages)


def launch(prefix: str, config: Any) -> dict[str, Any]:
    """Launch options by torch's names."""
    return {f"{prefix}num_warps": config.warps, f"{prefix}num_stages": config.stages}


def decodes(task: Task) -> bool:
    """Whether torch uses flex_decoding: few queries, and a power of two query heads for each kv head."""
    group = task.problem.heads // task.problem.kv_heads
    return int(largest(task.part.tokens)) < FEW_QUERIES and group & (group - 1) == 0


def decoding(task: Task) -> FlexOptions:
    """Options of flex_decoding, which stacks the queries of all heads of a kv head, 16 rows or more."""
    group = task.problem.heads // task.problem.kv_heads
    rows = padded(int(largest(task.part.tokens)) * group)
    configs = (
        OtherConfig((rows,), (columns,), group, warps=warps, stages=stages, splits=splits)
        for columns, warps, stages, splits in itertools.product((64, 32, 128), (2, 4), (3, 1), (1, 2, 4, 8, 16, 32, 64))
        if splits * columns <= int(largest(task.part.keys))
    )
    best = first(task, (c for c in configs if fits(task, c)))
    options = launch("fwd_", best.config) | {"fwd_BLOCK_N": best.config.key[0]}
    # Not for one pass only: torch reads it before it takes prefixes off.
    options["SPLIT_KV"] = getattr(best.config, "splits", 1)
    return FlexOptions((max(MASK_BLOCK, rows), best.config.key[0]), options, best.predicted_s)


def fits(task: Task, config: Tile) -> bool:
    """Whether a block has the shared memory and a thread the registers that the tile takes, by the estimates of our own
    kernels of the same structure (`simulator.resources`)."""
    part, chip, kernel = task.part, task.chip, task.kernel
    assert isinstance(config, OtherConfig)
    assert isinstance(kernel, TritonOther)
    if kernel.refuses(part, chip, config) is not None:
        return False
    depth, width = (padded(int(largest(x))) for x in (part.depth, part.width))
    element = max(int(DTYPE_BITS[part.dtype]) // 8, 1)
    shape = resources.Shape(config.query[0], config.key[0], depth, width, element, config.warps, config.stages, True)
    estimate = resources.backward_shared_bytes if part.backward else resources.forward_shared_bytes
    shared = estimate(chip.generation, shape) or kernel.shared_memory_bytes(part, chip, config)
    wanted = resources.registers_wanted(chip.generation, shape, part.backward)
    registers = kernel.registers(part, chip, config) if wanted is None else wanted
    roomy = shared is None or chip.smem_bytes_per_block is None or shared <= chip.smem_bytes_per_block
    return roomy and (registers is None or registers <= (chip.registers_per_thread or MOST_REGISTERS))
