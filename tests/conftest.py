"""Kernels are interpreted in every test process, whichever test imports them first (see tests/kernels/conftest.py)."""

from __future__ import annotations

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
