"""How disturbed a machine usually is: factors that were put in come out, and intervals hold both kinds of doubt."""

import json

import numpy as np
import pytest

from devices.disturbance import Disturbance, Disturbances, disturbances, disturbances_from_json, disturbances_to_json
from devices.measurement import Sample
from devices.undisturbed import undisturbed
from devices.workload import Workload

ONE, TWO = Workload(1, 128, 1), Workload(1, 128, 2)


def disturbed(workload: Workload, factors: list[float]) -> list[Sample]:
    """One model a factor: in each of two processes one quiet sample and ten that take so many times as long."""
    return [
        Sample(f"model {number}", workload, process, at, (2.0 + number) * (1.0 if at == 0 else factor), float(at))
        for number, factor in enumerate(factors)
        for process in range(2)
        for at in range(11)
    ]


def test_each_pair_of_threads_and_precision_has_its_own() -> None:
    rng = np.random.default_rng(0)
    quiet, busy = rng.uniform(1.02, 1.06, 101), rng.uniform(1.1, 1.5, 101)
    samples = disturbed(ONE, quiet.tolist()) + disturbed(TWO, busy.tolist())
    found = disturbances(samples, undisturbed(samples))
    for workload, factors in ((ONE, quiet), (TWO, busy)):
        one = found[workload.threads, workload.precision]
        assert [one.low, one.usual, one.high] == pytest.approx(np.percentile(factors, [5, 50, 95]).tolist())
    assert "usually 4 % longer" in found[1, "fp32"].words


def test_only_what_is_known_undisturbed_counts() -> None:
    samples = disturbed(ONE, [1.1, 1.1, 9.0])
    known = {place: one for place, one in undisturbed(samples).items() if place[0] != "model 2"}
    assert disturbances(samples, known)[1, "fp32"] == Disturbance(*[pytest.approx(1.1)] * 3)


def test_the_interval_of_the_clock_holds_what_the_predictor_and_the_machine_may_do() -> None:
    rng = np.random.default_rng(1)
    wrong, slower = np.exp(0.04 * rng.standard_normal(20_000)), np.exp(0.1 + 0.05 * rng.standard_normal(20_000))
    machine = Disturbance(*np.percentile(slower, [5, 50, 95]).tolist())
    margin = float(np.exp(1.645 * 0.04))
    low, high = machine.interval(10.0 / margin, 10.0, 10.0 * margin)
    shown = 10.0 * wrong * slower
    assert ((low <= shown) & (shown <= high)).mean() == pytest.approx(0.9, abs=0.01)
    assert low < 10.0 * machine.usual / margin and high > 10.0 * machine.usual * margin


def test_on_a_machine_alone_nothing_changes() -> None:
    lows, middles, highs = np.array([0.9, 1.8]), np.array([1.0, 2.0]), np.array([1.2, 2.1])
    low, high = Disturbance().interval(lows, middles, highs)
    assert low == pytest.approx(lows) and high == pytest.approx(highs)


def test_they_survive_json() -> None:
    found: Disturbances = {(1, "fp32"): Disturbance(1.01, 1.05, 1.2), (2, "int8"): Disturbance()}
    assert disturbances_from_json(json.loads(json.dumps(disturbances_to_json(found)))) == found
