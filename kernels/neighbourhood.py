"""Neighbourhood attention along 1 to 3 axes (2504.16922): tiles are boxes of the token layout, forward and backward.

The kernel is the block-sparse one; what is of its own are the lists: which boxes of keys a box of queries visits, and
which pairs of a partial one attend, products of what holds along each axis (simulator.masks). With `permuted` configs
tokens are first laid out tile by tile, so that every tile is contiguous in memory (section 3.2 of the paper).
"""

from __future__ import annotations

from .block_sparse import inputs, lists_of, plan, plan_backward

NAME = "triton-neighbourhood"

__all__ = ["NAME", "inputs", "lists_of", "plan", "plan_backward"]
