"""Summaries of samples, as the clock said."""

import json

import numpy as np
import pytest

from devices.measurement import Sample, Turn
from devices.summary import summarise
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


def test_samples_and_turns_survive_json() -> None:
    one, turn = Sample("a", Workload(2, 17, 2, "int8"), 1, 3, 2.5, 99.0), Turn(1, 2.0, 3.0, 4, 5, 0.5, 6.0)
    assert Sample.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert Turn(**json.loads(json.dumps(turn.to_json()))) == turn


def test_nothing_comes_to_nothing() -> None:
    assert summarise([]) == {}
