"""Dividing an error into its parts, and a time into its stages."""

import numpy as np
import pytest

from devices.measurement import Sample
from devices.undisturbed import Undisturbed
from devices.workload import Workload
from profiler.budget import error_budget, noise_percent
from profiler.timetable import PAUSE_SECONDS, Timetable, busy_seconds


def measurement(processes: np.ndarray) -> Undisturbed:
    ordered = tuple(sorted(processes))
    return Undisturbed("k", Workload(), ordered[0], ordered, 100 * (ordered[1] / ordered[0] - 1), 9)


def test_noise_is_what_the_fastest_of_three_is_off_by() -> None:
    drawn = 10 * (1 + 0.02 * np.random.default_rng(0).exponential(size=(4000, 3)))
    fastest = drawn.min(axis=1)
    really_off = float(np.mean(np.abs(fastest / fastest.mean() - 1))) * 100
    assert noise_percent(map(measurement, drawn)) == pytest.approx(really_off, rel=0.08)


def test_one_disturbed_model_does_not_decide() -> None:
    calm = [measurement(10 + 0.01 * np.arange(3)) for _ in range(9)]
    assert noise_percent([*calm, measurement(np.array([10.0, 20.0, 90.0]))]) == pytest.approx(noise_percent(calm))


def test_the_parts_of_a_budget_add_up_in_squares() -> None:
    budget = error_budget(1.0, 2.0, 3.0)
    assert budget.model_percent is not None and budget.transfer_percent is not None
    whole = np.sqrt(budget.noise_percent**2 + budget.model_percent**2 + budget.transfer_percent**2)
    assert whole == pytest.approx(budget.fresh_percent)
    assert "3.0 %" in budget.words and "noise of the measurements 1.0 %" in budget.words


def test_a_part_that_explains_more_than_there_is_leaves_nothing() -> None:
    budget = error_budget(2.0, 1.5, 1.0)
    assert (budget.model_percent, budget.transfer_percent) == (0.0, 0.0)


def test_without_folds_there_is_noise_and_the_whole() -> None:
    budget = error_budget(1.0, None, 3.0)
    assert budget.model_percent is None and "3.0 %" in budget.words


def test_time_in_which_nothing_ran_is_not_work() -> None:
    moments = [0.0, 10.0, 15.0, 15.0 + PAUSE_SECONDS + 1, 15.0 + PAUSE_SECONDS + 5]
    samples = [Sample("k", Workload(), 0, n, 1.0, moment) for n, moment in enumerate(moments)]
    assert busy_seconds(samples) == pytest.approx(19.0)
    assert busy_seconds(samples[::-1]) == busy_seconds(samples)
    assert busy_seconds([]) == 0.0


def test_rounds_share_what_is_left_before_the_check() -> None:
    table = Timetable(1000.0, 600.0)
    assert table.first_ends(3) == pytest.approx(1200.0)
    now, ends = 1200.0, []
    for number in (1, 2, 3):
        now = table.round_ends(number, 3, check_seconds=50.0, fit_seconds=20.0, now=now)
        ends.append(now)
    assert np.diff([1200.0, *ends]) == pytest.approx([ends[0] - 1200.0] * 3)
    assert ends[-1] + 50.0 + 20.0 < table.check_ends(20.0, now) + 20.0 < table.end
    assert table.round_ends(1, 3, 1000.0, 1000.0, now=1300.0) == 1300.0
    assert table.check_ends(20.0, now=2000.0) > 2000.0
