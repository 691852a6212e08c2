"""Times of the project's kernels on this machine's GPU, beside torch's SDPA and compiled flex_attention, in one run.

Every output is first compared with exact rows. Then all contenders of a workload are timed in turn, round by round, on
operands that rotate past the L2, with CUDA events; the launches of a round are queued behind a sleeping GPU, so that
the time of the CPU does not count. SDPA has no windows: there it computes the dense (or causal) attention that the
window replaces, and is marked so. Decoding is compared with the bandwidth of a copy, measured in the same run.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

import attnsim
from attnsim.autotune import timing

if TYPE_CHECKING:
    import torch

BARS = {"dense": (("sdpa flash", 1.0), ("sdpa cudnn", 0.75)), "window": (("flex", 1.3),), "decode": (("copy", 0.8),)}
"""What the kernels should reach: times faster than a contender (decode: share of the copy bandwidth)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A problem with a variant. kind: dense | window | decode, which decides the bars."""

    name: str
    kind: str
    variant: str
    sizes: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    dtype: str = "bf16"

    def arguments(self) -> dict[str, Any]:
        """Arguments of `attnsim.predict`."""
        return {**self.sizes, **self.parameters, "dtype": self.dtype}


def workloads() -> list[Workload]:
    """The fixed list: the bars of the kernels are stated for these."""
    heads = {"heads": 16, "head_dim": 128}
    dense = [
        Workload(f"causal {n // 1024}k", "dense", "mha", {**heads, "batch": 16384 // n, "seq": n, "causal": True})
        for n in (4096, 8192, 16384)
    ]
    windows = [
        Workload("window 4096 of 32k", "window", "sliding-window", {**heads, "seq": 32768, "causal": True},
                 {"window": 4096}),
        Workload("neighbourhood 1-D, 1024 of 32k", "window", "gna", {**heads, "seq": 32768}, {"window": 1024}),
        Workload("neighbourhood 2-D, 80x80 of 256x256, stride 16x16", "window", "gna",
                 {"heads": 8, "head_dim": 128, "shape": (256, 256)}, {"window": (80, 80), "stride": (16, 16)}),
        Workload("neighbourhood 3-D, 18x24x24 of 30x48x80", "window", "gna",
                 {"heads": 4, "head_dim": 128, "shape": (30, 48, 80)}, {"window": (18, 24, 24)}),
        Workload("neighbourhood 3-D, 18x24x24 of 30x48x80, stride 16x8x8", "window", "gna",
                 {"heads": 4, "head_dim": 128, "shape": (30, 48, 80)}, {"window": (18, 24, 24), "stride": (16, 8, 8)}),
    ]  # fmt: skip
    few = {"batch": 32, "heads": 64, "kv_heads": 8, "head_dim": 128, "seq": 1, "kv_len": 32768}
    decode = Workload("decode batch 32, 32k keys, GQA 8", "decode", "gqa", few)
    return [*dense, *windows, decode]


@dataclass(slots=True)
class Case:
    """A workload on the device: its operands in rotation, its mask, and what `predict` says of it."""

    workload: Workload
    operands: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    mask: Any
    prediction: attnsim.Prediction

    @property
    def bytes(self) -> float:
        """Bytes of one call's keys and values."""
        return sum(t.numel() * t.element_size() for t in self.operands[0][1:])


def prepare(workload: Workload, device: str, hardware: Any, l2_bytes: int) -> Case:
    """Random operands, as many sets as go past the L2."""
    import torch

    from attnsim.autotune.devices.cuda import MOST_SETS, PAST_L2
    from attnsim.kernels.operands import DTYPES

    prediction = attnsim.predict(workload.variant, hardware=hardware, **workload.arguments())
    problem, dtype = prediction.prepared, DTYPES[workload.dtype]
    b, h, g, n, m = problem.batch, problem.heads, problem.kv_heads, problem.queries, problem.kv_len
    one = b * (h * n + 2 * g * m) * problem.head_dim * dtype.itemsize
    generator = torch.Generator(device).manual_seed(0)
    operands = []
    for _ in range(min(max(1, math.ceil(PAST_L2 * l2_bytes / one)), MOST_SETS)):
        shapes = ((b, h, n, problem.head_dim), (b, g, m, problem.head_dim), (b, g, m, problem.v_dim))
        q, k, v = (torch.randn(s, device=device, dtype=dtype, generator=generator) for s in shapes)
        operands.append((q, k, v))
    return Case(workload, operands, prediction.evaluation.graph.main.mask, prediction)


Attend = Callable[..., Any]


def contenders(case: Case, device: str) -> dict[str, Attend]:
    """Name to function of q, k, v; all but SDPA under a window compute the same."""
    from attnsim.kernels import attention
    from attnsim.kernels.reference import baselines

    work = case.workload
    causal = bool(work.sizes.get("causal", False))
    parameters = dict(work.parameters)
    if "shape" in work.sizes:
        parameters["shape"] = work.sizes["shape"]

    def ours(q: Any, k: Any, v: Any) -> Any:
        return attention(q, k, v, variant=work.variant, causal=causal, **parameters)

    found: dict[str, Attend] = {"attnsim": ours}
    for backend in ("flash", "cudnn"):
        found[f"sdpa {backend}"] = lambda q, k, v, backend=backend: baselines.sdpa(q, k, v, causal, backend)
    found["flex"] = baselines.flex(case.mask, device)
    return found


def same_work(case: Case, name: str) -> bool:
    """Whether a contender computes the workload's own mask."""
    return case.workload.kind != "window" or not name.startswith("sdpa")


def error_of(case: Case, output: Any) -> tuple[float, float]:
    """(largest error, what it may be) over sampled rows of the first sequence."""
    from attnsim.autotune.correctness import mask_rows, sampled_rows

    q, k, v = (t[:1] for t in case.operands[0])
    rows = sampled_rows(q.shape[2], q.device)
    truth, allowed = mask_rows(q, k, v, case.mask, rows)
    return float((output[:1, :, rows].double() - truth).abs().max()), allowed


def measure(case: Case, device: str) -> dict[str, dict[str, Any]]:
    """Of every contender: outcome, error and budget, and seconds of every round; timed in turn after being checked."""
    from attnsim.autotune.gpu import QueuedTimer

    found: dict[str, dict[str, Any]] = {}
    timers: dict[str, timing.Timer] = {}
    for name, attend in contenders(case, device).items():
        row: dict[str, Any] = {"outcome": "ok", "seconds": [], "flags": [], "same_work": same_work(case, name)}
        found[name] = row
        try:
            output = attend(*case.operands[0])
            if row["same_work"]:
                row["error"], row["budget"] = error_of(case, output)
                if not row["error"] <= row["budget"]:
                    row["outcome"] = f"wrong answer: error {row['error']:.2e}, budget {row['budget']:.2e}"
                    continue
            timers[name] = QueuedTimer(rotating(attend, case.operands))
        except (RuntimeError, attnsim.InputError) as error:
            row["outcome"] = (str(error).strip() or type(error).__name__).splitlines()[0]
    for name, times in timing.rotate(timers, hopeless=math.inf).items():
        found[name] |= {"seconds": list(times.seconds), "flags": list(times.flags)}
    return found


def rotating(attend: Attend, operands: list[Any]) -> Callable[[int], Any]:
    """A function of a call's number: it takes the next set of operands."""
    return lambda call: attend(*operands[call % len(operands)])


def copy_bandwidth(device: str) -> float:
    """Bytes read and written a second by a copy of 1 GiB: the median of the rounds."""
    import torch

    from attnsim.autotune.gpu import QueuedTimer

    source = torch.empty(2**30, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * 2**30 / timing.measure(QueuedTimer(lambda call: target.copy_(source))).median_s


def result(case: Case, rows: dict[str, dict[str, Any]], copy: float) -> dict[str, Any]:
    """A workload's row of the JSON: times, achieved fractions of the rungs, ratios, and the bars."""
    for row in rows.values():
        times = sorted(row["seconds"])
        row["median_s"] = statistics.median(times) if times else None
        row["spread"] = (times[-1] - times[0]) / row["median_s"] if times else None
    ours = rows["attnsim"]["median_s"]
    floors = {rung: case.prediction.rung_time(rung) for rung in ("roofline", "tiles")}
    fractions = {rung: None if not ours or time_s is None else time_s / ours for rung, time_s in floors.items()}
    ratios = {n: None if not ours or not r["median_s"] else r["median_s"] / ours for n, r in rows.items()}
    work = case.workload
    if work.kind == "decode":
        ratios["copy"] = None if not ours else case.bytes / ours / copy
    bars = [{"against": name, "wanted": bar, "reached": ratios.get(name)} for name, bar in BARS[work.kind]]
    return {
        "workload": work.name, "variant": work.variant, "arguments": work.arguments(), "contenders": rows,
        "floors_s": floors, "achieved": fractions, "ratios": ratios, "bars": bars,
    }  # fmt: skip


def show(results: list[dict[str, Any]], console: Console, title: str) -> None:
    """One row a workload: times, shares of the floors, ratios; then every bar and what did not run."""
    table = Table(title=title, title_justify="left")
    for name in ("workload", "attnsim", "spread", "of roofline", "of tiles", "x sdpa flash", "x sdpa cudnn", "x flex"):
        table.add_column(name, justify="left" if name == "workload" else "right")

    def text(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    for row in results:
        ours, dense = row["contenders"]["attnsim"], "" if row["contenders"]["sdpa flash"]["same_work"] else " (dense)"
        median = None if ours["median_s"] is None else ours["median_s"] * 1e3
        table.add_row(
            row["workload"], text(median, ".3f") + " ms", text(ours["spread"], ".0%"),
            text(row["achieved"]["roofline"], ".0%"), text(row["achieved"]["tiles"], ".0%"),
            *(text(row["ratios"][f"sdpa {name}"], ".2f") + dense for name in ("flash", "cudnn")),
            text(row["ratios"]["flex"], ".2f"),
        )  # fmt: skip
    console.print(table)
    for row in results:
        for bar in row["bars"]:
            reached = bar["reached"]
            verdict = "not measured" if reached is None else "reached" if reached >= bar["wanted"] else "below the bar"
            ratio = f"{text(reached, '.2f')}x {bar['against']}, wanted {bar['wanted']}"
            console.print(f"{row['workload']}: {ratio}: {verdict}")
        for name, one in row["contenders"].items():
            if one["outcome"] != "ok":
                console.print(f"{row['workload']}: {name} not timed: {one['outcome']}")


def conditions(device: str, hardware: Any, copy: float) -> dict[str, Any]:
    """What the times depend on besides the workload."""
    import torch
    import triton

    return {
        "device": torch.cuda.get_device_name(device), "profile": hardware.name, "attnsim": attnsim.__version__,
        "torch": torch.__version__, "triton": triton.__version__, "cuda": torch.version.cuda or torch.version.hip,
        "copy_bytes_per_s": copy, "rounds": timing.ROUNDS, "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip


@click.command(help=__doc__)
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write everything measured to FILE.")
@click.option("--only", default="", help="Workloads whose name contains this.")
def main(path: Path | None, only: str) -> None:
    """Measure and print."""
    import torch

    if not torch.cuda.is_available():
        print("no GPU: nothing measured")
        return
    from attnsim.kernels.call import chip

    device, console = "cuda", Console()
    hardware = chip(device)
    torch._dynamo.config.cache_size_limit = 64  # past the limit dynamo falls back to eager, silently
    l2_bytes = torch.cuda.get_device_properties(device).L2_cache_size
    copy = copy_bandwidth(device)
    results = []
    for workload in (w for w in workloads() if only in w.name):
        case = prepare(workload, device, hardware, l2_bytes)
        results.append(result(case, measure(case, device), copy))
        torch._dynamo.reset()
        del case
        torch.cuda.empty_cache()
    what = conditions(device, hardware, copy)
    versions = f"torch {what['torch']}, triton {what['triton']}"
    show(results, console, f"{what['device']}, {versions}, copy {copy / 1e9:,.0f} GB/s")
    if path is not None:
        path.write_text(json.dumps({"conditions": what, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
