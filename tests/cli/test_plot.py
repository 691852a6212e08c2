"""attnsim predict --plot: letters stand where predictions say, in the width there is."""

from __future__ import annotations

import builtins
import math
import sys
from typing import Any

import pytest

import attnsim
from attnsim.commands._plot import HEIGHT, LETTERS, plots
from attnsim.simulator.errors import InputError

CHIPS = ("b200", "h100", "mi300x", "tpu-v5p", "cpu")


def _grid(text: str) -> list[str]:
    """The lines between the frame's top and bottom."""
    lines = text.splitlines()
    top = next(i for i, line in enumerate(lines) if "┌" in line)
    bottom = next(i for i, line in enumerate(lines) if "└" in line)
    return [line[line.index("│" if "│" in line else "┤") + 1 : -1] for line in lines[top + 1 : bottom]]


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("chip", CHIPS)
def test_fits_the_terminal(chip: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = plots(attnsim.predict(["mha", "linear-attention"], [chip]))
    assert "\x1b" not in text
    picture = text.splitlines()[1 : HEIGHT + 1]
    assert max(len(line) for line in picture) <= columns
    assert text == plots(attnsim.predict(["mha", "linear-attention"], [chip]))


def test_letters_stand_where_predictions_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    chosen = attnsim.predict(["mha", "linear-attention", "moba"], ["b200"])
    rows = _grid(plots(chosen))
    spots = {}
    for letter, p in zip(LETTERS, chosen, strict=False):
        row = next(i for i, line in enumerate(rows) if letter in line)
        spots[p.variant.id] = rows[row].index(letter), row
    rate = {p.variant.id: float(p.evaluation.useful.matrix_flops) / p.time_s for p in chosen}
    flops = {p.variant.id: p.to_dict()["arithmetic_intensity"] for p in chosen}
    by_rate, by_flops = sorted(rate, key=lambda v: rate[v]), sorted(flops, key=lambda v: flops[v])
    assert sorted(spots, key=lambda v: -spots[v][1]) == by_rate
    assert sorted(spots, key=lambda v: spots[v][0]) == by_flops
    # distances along x are those of the logarithms, to a cell
    (x0, _), (x1, _), (x2, _) = (spots[v] for v in by_flops)
    wanted = math.log(flops[by_flops[1]] / flops[by_flops[0]]) / math.log(flops[by_flops[2]] / flops[by_flops[0]])
    assert (x1 - x0) / (x2 - x0) == pytest.approx(wanted, abs=2 / (x2 - x0))


def test_letters_under_others_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two variants with the same counts stand at the same place: one letter is seen, the key says it of the other."""
    monkeypatch.setenv("COLUMNS", "80")
    text = plots(attnsim.predict(["mha", "moba"], ["h100"], seq=1, kv_len=32768, batch=16))
    inside = "".join(_grid(text))
    key = {line[2]: line for line in text.splitlines() if line.startswith("  ") and line[2:4] in ("a ", "b ")}
    assert len(key) == 2
    for letter, line in key.items():
        assert line.endswith("under another letter") == (letter not in inside)
    assert any(letter not in inside for letter in key)


def test_what_is_not_drawn_is_said() -> None:
    assert "not drawn: moba: no schedule" in plots(attnsim.predict(["mha", "moba"], ["tpu-v5p"]))


def test_without_plotext_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "plotext":
            raise ModuleNotFoundError("No module named 'plotext'", name="plotext")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"--plot needs plotext: pip install 'attnsim\[report\]'"):
        plots(attnsim.predict(["mha"], ["b200"]))


@pytest.mark.parametrize("form", ["json", "csv", "md"])
def test_only_below_the_table(form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from attnsim.cli import main

    monkeypatch.setattr(sys, "argv", ["attnsim", "predict", "mha", "--plot", "--format", form])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "--plot draws below the table" in said.err
