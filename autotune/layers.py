"""Layers of measured tables: a mechanism with the projections around it, one kernel after the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..simulator.algebra import Number, where
from ..simulator.families.dense import dense_part
from ..simulator.families.softmax import attention_part, dense_mask
from ..simulator.graph import Graph, Op, Part, Tensor
from ..simulator.problem import Problem
from ..simulator.variants.dsa import DeepSeekSparse

CHAIN_PASSES = 2
"""Times that what the products hand on passes through small kernels: norms, rotary embedding, quantisation."""
NARROW = ("fp8", "nvfp4")


@dataclass
class _Chain:
    """The kernels of a layer in order, and their tensors."""

    problem: Problem
    parts: list[Part] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)

    def hold(self, name: str, elements: Number, dtype: str = "bf16", role: str = "intermediate") -> None:
        self.tensors.append(Tensor(name, elements, dtype, role))

    def product(self, name: str, ends: tuple[str, str], rows: Number, weights: Number, dtype: str = "bf16") -> None:
        """`rows` times a matrix of `weights` elements, from one tensor to another."""
        self.hold(f"w_{name}", weights, dtype, "weight")
        part = dense_part(self.problem, name, (ends[0], f"w_{name}"), (ends[1],), matrix=2 * rows * weights)
        self.parts.append(replace(part, style="gemm", dtype=dtype))


@dataclass(frozen=True)
class SparseLayer(DeepSeekSparse):
    """DeepSeek sparse attention from hidden states to hidden states, for the heads that one chip holds.

    hidden, q_rank: widths. weights: type of the quantised products' weights. reuse: an earlier layer's selection is
    taken. dense: short prefill, expanded, over all keys. eager: no graph is replayed. plans_from: cached keys from
    which on the measured call plans its kernels itself.
    """

    hidden: int = 7168
    q_rank: int = 1536
    weights: str = "bf16"
    reuse: bool = False
    dense: bool = False
    eager: bool = False
    plans_from: int = 2**40

    id = "measured-sparse-layer"

    def graph(self, problem: Problem) -> Graph:
        chain, tokens, h = _Chain(problem), problem.batch * problem.queries, problem.heads
        depth, latent = self.nope_dim + self.rope_dim, self.kv_rank + self.rope_dim
        chain.hold("x", tokens * self.hidden, role="input")
        chain.hold("y", tokens * self.hidden, role="output")
        chain.hold("latents", tokens * (self.q_rank + latent))
        chain.hold("q", tokens * h * depth)
        chain.hold("attended", tokens * h * self.value_dim)
        chain.hold("handed", tokens * (self.hidden + self.q_rank + latent + h * depth) * CHAIN_PASSES)
        chain.product("down", ("x", "latents"), tokens, self.hidden * (self.q_rank + latent), self.weights)
        chain.product("up_q", ("latents", "q"), tokens, self.q_rank * h * depth, self.weights)
        if self.dense:
            self._expand(chain)
        else:
            self._sparse(chain)
        chain.product("out", ("attended", "y"), tokens, h * self.value_dim * self.hidden, self.weights)
        narrow = sum(part.dtype in NARROW for part in chain.parts if part.style == "gemm")
        small = Op("chain", ("handed",), ("y",), vector=narrow)
        chain.parts.append(Part("chain", "chain", (small,), "bf16", tokens=tokens))
        if self.eager:
            indexes = not (self.reuse or self.dense)
            plans = where(problem.kv_len - problem.queries > self.plans_from, 1, 0)
            op = Op("host", (), (), vector=narrow, special=int(indexes))
            chain.parts.append(Part("host", "host", (op,), "bf16", tokens=plans))
        return Graph(tuple(chain.parts), tuple(chain.tensors))

    def _expand(self, chain: _Chain) -> None:
        """Keys and values of all heads from the latents, and dense attention."""
        problem = chain.problem
        keys = problem.batch * problem.kv_len
        chain.hold("latent", keys * (self.kv_rank + self.rope_dim), problem.kv_dtype, "input")
        chain.hold("k", keys * problem.heads * (self.nope_dim + self.rope_dim))
        chain.hold("v", keys * problem.heads * self.value_dim)
        chain.product("up_kv", ("latent", "k"), keys, self.kv_rank * problem.heads * (self.nope_dim + self.value_dim))
        part = attention_part(
            problem, dense_mask(problem), kv_heads=problem.heads, depth=self.nope_dim + self.rope_dim,
            width=self.value_dim, output="attended",
        )  # fmt: skip
        # The keys are new: no cache of another type is read.
        chain.parts.append(replace(part, kv_dtype=problem.dtype, dtype=problem.dtype))

    def _sparse(self, chain: _Chain) -> None:
        """The indexer, unless its choice is there already, and attention to what it chose, absorbed."""
        problem, tokens = chain.problem, chain.problem.batch * chain.problem.queries
        inner = super().graph(problem)
        index, select, _, attend = inner.parts
        index_only = ("q_index", "w_index", "k_index", "k_scale", "logits") if self.reuse else ()
        chain.tensors += [t for t in inner.tensors if t.name not in ("q", "o", "w_up", *index_only)]
        if not self.reuse:
            width = self.index_heads * self.index_dim
            chain.product("index_q", ("latents", "q_index"), tokens, self.q_rank * width, self.weights)
            chain.hold("k_new", tokens * self.index_dim, "fp8", "output")
            chain.product("index_k", ("x", "k_new"), tokens, self.hidden * (self.index_dim + self.index_heads))
            chain.hold("index_rows", problem.batch * problem.kv_len * (self.index_dim + 4), "fp8")
            paged = isinstance(problem.queries, int) and problem.queries == 1
            chain.parts += [replace(index, style="index-paged") if paged else index, replace(select, kernel="")]
            if not paged:
                chain.parts.append(Part("layout", "layout", (Op("layout", ("k_index",), ("index_rows",)),), "fp8"))
        folded = problem.heads * self.kv_rank
        chain.product("absorb", ("q", "q_latent"), tokens, folded * self.nope_dim)
        chain.parts.append(attend)
        chain.product("unfold", ("o_latent", "attended"), tokens, folded * self.value_dim)


LAYERS = {"sparse-layer": SparseLayer}
"""By the name that tables give in `variant`."""
