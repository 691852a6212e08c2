"""Kernels are interpreted here, on the CPU, in memory that holds NaN until something is written.

On a machine with a GPU, `TRITON_INTERPRET=0 pytest tests/kernels/test_gpu.py` runs the tests of the real thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from attnsim.kernels.interpret import Counted, counting, interpreting

torch.set_num_threads(1)


@pytest.fixture
def counted() -> Iterator[Counted]:
    """What the kernels interpreted in the test did."""
    if not interpreting():
        pytest.skip("TRITON_INTERPRET is 0: nothing is interpreted")
    with counting() as found:
        yield found


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fresh memory is full of NaN: what a kernel forgets to write, or reads without right, shows."""
    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        original = getattr(owner, name)

        def poisoned(*args: Any, original: Any = original, **kwargs: Any) -> Any:
            made = original(*args, **kwargs)
            if made.is_floating_point() and made.device.type != "meta":
                made.view(torch.uint8).fill_(0xFF) if made.element_size() == 1 else made.fill_(float("nan"))
            return made

        monkeypatch.setattr(owner, name, poisoned)
