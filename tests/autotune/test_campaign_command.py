"""`attnsim campaign`: the command, where measurements are said to come from, and a real one on this host."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from campaign_device import Fake

from attnsim.autotune import campaign, campaign_steps, devices
from attnsim.autotune.problems import Named, small
from attnsim.cli import main
from attnsim.commands._options import parse_budget
from attnsim.simulator.errors import InputError
from attnsim.simulator.hardware import Hardware

pytest.importorskip("scipy")

# -- where measurements come from, and the measured chip


def test_provenance_of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def output(command: Sequence[str]) -> str | None:
        asked.append(" ".join(command))
        return "580.1, 1980, 2619, 345, 41, 700.00" if "smi" in command[0] else None

    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: f"NVIDIA H100 {device}")
    monkeypatch.setattr("shutil.which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(campaign_steps, "output", output)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,4")
    monkeypatch.setattr("sys.argv", ["/home/someone/bin/attnsim", "campaign", "--out", "here"])
    about = campaign_steps.provenance(Fake(name="cuda:0"))
    assert about["device_name"] == "NVIDIA H100 cuda:0"
    assert about["driver_version"] == "580.1"
    assert (about["clocks_max_sm"], about["temperature_gpu"], about["power_limit"]) == ("1980", "41", "700.00")
    assert any("-i 3 " in command for command in asked)
    campaign_steps.provenance(Fake(name="cuda:1"))
    assert "-i 4 " in asked[-1]
    assert about["command"] == "attnsim campaign --out here", "no folders of this machine"
    assert about["commit"] is None
    monkeypatch.setattr(campaign_steps, "output", lambda command: None)
    assert "driver_version" not in campaign_steps.provenance(Fake(name="cuda:0"))


def test_the_commit_tells_of_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"rev-parse": "abc", "ls-files": "campaign_steps.py", "status": ""}
    monkeypatch.setattr("shutil.which", lambda name: "git")
    monkeypatch.setattr(campaign_steps, "output", lambda command: said[command[3]])
    assert campaign_steps.commit() == "abc"
    said["status"] = " M autotune/rank.py"
    assert campaign_steps.commit() == "abc+changes"


def test_commands_that_fail_say_nothing() -> None:
    assert campaign_steps.output([sys.executable, "-c", "print(' a ')"]) == "a"
    assert campaign_steps.output([sys.executable, "-c", "print(1); raise SystemExit(3)"]) is None
    assert campaign_steps.output(["no-such-program"]) is None


@pytest.mark.parametrize(("name", "module"), [("cpu", "host"), ("cuda:1", "microbenchmarks")])
def test_the_measured_profile_must_load(
    name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'format = 1\ninherits = "h100"\n'
    found = SimpleNamespace(profile=lambda device: text + f'title = "{device}"\n')
    monkeypatch.setitem(sys.modules, f"attnsim.autotune.{module}", found)
    path = tmp_path / "profile.toml"
    campaign_steps.write_profile(Fake(name=name), path)
    assert Hardware.load(str(path)).title == name
    path.unlink()
    found.profile = lambda device: text + "[numbers]\nsm_count = 3\n"
    with pytest.raises(InputError, match="sm_count"):
        campaign_steps.write_profile(Fake(name=name), path)
    assert not path.exists()


# -- the command


@pytest.mark.parametrize(("given", "seconds"), [("90s", 90), ("9m", 540), ("1.5h", 5400), (" 2M ", 120)])
def test_budgets(given: str, seconds: float) -> None:
    assert parse_budget(given) == seconds


@pytest.mark.parametrize("given", ["", "9", "m", "-1m", "0s", "nans", "infm", "9x"])
def test_budgets_that_are_none(given: str) -> None:
    with pytest.raises(InputError, match=r"such as 90s, 9m or 1\.5h"):
        parse_budget(given)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["attnsim", "campaign", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


@pytest.fixture
def fake_cpu(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """The cpu device, replaced."""
    device = Fake(name="cpu", hardware="cpu", fails={2: "wrong answer"})
    monkeypatch.setattr(devices, "open_device", lambda name: device)
    monkeypatch.setattr(
        campaign_steps, "write_profile", lambda device, path: path.write_text('format = 1\ninherits = "cpu"\n')
    )
    return device


def test_the_command(
    fake_cpu: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "campaign"
    assert run(monkeypatch, "--device", "cpu", "--dry-run", "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "6 configs   about 30 s" in said
    assert not out.exists()
    assert fake_cpu.calls == []
    assert run(monkeypatch, "--device", "cpu", "--budget", "1h", "--out", str(out)) == 0
    said = capsys.readouterr().out
    for one in small():
        assert f" {one.name} " in said
    assert "96 of 96 configs measured" in said
    assert "causal-1k: wrong answer: it was to fail" in said
    assert "measured profile. sure: " in said
    assert json.loads((out / "summary.json").read_text())["stopped"] == "done"


def test_the_default_folder(
    fake_cpu: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "--device", "cpu", "--budget", "1h") == 0
    assert len(list(tmp_path.glob("benchmarks/measured/cpu/20??-??-??/landscapes/*.json"))) == len(small())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--device", "cpx"), "unknown device 'cpx'"),
        (("--device", "offline:b200"), "unknown device 'offline:b200'"),
        (("--device", "cpu", "--budget", "9"), "budget is '9'"),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_on_this_host(tmp_path: Path) -> None:
    """A problem small enough to take seconds, compiled and timed for real."""
    tiny = Named("tiny", "window", "sliding-window",
                 {"batch": 1, "heads": 1, "head_dim": 32, "dtype": "fp32", "seq": 256}, {"window": 64})  # fmt: skip
    with devices.open_device("cpu") as device:  # type: ignore[attr-defined]
        found = campaign.run(campaign.plan(device, tmp_path, (tiny,)), budget_s=3)
    assert found["measured"] >= 1
    assert found["problems"][0]["default"]["outcome"] == "ok"
    assert found["problems"][0]["default"]["measured_s"] > 0
    assert found["provenance"]["device_name"]
