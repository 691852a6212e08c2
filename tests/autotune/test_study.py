"""Studies: the order, budgets, floors, failures, finalists, what resuming finds, and who owns a trial."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from fake_device import CONFIGS, FakeDevice, lines, seconds_of, task

from attnsim.autotune import rank, study
from attnsim.autotune.claims import Claims, Owner, this_host
from attnsim.autotune.devices import Device
from attnsim.autotune.measurement import OUTCOMES, Measurement
from attnsim.autotune.rank import Ranked
from attnsim.autotune.space import Space
from attnsim.autotune.storage import locate, open_storage
from attnsim.autotune.study import Result, tune
from attnsim.autotune.task import Task
from attnsim.simulator.config import Config
from attnsim.simulator.errors import InputError

FASTEST = sorted(CONFIGS, key=seconds_of)
MODEL = [one.config for one in rank.rank(task(), CONFIGS)]
DEFAULT = CONFIGS[0]


@pytest.fixture
def where(tmp_path: Path) -> str:
    """A storage that costs little."""
    return str(tmp_path / "studies.log")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "device"


def only(configs: tuple[Config, ...]) -> dict[Config, str]:
    """Outcomes that leave only some configs right."""
    return dict.fromkeys((config for config in CONFIGS if config not in configs), "wrong answer")


def floors(monkeypatch: pytest.MonkeyPatch, floor_of: Callable[[Config], float]) -> None:
    """The model's order with other floors."""

    def ranked(task: Task, configs: tuple[Config, ...]) -> list[Ranked]:
        return [replace(one, floor_s=floor_of(one.config)) for one in rank.rank(task, configs)]  # type: ignore[arg-type]

    monkeypatch.setattr(study, "rank", ranked)


def test_the_kernels_own_choice_comes_first_then_the_models_order(where: str, log: Path) -> None:
    result = tune(task(), FakeDevice(str(log)), storage=where)
    after = [str(config) for config in MODEL if config != DEFAULT]
    assert lines(log, "start") == [str(DEFAULT), *after]
    assert [MODEL[trial.place - 1] for trial in result.trials] == [trial.config for trial in result.trials]
    assert [trial.config for trial in result.trials] == FASTEST
    assert result.best is not None
    assert result.best.config == FASTEST[0]
    assert result.default is not None
    assert result.default.config == DEFAULT
    assert result.stopped == "all 24 configs were tried"
    assert len(result.measurements) == 24 + 4


def test_a_budget_of_trials_is_of_the_whole_study(where: str, log: Path) -> None:
    device = FakeDevice(str(log))
    assert len(tune(task(), device, storage=where, trials=5).trials) == 5
    again = tune(task(), device, storage=where, trials=5, resume=True)
    assert (len(again.trials), again.stopped) == (5, "the budget of 5 trials is spent")
    assert len(tune(task(), device, storage=where, trials=7, resume=True).trials) == 7
    assert len(lines(log, "start")) == len(set(lines(log, "start"))) == 7


def test_a_budget_of_seconds_counts_what_a_recording_charges(where: str, log: Path) -> None:
    result = tune(task(), FakeDevice(str(log), cost_s=100.0), storage=where, budget_s=350.0)
    assert (len(lines(log, "start")), result.stopped) == (4, "the budget of 350 s is spent")


def test_a_budget_of_seconds_keeps_time_for_the_finalists(where: str, log: Path) -> None:
    tune(task(), FakeDevice(str(log), wait_s=0.3), storage=where, budget_s=1.5)
    # Three that took 0.3 s leave no time to time three again; a slow machine tries fewer.
    assert 1 <= len(lines(log, "start")) <= 3
    assert len(lines(log, "final")) == len(lines(log, "start"))


def test_what_cannot_win_by_its_floor_is_not_measured(
    where: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    # A floor is a share of the time: those of slow configs are above the time of the fastest.
    floors(monkeypatch, lambda config: 0.9 * seconds_of(config))
    result = tune(task(), FakeDevice(str(log)), storage=where)
    skipped = [trial for trial in result.trials if trial.skipped]
    assert result.best is not None
    assert result.best.config == FASTEST[0]
    assert len(skipped) > 5
    assert len(lines(log, "start")) == 24 - len(skipped)
    assert all(seconds_of(t.config) * 0.9 > seconds_of(FASTEST[0]) for t in skipped)  # type: ignore[arg-type]
    assert skipped[0].skipped.startswith("cannot win: its floor of ")
    assert (
        result.stopped == f"nothing is left that can win: {len(skipped)} of 24 configs have floors above the best time"
    )
    assert result.notes == ()
    again = tune(task(), FakeDevice(str(log)), storage=where, resume=True)
    assert [(t.config, t.skipped) for t in again.trials] == [(t.config, t.skipped) for t in result.trials]
    assert len(lines(log, "start")) == 24 - len(skipped)


def test_an_estimate_stops_nothing(where: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    floors(monkeypatch, lambda config: 0.0)
    tune(task(), FakeDevice(str(log), factor=1e-6), storage=where)  # every prediction is above every time
    assert len(lines(log, "start")) == 24


def test_floors_that_a_time_has_beaten_skip_nothing(where: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    floors(monkeypatch, lambda config: 1.0)
    result = tune(task(), FakeDevice(str(log)), storage=where)
    assert len(lines(log, "start")) == 24
    assert "24 measured times are below their floors" in result.notes[0]


@pytest.mark.parametrize("outcome", [outcome for outcome in OUTCOMES if outcome not in ("ok", "compiled", "correct")])
def test_failures_are_recorded_and_never_win(where: str, log: Path, outcome: str) -> None:
    device = FakeDevice(str(log), outcomes={FASTEST[0]: outcome, DEFAULT: outcome})
    result = tune(task(), device, storage=where)
    assert result.best is not None
    assert result.best.config == FASTEST[1]
    found = {trial.config: trial.measurement for trial in result.trials}
    assert found[FASTEST[0]] is not None
    assert found[FASTEST[0]].outcome == outcome
    assert result.default is not None
    assert result.default.config == DEFAULT
    assert len(tune(task(), device, storage=where, resume=True).trials) == 24
    assert len(lines(log, "start")) == 24


def test_nothing_wins_where_nothing_is_right(where: str) -> None:
    result = tune(task(), FakeDevice(outcomes=only(())), storage=where, trials=4)
    assert result.best is None
    assert [t.measurement.outcome for t in result.trials if t.measurement] == ["wrong answer"] * 4


def test_the_winner_is_decided_among_the_finalists(where: str, log: Path) -> None:
    # The fastest is slower when it is timed again, beside the second, the third and the kernel's own choice.
    device = FakeDevice(str(log), final_factors={FASTEST[0]: 1.5})
    result = tune(task(), device, storage=where)
    assert lines(log, "final") == [str(config) for config in (*FASTEST[:3], DEFAULT)]
    assert result.best is not None
    assert result.best.config == FASTEST[1]
    assert result.best.measurement is not None
    assert result.best.measurement.registers == 100
    tune(task(), device, storage=where, resume=True)
    assert len(lines(log, "final")) == 4


def test_without_times_the_first_that_spills_nothing_wins(where: str, log: Path) -> None:
    spills = dict.fromkeys(MODEL[:3], 64)
    outcomes = {MODEL[3]: "out of resources"}
    result = tune(task(), FakeDevice(str(log), timed=False, spills=spills, outcomes=outcomes), storage=where)
    assert result.best is not None
    assert result.best.config == MODEL[4]
    assert lines(log, "final") == []
    assert [t.config for t in result.trials] == MODEL


def test_compiled_first_reorders_and_is_remembered(where: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compile_configs(task: Task, configs: list[Config], workers: int) -> list[Measurement]:
        calls.append(configs)
        outcome = {MODEL[1]: "out of resources"}
        return [
            Measurement(task, c, outcome.get(c, "compiled"), registers=128, spill_bytes=64 * (c == MODEL[0]),
                        shared_memory_bytes=65536) for c in configs
        ]  # fmt: skip

    offline = type(sys)("attnsim.autotune.devices.offline")
    offline.compile_configs = compile_configs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, offline.__name__, offline)
    for resume in (False, True):
        result = tune(task(), FakeDevice(str(log)), storage=where, compile_first=4, resume=resume)
    assert calls == [MODEL[:4]]
    tried = lines(log, "start")
    assert len(tried) == 23
    assert str(MODEL[1]) not in tried
    assert tried[-1] == str(MODEL[0])
    failed = next(t for t in result.trials if t.config == MODEL[1])
    assert failed.measurement is not None
    assert failed.measurement.outcome == "out of resources"


@pytest.mark.parametrize("sampler", ["RandomSampler", "TPESampler"])
def test_any_sampler_of_optunas_can_choose(sampler: str, where: str, log: Path) -> None:
    result = tune(task(), FakeDevice(str(log)), storage=where, sampler=getattr(optuna.samplers, sampler)(seed=1))
    assert sorted(lines(log, "start")) == sorted(map(str, CONFIGS))
    assert lines(log, "start")[1:] != [str(config) for config in MODEL if config != DEFAULT]
    assert result.best is not None
    assert result.best.config == FASTEST[0]


def test_resume_continues_the_latest_study_of_the_task_on_the_device(where: str) -> None:
    first = tune(task(), FakeDevice(), storage=where, trials=2)
    other = tune(task(), FakeDevice(name="another"), storage=where, trials=2)
    second = tune(task(), FakeDevice(), storage=where, trials=2)
    assert tune(task(), FakeDevice(), storage=where, resume=True).study == second.study
    assert len({first.study, other.study, second.study}) == 3
    assert {s.study_name for s in open_storage(locate(where)).get_all_studies()} == {
        first.study, other.study, second.study
    }  # fmt: skip


def test_a_study_to_resume_that_does_not_exist_is_told_with_what_does(where: str) -> None:
    with pytest.raises(InputError, match=r"no study of mha .* to resume in .*; studies there: none"):
        tune(task(), FakeDevice(), storage=where, resume=True)
    tune(task(), FakeDevice(), storage=where, trials=1)
    with pytest.raises(InputError, match=r"on other to resume in .*; studies there: mha .* on fake"):
        tune(task(), FakeDevice(name="other"), storage=where, resume=True)


def test_a_study_of_another_space_is_not_resumed(where: str) -> None:
    tune(task(), FakeDevice(), storage=where, trials=1)
    with pytest.raises(InputError, match="another space"):
        tune(task(), FakeDevice(configs=CONFIGS[:5]), storage=where, resume=True)


@pytest.mark.parametrize(("arguments", "said"), [
    ({"trials": 0}, "trials is 0"), ({"budget_s": -1.0}, "budget_s is -1"), ({"workers": 0}, "workers is 0"),
    ({"engine": "lok"}, "did you mean 'loky'"), ({"address": "host:1"}, "needs engine ray"),
])  # fmt: skip
def test_limits_and_engines_that_make_no_sense(arguments: dict[str, object], said: str, where: str) -> None:
    with pytest.raises(InputError, match=said):
        tune(task(), FakeDevice(), storage=where, **arguments)  # type: ignore[arg-type]
    assert not Path(where).exists()


def test_workers_that_would_share_a_device_are_refused(where: str) -> None:
    for name in ("cpu", "cuda:1"):
        with pytest.raises(InputError, match=f"2 workers on one {name} would disturb each other's timings"):
            tune(task(), FakeDevice(name=name), storage=where, workers=2)


def test_an_interrupted_measurement_is_free_again(where: str, log: Path) -> None:
    class Interrupted(FakeDevice):
        def measure(self, task: Task, config: Config, time_limit_s: float) -> Measurement:
            if config == MODEL[0]:
                raise KeyboardInterrupt
            return super().measure(task, config, time_limit_s)

    with pytest.raises(KeyboardInterrupt):
        tune(task(), Interrupted(str(log)), storage=where)
    assert len(tune(task(), FakeDevice(str(log)), storage=where, resume=True).trials) == 24
    assert len(lines(log, "start")) == 24


def test_progress_is_told_after_every_trial(where: str) -> None:
    said: list[tuple[int, int, float | None]] = []
    tune(task(), FakeDevice(), storage=where, trials=3, progress=lambda *now: said.append(now))
    assert [done for done, _, _ in said] == [0, 1, 2, 3]
    assert said[0][1:] == (3, None)
    assert said[1][2] == pytest.approx(seconds_of(DEFAULT))


def made(where: str, device: Device) -> tuple[Result, Claims]:
    """A study with one trial, and a view of it."""
    result = tune(task(), device, storage=where, trials=1)
    return result, Claims(open_storage(locate(where)), result.study, Space.among(CONFIGS), 60.0)


def test_who_is_alive() -> None:
    here = Owner.here(60.0)
    assert here.alive
    assert not replace(here, started=here.started + 1).alive
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    other = replace(here, pid=process.pid)
    assert not other.alive  # the number is there, but it is another process
    process.kill()
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert not other.alive  # dead, but not buried
    process.wait()
    elsewhere = replace(here, host="elsewhere", pid=process.pid)
    assert elsewhere.alive
    assert not replace(elsewhere, until=time.time() - 1).alive
    assert str(os.uname().nodename) in this_host()


def test_a_trial_of_a_live_owner_is_kept_and_of_a_dead_one_freed(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    _, claims = made(where, FakeDevice())
    mine = claims.claim(CONFIGS[5])
    assert mine is not None
    assert claims.claim(CONFIGS[5]) is None
    assert claims.book().running == 1
    monkeypatch.setattr("attnsim.autotune.claims.started", lambda pid: None)
    assert claims.book().running == 0
    assert claims.claim(CONFIGS[5]) is not None


def test_a_measurement_that_was_stored_before_its_worker_died_counts(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    device = FakeDevice()
    _, claims = made(where, device)
    mine = claims.claim(CONFIGS[5])
    assert mine is not None
    storage = open_storage(locate(where))
    storage.set_trial_user_attr(mine, "measurement", device.measure(task(), CONFIGS[5], 1.0).to_dict())
    monkeypatch.setattr("attnsim.autotune.claims.started", lambda pid: None)
    assert claims.book().measurements[CONFIGS[5]].median_s == seconds_of(CONFIGS[5])
    assert storage.get_trial(mine).state.name == "COMPLETE"
    assert storage.get_trial(mine).value == seconds_of(CONFIGS[5])


def test_a_worker_that_was_taken_for_dead_still_delivers(where: str) -> None:
    _, claims = made(where, FakeDevice())
    mine = claims.claim(CONFIGS[5])
    assert mine is not None
    claims.withdraw(mine, "its host could not be seen")
    claims.finish(mine, FakeDevice().measure(task(), CONFIGS[5], 1.0))
    assert claims.book().measurements[CONFIGS[5]].median_s == seconds_of(CONFIGS[5])


def test_claims_beyond_the_budget_withdraw(where: str) -> None:
    _, claims = made(where, FakeDevice())
    assert claims.claim(CONFIGS[1], most=2) is not None
    assert claims.claim(CONFIGS[2], most=2) is None
    assert claims.book().claimed == 2
