"""Kernels are interpreted in every test process, whichever test imports them first (see tests/kernels/conftest.py)."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden` rewrites the files of tests/golden, to be read as a diff."""
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden rankings")
