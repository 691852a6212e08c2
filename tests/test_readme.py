"""The README shows what the commands print."""

from __future__ import annotations

import pytest
from captured import README, printed, shown


@pytest.mark.parametrize(("command", "output"), shown(README.read_text()))
def test_shown_output_is_what_is_printed(command: str, output: str) -> None:
    assert printed(command) == output, f"regenerate with: python tests/captured.py README.md ({command})"
