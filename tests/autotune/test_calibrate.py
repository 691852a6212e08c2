"""Fits of constants: known ones are found again, shipped ones reproduced, chips that may not be fitted never read."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_validate import CONTEXT, made

from attnsim.autotune import calibrate, calibration_files, silicon
from attnsim.autotune.calibrate import Sample
from attnsim.autotune.silicon.table import FITTED_TABLES
from attnsim.simulator.api import load_hardware
from attnsim.simulator.calibration import FOLDER, Constants, Fitted, expected, interval, overhead, read
from attnsim.simulator.errors import InputError

installed = pytest.mark.skipif(
    importlib.util.find_spec("aiconfigurator_core") is None or importlib.util.find_spec("pyarrow") is None,
    reason="the tables are not installed: pip install 'attnsim[silicon]'",
)
FREE = (Fitted("cta_clocks", 0, 20000, 2500), Fitted("tail", 0, 1.5, 0.5))


def many(kernel: str, count: int = 400) -> Sample:
    """Random prefill problems that one kernel of an H100 runs."""
    random = np.random.default_rng(0)
    rows = []
    for _ in range(count):
        kv_heads, group = 2 ** random.integers(0, 4), 2 ** random.integers(0, 4)
        seq = int(2 ** random.uniform(5, 13))
        d = int(random.choice([64, 128]))
        rows.append((2 ** random.integers(0, 4), kv_heads * group, kv_heads, seq, seq, d, d, 0, 0))
    found = calibrate.sample(
        made(rows, kernel_source="x"), kernel, load_hardware("h100"), np.ones(count, np.bool_), kernels=(kernel,)
    )
    assert found is not None
    assert len(found.rows) == count
    return found


def test_stacked_rows_equal_single_predictions() -> None:
    from attnsim.autotune.rows import asked, first_that_accepts, kernel_time, kind_of, problems

    table, h100 = made(CONTEXT), load_hardware("h100")
    found = calibrate.sample(table, "fa2", h100, np.ones(len(table), np.bool_), kernels=("fa2",))
    assert found is not None
    constants = read(Path(calibrate.path_of("fa2", "hopper") or ""))[0]
    stacked = dict(zip(found.rows.tolist(), found.kernel_s(constants).tolist(), strict=True))
    for index in stacked:
        one = asked(problems(table)[index : index + 1], kind_of(table))
        assert one is not None
        ran = first_that_accepts(*one, h100, ("fa2",))
        assert ran is not None
        times = [np.asarray(kernel_time(c)).item() for c in ran[1].candidates]
        assert stacked[index] == pytest.approx(min(times), rel=1e-9)
    assert len(stacked) >= len(table) - 1


def test_known_constants_are_found_again() -> None:
    one = many("fa2")
    truth = replace(Constants(), matrix_efficiency=0.7, cta_clocks=6000.0, tail=0.9)
    around = overhead.Overhead(5e-6, 2.0, 3.0, 50.0)
    noisy = one.seconds(truth, around) * np.exp(np.random.default_rng(1).normal(0, 0.02, len(one.rows)))
    found, overheads = calibrate.solve(
        replace(truth, cta_clocks=0.0, tail=0.0), FREE, [replace(one, latency_s=noisy)], 0.01
    )
    assert found.cta_clocks == pytest.approx(truth.cta_clocks, rel=0.05)
    assert found.tail == pytest.approx(truth.tail, rel=0.1)
    assert overheads[one.key].fixed_s == pytest.approx(around.fixed_s, rel=0.05)
    wild = noisy * np.where(np.arange(len(noisy)) % 20 == 0, 5.0, 1.0)
    again, _ = calibrate.solve(replace(truth, tail=0.0), FREE, [replace(one, latency_s=wild)], 0.01)
    assert again.cta_clocks == pytest.approx(truth.cta_clocks, rel=0.1), "one row in twenty is five times too slow"


def test_a_constant_that_no_row_shows_stays_where_it_starts() -> None:
    one = many("fa2", 60)
    found, _ = calibrate.solve(Constants(), (Fitted("combine_s", 0, 1e-3, 2e-6),), [one], 0.05)
    assert found.combine_s == pytest.approx(2e-6, rel=1e-6)


@given(st.integers(60, 400), st.integers(0, 2**32 - 1))
def test_ranges_hold_what_they_promise(count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    predicted = 10 ** random.uniform(-5.5, -2, count)
    spread = np.where(predicted < 1e-4, 0.3, 0.05)
    regions = calibration_files.regions(predicted, np.exp(random.normal(0, spread)))
    assert [edge for edge, *_ in regions] == sorted(edge for edge, *_ in regions)
    assert regions[-1][0] == np.inf
    new = 10 ** random.uniform(-5.5, -2, 4000)
    measured = new * np.exp(random.normal(0, np.where(new < 1e-4, 0.3, 0.05)))
    low, high = interval(regions, new)
    held = np.mean((measured >= low) & (measured <= high))
    assert held > 0.75
    wide_low, wide_high = interval(regions, new, 1.15)
    assert (wide_low < low).all()
    assert (wide_high > high).all()
    if len(regions) == 4:
        assert regions[0][2] / regions[0][1] > regions[3][2] / regions[3][1], "each region has a range of its own"


def test_without_a_fit_the_known_error_is_the_range() -> None:
    low, high = expected(replace(Constants(), error_percent=25.0), "h100", 1.0)
    assert (low, high) == (0.8, 1.25)
    assert expected(None, "h100", 1.0)[1] == 1.4


@pytest.fixture(scope="module")
def shipped() -> list[tuple[str, calibrate.Job]]:
    return calibrate.jobs()


def test_fits_are_small_and_named(shipped: list[tuple[str, calibrate.Job]]) -> None:
    for _, job in shipped:
        constants, fitted = read(job.path)
        assert 1 <= len(fitted) <= 12, job.path
        assert constants.confidence == "fitted", f"{job.path} has bounds but was never fitted"
        assert set(constants.chips) <= {*silicon.FITTED_CHIPS, *FITTED_TABLES}
        assert constants.intervals
    for path in FOLDER.glob("*/*.toml"):
        if path.parent.name != "overhead":
            shares = (read(path)[0].matrix_efficiency, read(path)[0].hbm_share, read(path)[0].exp_share)
            assert max(shares) <= 1, f"{path}: nothing runs above a real peak"
    for path in overhead.FOLDER.glob("*/*.toml"):
        for kernels in overhead._read(path).values():
            for types in kernels.values():
                for one in types.values():
                    for scalar in overhead.SCALARS:
                        bound = overhead.BOUNDS[scalar]
                        assert bound.low <= getattr(one, scalar) <= bound.high


@installed
def test_a_refit_reproduces_the_shipped_constants(shipped: list[tuple[str, calibrate.Job]]) -> None:
    tables = {chip: list(silicon.tables([chip])) for chip in dict.fromkeys(chip for chip, _ in shipped)}
    for chip, job in shipped:
        samples = calibrate.samples_of(chip, job, measured=tables[chip])
        fit = calibrate.fit(job.path, samples, held=calibrate.held(job.path))
        constants = read(job.path)[0]
        for one in fit.fitted:
            found, known = getattr(fit.constants, one.name), getattr(constants, one.name)
            assert found == pytest.approx(known, rel=0.02, abs=1e-3 * (one.high - one.low)), f"{job.path}: {one.name}"


@installed
def test_only_calibration_rows_of_fitted_chips_are_read(
    monkeypatch: pytest.MonkeyPatch, shipped: list[tuple[str, calibrate.Job]]
) -> None:
    real = silicon._tables_of

    def guarded(path: Path, root: Path, origin: Any, *rest: Any) -> Iterator[silicon.Table]:
        if origin[0] not in {*silicon.FITTED_CHIPS, *FITTED_TABLES}:
            raise OSError(f"{path} may not be read by a fit")
        for table in real(path, root, origin, *rest):
            # What is not for calibration becomes nonsense: a fit that looked at it would not end where it did.
            unseen = table.split != silicon.SPLITS.index("calibration")
            yield replace(table, latency_s=np.where(unseen, 1e3, table.latency_s))

    monkeypatch.setattr(silicon, "_tables_of", guarded)
    with pytest.raises(OSError, match="may not be read"):
        list(silicon.tables(["h200"]))
    chip, job = next((chip, job) for chip, job in shipped if chip == "h100")
    fit = calibrate.fit(job.path, calibrate.samples_of(chip, job), held=calibrate.held(job.path))
    for one in fit.fitted:
        known = getattr(read(job.path)[0], one.name)
        assert getattr(fit.constants, one.name) == pytest.approx(known, rel=0.02, abs=1e-3 * (one.high - one.low))


def test_other_chips_are_refused() -> None:
    with pytest.raises(InputError, match="calibration rows"):
        calibrate.jobs(["h200"])
