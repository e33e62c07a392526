"""The predictor beats what one would do without it, on every device that is a formula."""

import pytest

from devices.workload import Workload
from predictor.evaluation import BASELINES, errors, evaluate
from predictor.latency import LatencyPredictor


def test_closer_than_every_baseline_on_students_outside_the_fit(law, fresh_timings):
    fit = fresh_timings(law, 84, 40, [Workload()], seed=1)
    check = fresh_timings(law, 60, 0, [Workload()], seed=2)
    found = evaluate(LatencyPredictor.fit(fit), fit, check)
    assert set(found) == {"predictor", *BASELINES}
    for name in BASELINES:
        assert found["predictor"].mape_percent < 0.75 * found[name].mape_percent, name
    assert found["predictor"].mape_percent < 4
    assert found["predictor"].within_10_percent >= 95


def test_one_slow_run_in_ten_does_not_bend_the_fit(processor, fresh_timings):
    fit = [
        type(seen)(seen.blocks, seen.whole, seen.workload, seen.latency_ms * (1.5 if number % 10 == 0 else 1.0))
        for number, seen in enumerate(fresh_timings(processor, 84, 40, [Workload()], seed=3))
    ]
    check = fresh_timings(processor, 60, 0, [Workload()], seed=4)
    assert evaluate(LatencyPredictor.fit(fit), fit, check)["predictor"].mape_percent < 4


def test_several_workloads_share_one_predictor(processor, fresh_timings):
    measured = [Workload(1, 64), Workload(1, 128), Workload(4, 128), Workload(1, 128, threads=2)]
    fit = fresh_timings(processor, 60, 20, measured, seed=5)
    predictor = LatencyPredictor.fit(fit)
    asked = [*measured, Workload(1, 96), Workload(2, 128)]
    found = evaluate(predictor, fit, fresh_timings(processor, 20, 0, asked, seed=6))
    assert found["predictor"].mape_percent < 4


def test_baselines_that_lack_their_rows_are_left_out(processor, fresh_timings):
    fit = fresh_timings(processor, 30, 0, [Workload()], seed=7)
    assert set(evaluate(LatencyPredictor.fit(fit), fit, fit)) == {"predictor", "flops_only"}


def test_errors_are_relative_to_the_measured():
    found = errors([10.8, 19.0, 40.8, 100.0], [10.0, 20.0, 40.0, 80.0])
    assert found.mape_percent == pytest.approx(10.0)
    assert found.worst_percent == pytest.approx(25.0)
    assert found.bias_percent == pytest.approx(5.0)
    assert (found.within_5_percent, found.within_10_percent) == (25.0, 75.0)
    assert found.spearman == found.kendall == pytest.approx(1.0)


def test_errors_of_a_constant_rank_nothing():
    assert errors([3.0, 3.0], [2.0, 4.0]).kendall == 0.0


@pytest.mark.parametrize(("predicted", "measured"), [([], []), ([1.0], [1.0, 2.0])])
def test_errors_refuses_what_cannot_be_compared(predicted, measured):
    with pytest.raises(ValueError, match="cannot be compared"):
        errors(predicted, measured)
