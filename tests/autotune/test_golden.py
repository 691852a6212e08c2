"""Golden rankings: the first five configs that the model names for every problem, so that what a change of the model
does to them shows as a diff.

They say what the model thinks, not what is right: recorded landscapes judge that. After a change that is meant,
`pytest tests/autotune/test_golden.py --update-golden` rewrites them; the diff belongs to the change.
"""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from attnsim.autotune import problems as module
from attnsim.autotune.problems import Named, problems, small
from attnsim.autotune.rank import Ranked, rank
from attnsim.autotune.space import Space
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError

GOLDEN = Path(__file__).parents[1] / "golden"
CHIPS = ("h100", "b200", "a100", "rtx-5090", "mi300x", "cpu")
KEPT = 5
HEAD = "# {chip}: the model's first {kept} configs and their predicted microseconds. Rewrite: --update-golden"


def microseconds(seconds: float | None) -> str:
    """Three significant digits; a dash where the model has no number."""
    if seconds is None:
        return "-"
    us = seconds * 1e6
    digits = len(str(int(us)))
    return f"{round(us, 3 - digits):,.0f}" if digits >= 3 else f"{us:.{3 - digits}f}"


def line(place: int, one: Ranked) -> str:
    config = one.config
    said = str(config) if isinstance(config, Config) else f"{config.query[0]}/{config.key[0]}"
    return f"  {place}. {microseconds(one.predicted_s):>9}  {said}"


def section(one: Named, chip: str) -> list[str]:
    """The lines of a problem; what fails, fails here."""
    task = one.task(chip)
    ranked = rank(task, Space.of(task).configs)
    head = f"{one.name} ({task.implementation}, {len(ranked)} configs)"
    return ["", head, *(line(place, found) for place, found in enumerate(ranked[:KEPT], start=1))]


def listed(chip: str) -> tuple[Named, ...]:
    return small() if chip == "cpu" else problems()


def rankings(chip: str) -> str:
    """The file of a chip."""
    lines = [HEAD.format(chip=chip, kept=KEPT)]
    for one in listed(chip):
        lines += section(one, chip)
    return "\n".join(lines) + "\n"


def difference(kept: str, now: str, name: str) -> str:
    """A unified diff, empty where both are the same."""
    return "\n".join(difflib.unified_diff(kept.splitlines(), now.splitlines(), name, "now", lineterm="", n=4))


@pytest.mark.parametrize("chip", CHIPS)
def test_rankings_are_those_that_were_kept(chip: str, request: pytest.FixtureRequest) -> None:
    path, now = GOLDEN / f"rankings-{chip}.txt", rankings(chip)
    if request.config.getoption("--update-golden"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(now)
    kept = path.read_text() if path.is_file() else ""
    changed = difference(kept, now, path.name)
    assert not changed, f"the model ranks otherwise; if that is meant, run this with --update-golden\n{changed}"


@pytest.mark.parametrize("chip", CHIPS)
def test_every_problem_is_in_the_file(chip: str) -> None:
    heads = [text.split(" (")[0] for text in rankings(chip).splitlines() if text and text[0] not in " #"]
    assert heads == [one.name for one in listed(chip)]


def test_a_moved_rank_and_a_changed_time_show() -> None:
    now = rankings("h100")
    lines = now.splitlines()
    first, second = (lines[index].split(maxsplit=2) for index in (3, 4))
    assert first != second
    lines[3:5] = [f"  1. {second[1]:>9}  {second[2]}", f"  2. {first[1]:>9}  {first[2]}"]
    moved = difference(now, "\n".join(lines), "x")
    assert sum(text.startswith("-  ") for text in moved.splitlines()) == 2
    changed = difference(now, now.replace(f"1. {first[1]:>9}", f"1. {'7':>9}", 1), "x")
    assert f"-  1. {first[1]:>9}" in changed
    assert f"+  1. {'7':>9}" in changed
    assert difference(now, now, "x") == ""


def test_a_problem_that_fails_does_not_vanish(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Named("broken", "dense", "mha", {"heads": 2, "head_dim": 100_000})
    monkeypatch.setattr(module, "_other", lambda: [broken])
    with pytest.raises(InputError):
        rankings("h100")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (1.2345e-3, "1,230"),
        (0.23609, "236,000"),
        (62.84e-6, "62.8"),
        (5.006e-6, "5.01"),
        (None, "-"),
        (99.96e-6, "100.0"),
    ],
)
def test_three_digits(seconds: float | None, text: str) -> None:
    assert microseconds(seconds) == text
