"""The cost of a variant as formulas: the same graphs evaluated on symbols (sympy, imported only here)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .counts import counts
from .problem import Problem
from .variants import Variant

LETTERS = {"batch": "B", "heads": "H", "kv_heads": "G", "seq": "N", "kv_len": "M", "head_dim": "d", "v_dim": "d_v"}
QUANTITIES = ("matrix FLOPs", "exponentials", "compulsory bytes", "cache bytes")


@dataclass(frozen=True)
class Formula:
    """One quantity as text and as LaTeX, in the letters B H G N M d d_v, bf16."""

    quantity: str
    text: str
    latex: str


def symbols() -> dict[str, Any]:
    """Positive whole symbols for the sizes of a problem."""
    import sympy

    return {name: sympy.Symbol(letter, integer=True, positive=True) for name, letter in LETTERS.items()}


def regime(variant: Variant) -> tuple[str, Any] | None:
    """(name, smallest N) of the regime a windowed variant's formula is for: the sequence is longer than its window."""
    parameters = variant.parameters()
    window = parameters.get("window")
    sides = [parameters.get("left"), parameters.get("right")]
    reach = window if isinstance(window, int) else sum(s for s in sides if isinstance(s, int)) or None
    if variant.id == "sliding-window" and reach is None:
        reach = 4096
    if reach is None:
        return None
    reach += parameters.get("sinks", 0) or 0
    return f"N >= {reach}", reach


def formulas(variant: Variant, *, causal: bool, cross: bool = False) -> tuple[str | None, list[Formula]]:
    """(regime, formulas) forward, of self-attention, or of N queries over M keys of their own (`cross`).

    Raises InputError where the variant has no such form.
    """
    import sympy

    letters, log2 = symbols(), sympy.Function("log2", positive=True)
    longer, chunk = regime(variant), variant.parameters().get("chunk") if causal else None
    n, back, name = letters["seq"], {}, None
    if longer is not None:
        # N = window + t with t >= 0: every clip is then decided, and t is written back as N - window.
        t = sympy.Symbol("t", integer=True, nonnegative=True)
        n, back, name = t + longer[1], {t: n - longer[1]}, longer[0]
    elif chunk is not None:
        t = sympy.Symbol("t", integer=True, positive=True)
        n, back, name = chunk * t, {t: n / chunk}, f"N a multiple of {chunk}"
        if variant.id == "log-linear":  # its states follow the binary digits of N
            name = f"N a power of two from {chunk} on"
    problem = Problem.make(
        batch=letters["batch"], heads=letters["heads"], seq=n, kv_len=letters["kv_len"] if cross else None,
        head_dim=letters["head_dim"], v_dim=letters["v_dim"], causal=causal,
    )  # fmt: skip
    prepared = variant.prepare(problem.with_(kv_heads=_kv_heads(variant, problem, letters)))
    graph = variant.graph(prepared)
    useful = counts(graph)
    amounts = (useful.matrix_flops, useful.special, useful.hbm_bytes, graph.cache_bytes)
    found = []
    for quantity, amount in zip(QUANTITIES, amounts, strict=True):
        plain = sympy.sympify(amount).subs(back)
        # log(x)/log(2) is simplified into powers of powers; log2(x) is left alone.
        plain = plain.replace(sympy.log, lambda x: sympy.log(x) if x == 2 else log2(x) * sympy.log(2))
        forms = (sympy.factor_terms(sympy.simplify(plain)), sympy.factor(sympy.expand(plain)))
        expression = min(forms, key=lambda form: len(str(form)))
        found.append(Formula(quantity, str(expression).replace("**", "^"), sympy.latex(expression)))
    return name, found


def _kv_heads(variant: Variant, problem: Problem, letters: dict[str, Any]) -> Any:
    """G where kv heads are the problem's to choose, H where the variant derives them from the heads."""
    return problem.kv_heads if variant.id in ("gqa", "sqa", "mla") else letters["kv_heads"]
