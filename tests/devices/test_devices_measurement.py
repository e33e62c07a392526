"""Summaries of samples, and the drift they are freed of."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.measurement import Sample, summarise, without_drift
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


def test_processes_without_a_reference_stay_as_they_are() -> None:
    samples = [sample("model", 0, 0, 10.0), sample("reference", 1, 0, 4.0), sample("model", 1, 0, 20.0)]
    kept = {(found.key, found.process): found.milliseconds for found in without_drift(samples, "reference")}
    assert kept["model", 0] == 10.0 and kept["model", 1] == 20.0


def test_nothing_comes_to_nothing() -> None:
    assert summarise([]) == {} and summarise([], "reference") == {}
