"""Examples in docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import attnsim
from attnsim import simulator

MODULES = ["attnsim", *(m.name for m in pkgutil.walk_packages(simulator.__path__, "attnsim.simulator."))]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_names_exist() -> None:
    assert set(attnsim.__all__) <= set(dir(attnsim))
    for name in attnsim.__all__:
        assert getattr(attnsim, name) is not None
    with pytest.raises(AttributeError):
        attnsim.nothing  # noqa: B018
