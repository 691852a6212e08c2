"""attention(q, k, v, variant=...): the one call that runs a kernel on tensors.

It reads the problem off the tensors, takes the first kernel that accepts it on the device's chip, its tuned config if
one was recorded and else the model's first choice, and runs it, with gradients where the kernel has a backward pass.
"""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any

import torch

from ..simulator import api, buckets, implementations
from ..simulator.config import Config, TritonKernel
from ..simulator.errors import InputError
from ..simulator.hardware import Hardware, profile_of_device
from ..simulator.predict import Choice, evaluate
from ..simulator.problem import Problem
from ..simulator.tiling import Tile
from ..simulator.variants import Variant
from . import for_variant, records
from .interpret import interpreting
from .operands import NAMES, check_operands


@functools.cache
def chip(device: str) -> Hardware:
    """The profile of a device: by its name; the interpreter stands in for an H100.

    Raises InputError for devices that run no kernels, and for chips without a profile.
    """
    kind = torch.device(device).type
    if kind == "cpu" and interpreting():
        return api.load_hardware("h100")
    if kind != "cuda":
        raise InputError(
            f"device {device}: kernels run on cuda devices (NVIDIA and AMD). reference=True computes the same in plain "
            "torch; TRITON_INTERPRET=1 interprets the kernels on the cpu"
        )
    name = torch.cuda.get_device_name(device)
    profile = profile_of_device(name)
    if profile is None:
        raise InputError(f"no profile for the device {name!r}; `attnsim hw list` lists the chips that have one")
    return api.load_hardware(profile)


def read_problem(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, variant: str, causal: bool, parameters: dict[str, Any]
) -> tuple[Variant, Problem]:
    """The variant and the prepared problem that the tensors and named parameters state. Raises InputError."""
    check_operands(q, k, v)
    b, h, n, d = q.shape
    for size, name in ((b, "batch"), (h, "heads"), (n, "tokens"), (k.shape[2], "keys")):
        if size == 0:
            raise InputError(f"0 {name}: there is nothing to attend to")
    sizes: dict[str, Any] = {
        "batch": b, "heads": h, "kv_heads": k.shape[1], "head_dim": d, "v_dim": v.shape[3], "causal": causal,
        "dtype": NAMES[q.dtype], "kv_dtype": NAMES[k.dtype],
    }  # fmt: skip
    if "shape" in parameters:
        shape = tuple(parameters["shape"])
        if math.prod(shape) != n:
            raise InputError(f"shape {'x'.join(map(str, shape))} has {math.prod(shape)} tokens; q has {n}")
    elif "documents" not in parameters:
        sizes |= {"seq": n, "kv_len": k.shape[2]}
    known = {name: value for name, value in parameters.items() if not isinstance(value, torch.Tensor)}
    made, problem, choice = api.split_arguments(variant, {"causal": causal, **known})
    if choice:
        raise InputError(f"{next(iter(choice))} is chosen by the kernel; give config=Config(...) for another tile")
    if made.family in ("bottleneck", "convolutional") or made.id == "gated-attention":
        raise InputError(f"no kernel for {made.id}: it is more than attention over q, k and v")
    prepared = made.prepare(Problem.make(**sizes | problem))
    if prepared.queries != n or prepared.kv_len != k.shape[2]:
        raise InputError(f"the parameters state {prepared.queries} queries and {prepared.kv_len} keys; q has {n} and k "
                         f"{k.shape[2]}")  # fmt: skip
    return made, prepared


def choose(
    variant: Variant, problem: Problem, hardware: Hardware, *, gradients: bool = False
) -> tuple[TritonKernel, Config]:
    """The kernel and config for a problem on a chip: as tuned, else the model's first choice.

    gradients: a kernel without a backward pass will not do.

    Raises InputError with every kernel's reason where none takes the problem.
    """
    part = variant.graph(problem).main
    ours = [i for i in implementations.for_hardware(hardware) if isinstance(i, TritonKernel)]
    reasons = []
    again = variant.graph(problem.with_(direction="backward")).main if gradients else part
    for kernel in ours:
        refusal = kernel.refuses(part, hardware) or kernel.refuses(again, hardware)
        configs = kernel.configs(part, hardware) if refusal is None else ()
        if configs:
            return kernel, records.find(kernel.name, hardware.name, variant, problem) or ranked(
                kernel, variant, problem, hardware, configs
            )
        reasons.append(refusal or f"{kernel.name} has no tile for this problem on {hardware.name}")
    raise InputError(f"no kernel for {variant.id}: {'; '.join(reasons)}")


def ranked(
    kernel: TritonKernel, variant: Variant, problem: Problem, hardware: Hardware, configs: tuple[Config, ...]
) -> Config:
    """The first config of the tile that the model predicts to be fastest; worked out once for a problem."""
    if not buckets.is_named(variant):
        return _ranked.__wrapped__(kernel, variant, problem, hardware, configs)
    return _ranked(kernel, variant, problem, hardware, configs)


@functools.lru_cache(maxsize=1024)
def _ranked(
    kernel: TritonKernel, variant: Variant, problem: Problem, hardware: Hardware, configs: tuple[Config, ...]
) -> Config:
    best, first = math.inf, configs[0]
    if variant.graph(problem).main.mask is None:
        return first
    for query, key in dict.fromkeys((c.query, c.key) for c in configs):
        choice = Choice(tile=Tile(query, key), implementation=kernel.name)
        time_s = evaluate(variant, problem, hardware, choice).chosen.time_s
        if time_s is not None and float(time_s) < best:
            best, first = float(time_s), next(c for c in configs if (c.query, c.key) == (query, key))
    return first


class _Attention(torch.autograd.Function):
    """A kernel's forward pass, and its backward pass where it has one."""

    @staticmethod
    def forward(ctx: Any, run: _Run, *operands: torch.Tensor) -> torch.Tensor:
        tensors = dict(zip(run.names, operands, strict=True))
        grads = any(ctx.needs_input_grad[1:])
        if grads and not hasattr(run.family, "plan_backward"):
            raise InputError(f"{run.kernel.name} has no backward pass for {run.variant.id}; reference=True has one")
        outputs = run.forward(tensors, grads)
        ctx.run = run
        ctx.save_for_backward(*operands, *(outputs[name] for name in outputs))
        ctx.outputs = tuple(outputs)
        return outputs["o"]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> Any:
        names = (*ctx.run.names, *ctx.outputs)
        tensors = dict(zip(names, ctx.saved_tensors, strict=True)) | {"do": gradients[0].contiguous()}
        found = ctx.run.backward(tensors)
        return (None, *(found.get(f"d{name}") for name in ctx.run.names))


class _Run:
    """One call: a family's plans with everything but the tensors settled."""

    def __init__(
        self, kernel: TritonKernel, variant: Variant, problem: Problem, hardware: Hardware, config: Config,
        names: tuple[str, ...], scale: float | None,
    ) -> None:  # fmt: skip
        self.kernel, self.variant, self.problem, self.hardware = kernel, variant, problem, hardware
        self.config, self.names, self.scale = config, names, scale
        self.family = for_variant(kernel.name, variant.id)

    def forward(self, tensors: dict[str, torch.Tensor], grads: bool) -> dict[str, torch.Tensor]:
        wanted = {"lse": grads, "units": self.hardware.sm_count, "scale": self.scale}
        return self._plan(self.family.plan, self.problem, tensors, self.config, wanted)

    def backward(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        problem = self.problem.with_(direction="backward")
        part = self.variant.graph(problem).main
        config = self.kernel.first_config(part, self.hardware)
        return self._plan(self.family.plan_backward, problem, tensors, config, {"scale": self.scale})

    def _plan(
        self, plan: Any, problem: Problem, tensors: Any, config: Config, wanted: dict[str, Any]
    ) -> dict[str, torch.Tensor]:
        """Run a plan with those of the wanted options that the family's launcher takes."""
        taken = inspect.signature(plan).parameters
        if self.scale is not None and "scale" not in taken:
            raise InputError(f"scale is {self.scale}; {self.variant.id} has no scale of the scores")
        options = {name: value for name, value in wanted.items() if name in taken}
        outputs: dict[str, torch.Tensor] = plan(self.variant, problem, tensors, config, **options).run()
        return outputs


def attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, *, variant: str = "mha", causal: bool = False,
    scale: float | None = None, config: Config | None = None, implementation: str | None = None,
    reference: bool = False, **parameters: Any,
) -> torch.Tensor:  # fmt: skip
    """o [B, H, N, dv] of q [B, H, N, d], k [B, G, M, d], v [B, G, M, dv].

    parameters: those of the variant (`window=128`), of the problem (`shape=(8, 16, 16)` for tokens along several axes,
    `documents=[...]` for a ragged batch), and further tensors the variant needs, by name (`log_decay`, `beta`,
    `weights`, `k2`, `v2`). scale: of the scores, 1 / sqrt(head_dim) by default, not negative. config, implementation:
    another tile or kernel than the tuned or predicted one. reference: plain torch, on any device.

    Gradients flow where the kernel has a backward pass. Raises InputError for devices, types, shapes and parameters
    that no kernel takes, with the reason of each.

    >>> import torch
    >>> q, k, v = (torch.randn(1, 2, 8, 16) for _ in range(3))
    >>> attention(q, k, v, causal=True, reference=True).shape
    torch.Size([1, 2, 8, 16])
    """
    if scale is not None and not scale >= 0:
        raise InputError(f"scale is {scale}; it must not be negative")
    extra = {name: value for name, value in parameters.items() if isinstance(value, torch.Tensor)}
    made, problem = read_problem(q, k, v, variant, causal, parameters)
    tensors = {"q": q, "k": k, "v": v, **extra}
    if reference:
        from .reference import of_tensors

        return of_tensors(made, problem, tensors, scale)
    hardware = chip(str(q.device))
    if implementation is not None:
        kernel = implementations.get(implementation)
        if not isinstance(kernel, TritonKernel):
            raise InputError(f"{implementation} is not one of our kernels; they are called triton-...")
        chosen = kernel.first_config(made.graph(problem).main, hardware)
    else:
        wanted = torch.is_grad_enabled() and any(t.requires_grad for t in tensors.values())
        kernel, chosen = choose(made, problem, hardware, gradients=wanted)
    if config is not None:
        refusal = kernel.refuses(made.graph(problem).main, hardware, config)
        if refusal is not None:
            raise InputError(refusal)
        chosen = config
    if problem.documents is not None:
        lengths = torch.tensor((0, *problem.documents), dtype=torch.int32)
        tensors["cu"] = lengths.cumsum(0).to(torch.int32).to(q.device)
    run = _Run(kernel, made, problem, hardware, chosen, tuple(tensors), scale)
    output: torch.Tensor = _Attention.apply(run, *tensors.values())
    return output
