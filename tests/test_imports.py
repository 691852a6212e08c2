"""What starts quickly stays quick: optional and heavy libraries are loaded only where they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "triton", "sympy", "networkx", "matplotlib", "pandas", "scipy", "pyarrow"}
ROOMS = Path(__file__).parent.parent


def loaded_after(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after running `code`."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return {line.split(".")[0] for line in done.stderr.splitlines()}


def run(*arguments: str) -> str:
    """Code that runs the command line."""
    return (f"sys.argv = ['attnsim', *{list(arguments)!r}]\nfrom attnsim.cli import main\n"
            "try:\n    main()\nexcept SystemExit as done:\n    assert done.code == 0")  # fmt: skip


@pytest.mark.parametrize(
    "code",
    [
        "import attnsim; attnsim.predict('mha', seq=1024)",
        "import attnsim, numpy; attnsim.sweep('mha', seq=numpy.arange(1, 9))",
        run("predict", "--hw", "b200"),
        run("predict", "gna", "--hw", "h100", "--shape", "8x8x8", "-p", "window=4x4x4", "--format", "json"),
        run("--help"),
    ],
)
def test_no_heavy_library_is_loaded(code: str) -> None:
    assert not loaded_after(code) & HEAVY


def test_importing_and_helping_load_no_numpy() -> None:
    assert "numpy" not in loaded_after("import attnsim")
    assert "numpy" not in loaded_after(run("--help"))


def test_the_simulator_knows_no_other_room() -> None:
    forbidden = ("torch", "triton", "autotune", "reports", "kernels")
    for path in (ROOMS / "simulator").rglob("*.py"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            words = line.split()
            # `import torch` inside from_flex's rule belongs to the caller's own BlockMask.
            if words[:1] in (["import"], ["from"]) and not (path.stem == "blocks" and line.startswith(" ")):
                assert not any(name in words[1].split(".") for name in forbidden), f"{path}:{number}: {line}"
