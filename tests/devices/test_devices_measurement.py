"""Summaries of samples, and the drift they are freed of."""

import json
from collections.abc import Container

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.drift import without_drift
from devices.measurement import Sample, Turn
from devices.modes import believed
from devices.reference import reference_samples, reference_workload
from devices.summary import processes_of, summarise
from devices.workload import Workload

WORKLOAD = Workload()


def sample(key: str, process: int, number: int, milliseconds: float, at: float = 0.0) -> Sample:
    return Sample(key, WORKLOAD, process, number, milliseconds, at)


def test_p50_is_the_median_of_process_medians() -> None:
    values = {0: [10.0, 11.0, 30.0], 1: [12.0, 12.0, 12.0], 2: [20.0, 21.0, 22.0]}
    samples = [sample("a", process, n, value) for process, row in values.items() for n, value in enumerate(row)]
    found = summarise(samples)["a", WORKLOAD]
    assert found.process_medians_ms == (11.0, 12.0, 21.0)
    assert found.p50_ms == 12.0
    assert found.samples == 9
    assert found.noise_floor_percent == pytest.approx(np.std([11, 12, 21], ddof=1) / 12 * 100)
    assert found.p90_ms == pytest.approx(np.percentile([10, 11, 30, 12, 12, 12, 20, 21, 22], 90))


def test_one_process_has_the_noise_of_its_samples_and_one_sample_none() -> None:
    found = summarise([sample("a", 0, 0, 10.0), sample("a", 0, 1, 12.0)])["a", WORKLOAD]
    assert found.noise_floor_percent == pytest.approx(np.sqrt(2.0) / 11.0 * 100)
    assert summarise([sample("a", 0, 0, 10.0)])["a", WORKLOAD].noise_floor_percent == 0.0


def test_workloads_are_kept_apart() -> None:
    other = Workload(8)
    found = summarise([sample("a", 0, 0, 1.0), Sample("a", other, 0, 0, 5.0, 0.0)])
    assert found["a", WORKLOAD].p50_ms == 1.0 and found["a", other].p50_ms == 5.0


@given(st.lists(st.floats(0.8, 1.5), min_size=3, max_size=5), st.integers(0, 2**32 - 1))
def test_a_slower_process_and_a_slowing_machine_are_divided_out(speeds: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = []
    for process, speed in enumerate(speeds):
        for number in range(40):
            at = process * 1000.0 + number
            slowness = speed * (1.0 + 0.1 * number / 40)
            samples.append(sample("reference", process, number, 4.0 * slowness, at))
            samples.append(sample("model", process, number, 10.0 * slowness, at + float(rng.uniform(0, 0.9))))
    corrected = summarise(samples, "reference")["model", WORKLOAD]
    # The ratio to the reference is what is left of a model when the machine's speed is taken away.
    reference = summarise(samples, "reference")["reference", WORKLOAD]
    assert corrected.p50_ms / reference.p50_ms == pytest.approx(2.5, rel=0.01)
    assert corrected.noise_floor_percent < 1.0


def test_drift_is_found_by_threads_and_precision_whatever_the_length() -> None:
    long, other = Workload(1, 400, 2, "int8"), Workload(1, 400, 2)
    own = {workload: reference_workload(workload) for workload in (long, other)}
    assert own[long] == Workload(1, 128, 2, "int8")
    samples = []
    for process, slowness in enumerate((1.0, 1.1, 1.0)):
        for number in range(5):
            at = float(number)
            samples.append(Sample("reference", own[long], process, number, 4.0 * slowness, at))
            # The same machine in another precision is not slower, and the reference under other tokens is no reference.
            samples.append(Sample("reference", own[other], process, number, 7.0, at))
            samples.append(Sample("reference", long, process, number, 50.0, at))
            samples.append(Sample("model", long, process, number, 10.0 * slowness, at))
            samples.append(Sample("model", other, process, number, 20.0, at))
    found = summarise(samples, "reference")
    assert found["model", long].process_medians_ms == pytest.approx((10.0, 10.0, 10.0))
    assert found["model", other].process_medians_ms == pytest.approx((20.0, 20.0, 20.0))
    assert found["reference", long].process_medians_ms == pytest.approx((50.0, 50.0 / 1.1, 50.0))
    assert set(reference_samples(samples, "reference")) == {
        (process, 2, precision) for process in range(3) for precision in ("fp32", "int8")
    }


def two_modes(slow: Container[int], model_slows: float) -> list[Sample]:
    """A machine whose reference takes half as long again in some rounds, and a model that slows otherwise."""
    samples = []
    for process in range(3):
        for number in range(6):
            at, other = 100.0 * process + number, 6 * process + number in slow
            samples.append(sample("reference", process, number, 6.0 if other else 4.0, at))
            samples.append(sample("model", process, number, 10.0 * (model_slows if other else 1.0), at + 0.5))
    return samples


def test_samples_of_another_mode_do_not_count_since_no_reference_divides_them_out() -> None:
    samples = two_modes(range(4, 12), 1.1)
    found = summarise(samples, "reference")["model", WORKLOAD]
    # Rounds 3 and 4 of process 0 lie beside the change.
    assert found.samples == 3 + 0 + 6 and found.process_medians_ms == pytest.approx((10.0, 10.0))
    assert [one.milliseconds for one in believed(samples, "reference") if one.key == "model"] == [10.0] * 9
    assert processes_of(samples)["model", WORKLOAD] == 3


def test_a_model_without_a_sample_in_the_usual_mode_keeps_the_least_shifted() -> None:
    samples = [one for one in two_modes(range(6), 1.5) if one.key == "reference" or one.process == 0]
    found = summarise(samples, "reference")["model", WORKLOAD]
    assert found.samples == 3 and found.p50_ms == pytest.approx(10.0)


def test_of_two_processes_in_two_modes_one_is_the_usual_one() -> None:
    samples = [one for one in two_modes(range(6), 1.1) if one.process < 2]
    assert summarise(samples, "reference")["model", WORKLOAD].process_medians_ms == pytest.approx((10.0,))


def test_samples_and_turns_survive_json() -> None:
    one, turn = Sample("a", Workload(2, 17, 2, "int8"), 1, 3, 2.5, 99.0), Turn(1, 2.0, 3.0, 4, 5, 0.5, 6.0)
    assert Sample.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert Turn(**json.loads(json.dumps(turn.to_json()))) == turn


def test_processes_without_a_reference_stay_as_they_are() -> None:
    samples = [sample("model", 0, 0, 10.0), sample("reference", 1, 0, 4.0), sample("model", 1, 0, 20.0)]
    kept = {(found.key, found.process): found.milliseconds for found in without_drift(samples, "reference")}
    assert kept["model", 0] == 10.0 and kept["model", 1] == 20.0


def test_nothing_comes_to_nothing() -> None:
    assert summarise([]) == {} and summarise([], "reference") == {}
