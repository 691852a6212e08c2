"""Why a prediction is what it is, and what would help: sentences computed from the ladder.

The suggestion moves one number at a time and predicts again; what it says is what that prediction gave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .errors import InputError
from .prediction import Prediction

CHIP_NUMBERS = (
    "exp_per_clock_per_sm", "hbm_bandwidth_bytes_per_s", "l2_achieved_bytes_per_s", "vector_flop_per_clock_per_sm",
)  # fmt: skip
"""Numbers of a chip that the suggestion doubles, one at a time."""
UNIT_NAMES = {
    "matrix": "matrix work", "vector": "vector work", "special": "the exponentials", "hbm": "HBM traffic",
    "l2": "L2 traffic",
}  # fmt: skip
WORTH_SAYING = 1.03
"""Gains below 3 % are noise of the model and not suggested."""


def reason(p: Prediction) -> str:
    """One sentence: what each rung costs and what the time goes to."""
    if p.time_s is None:
        bound = p.chosen.bound
        if bound is None:
            return f"the numbers of {p.hardware.name} do not suffice for a floor of this problem"
        best = UNIT_NAMES[bound.limited_by]
        return f"limited by {best} at best; no schedule: no kernel known or chip numbers missing"
    parts = []
    promise, tiled = p.rung_speedup("flops"), p.rung_speedup("tiles")
    own = p.baseline is p.evaluation
    counts = p.tile_counts()
    if not own and promise is not None and tiled is not None and counts is not None and tiled < 0.9 * promise:
        tile = p.chosen.tile
        area = 1
        for side in (*tile.query, *tile.key):
            area *= side
        pairs = p.evaluation.graph.main.pairs
        if pairs:
            parts.append(
                f"the FLOPs promise {promise:.3g}x, the tiles allow {tiled:.3g}x: they compute "
                f"{counts['visited'] * area / pairs:.2f} pairs for each that attends"
                + (f", {counts['partial'] / max(counts['visited'], 1):.0%} of them in partial tiles"
                   if counts["partial"] else "")
            )  # fmt: skip
    elif not own and promise is not None and promise > 1 and tiled is not None:
        more = tiled > 1.005 * promise
        parts.append(
            f"the tiles allow {tiled:.3g}x, more than the {promise:.3g}x that the FLOPs promise" if more
            else f"the tiles keep {tiled / promise:.0%} of the {promise:.3g}x that the FLOPs promise"
        )  # fmt: skip
    bound = p.chosen.bound
    if bound is not None:
        share = bound.time_s / p.time_s
        parts.append(f"{UNIT_NAMES[bound.limited_by]} at peak takes {share:.0%} of the predicted time")
    largest = sorted(p.terms, key=lambda t: -t.time_s)[:2]
    said = [f"{t.name} {t.time_s / p.time_s:.0%} ({t.reason})" for t in largest if t.time_s > 0.03 * p.time_s]
    if said:
        parts.append("the rest is mostly " + " and ".join(said))
    return "; ".join(parts)


def _moves(p: Prediction) -> Iterator[tuple[str, float, dict[str, Any]]]:
    """(what is moved, work relative to now, arguments for `Prediction.again`)."""
    if p.choice.tile is not None:
        yield "the kernel's own tile", 1.0, {"choice": replace(p.choice, tile=None)}
    for text, variant in p.variant.moves(p.prepared):
        yield text, 1.0, {"variant": variant}
    if p.problem.direction == "forward" and p.problem.dtype in ("bf16", "fp16"):
        yield "fp8 operands", 1.0, {"problem": replace(p.problem, dtype="fp8", kv_dtype="fp8")}
    if p.problem.kv_dtype in ("bf16", "fp16") and p.problem.queries == 1:
        yield "an fp8 cache", 1.0, {"problem": replace(p.problem, kv_dtype="fp8")}
    yield f"batch {p.problem.batch * 2}", 2.0, {"problem": replace(p.problem, batch=p.problem.batch * 2)}
    units = p.hardware.sm_count
    if p.problem.heads < units and p.problem.kv_heads == p.problem.heads:
        heads = p.problem.heads + 8 - p.problem.heads % 8
        yield f"{heads} heads", heads / p.problem.heads, {
            "problem": replace(p.problem, heads=heads, kv_heads=heads)
        }  # fmt: skip


def suggestion(p: Prediction) -> str | None:
    """What would help most: the best move of the caller's, and the chip number that matters most."""
    now = p.time_s
    if now is None:
        return None
    said = []
    best = _best(p, now, _moves(p))
    if best is not None:
        said.append(f"{best[0]} would be {best[1]:.2f}x faster" + (" for the same work" if best[2] else ""))
    kernel = p.chosen.implementation
    same = p.choice if kernel is None else replace(
        p.choice, implementation=kernel.name, tile=replace(p.chosen.tile, packed_heads=1)
    )  # fmt: skip
    chip = (
        (
            f"twice {name}",
            1.0,
            {"hardware": replace(p.hardware, **{name: 2 * getattr(p.hardware, name)}), "choice": same},
        )
        for name in CHIP_NUMBERS
        if getattr(p.hardware, name) is not None
    )
    best = _best(p, now, chip)
    if best is not None:
        said.append(f"{best[0]} on the chip would be {best[1]:.2f}x faster")
    return "; ".join(said) or "no single change tried (tile, batch, heads, type, chip rates) gains 3 %"


def _best(
    p: Prediction, now: float, moves: Iterator[tuple[str, float, dict[str, Any]]] | Any
) -> tuple[str, float, bool] | None:
    """The move with the largest gain per work, if it is worth saying."""
    found: tuple[str, float, bool] | None = None
    for text, work, arguments in moves:
        try:
            then = p.again(**arguments)
        except InputError:
            continue
        if then is None:
            continue
        gain = now * work / then
        if gain > (found[1] if found else WORTH_SAYING):
            found = (text, gain, work != 1.0)
    return found
