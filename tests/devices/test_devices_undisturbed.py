"""The latency of a machine that nothing disturbs, out of samples of one that is disturbed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.measurement import Sample
from devices.reference import fastest_ms, reference_samples, reference_workload
from devices.undisturbed import undisturbed
from devices.workload import Workload

WORKLOAD = Workload()


def sample(key: str, process: int, number: int, milliseconds: float, at: float) -> Sample:
    return Sample(key, WORKLOAD, process, number, milliseconds, at)


def machine(rng: np.random.Generator, quiet: float, models: int = 20, slows: float = 0.3) -> list[Sample]:
    """Models of 10 ms and a reference of 4 ms on a machine that is itself for a share of the time, and slower else."""
    samples = []
    for process in range(3):
        for number in range(5):
            for model in range(models):
                at = process * 1000.0 + number * models + model
                delays = np.where(rng.random(2) < quiet, 0.01 * rng.random(2), slows + 0.3 * rng.random(2))
                samples.append(sample(f"model {model}", process, number, 10.0 * (1 + delays[0]), at))
                samples.append(sample("reference", process, number * models + model, 4.0 * (1 + delays[1]), at + 0.1))
    return samples


@given(st.integers(0, 2**32 - 1), st.floats(0.5, 1.0))
def test_neighbours_that_are_there_half_of_the_time_do_not_count(seed: int, quiet: float) -> None:
    found = undisturbed(machine(np.random.default_rng(seed), quiet), "reference")
    latencies = [one.latency_ms for (key, _), one in found.items() if key != "reference"]
    assert np.median(latencies) == pytest.approx(10.0, rel=0.01)
    assert found["reference", WORKLOAD].latency_ms == pytest.approx(4.0, rel=0.01)


def test_what_the_reference_lost_all_the_time_is_taken_from_the_models() -> None:
    calm = machine(np.random.default_rng(0), 1.0)
    # One quiet moment of the reference says how fast the machine can be; the models had none.
    slowed = [
        Sample(one.key, one.workload, one.process, one.round, 1.2 * one.milliseconds, one.taken_at) for one in calm
    ]
    found = undisturbed([*slowed, sample("reference", 0, 999, 4.0, 9999.0)], "reference")
    latencies = [one.latency_ms for (key, _), one in found.items() if key != "reference"]
    assert np.median(latencies) == pytest.approx(10.0, rel=0.02)


def test_a_model_that_was_unlucky_alone_is_corrected_by_half_of_what_its_reference_lost() -> None:
    samples = []
    for number, (model, slowness) in enumerate([("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.44)]):
        samples += [sample(model, 0, 0, 10 * slowness, 100.0 * number)]
        samples += [sample("reference", 0, number, 4 * slowness, 100.0 * number + 1)]
    found = undisturbed(samples, "reference")
    average = np.log(1.44) / 4
    assert found["d", WORKLOAD].latency_ms == pytest.approx(14.4 * np.exp(-0.5 * np.log(1.44) - 0.5 * average))
    assert found["a", WORKLOAD].latency_ms == pytest.approx(10 * np.exp(-0.5 * average))


def test_processes_are_in_order_and_the_second_says_how_sure_the_first_is() -> None:
    found = undisturbed([sample("a", process, 0, value, 0.0) for process, value in enumerate((12.0, 10.0, 10.2))])
    one = found["a", WORKLOAD]
    assert one.process_ms == (10.0, 10.2, 12.0) and one.latency_ms == 10.0 and one.samples == 3
    assert one.unsure_percent == pytest.approx(2.0)
    assert undisturbed([sample("a", 0, 0, 10.0, 0.0)])["a", WORKLOAD].unsure_percent == 0.0


def test_each_threads_and_precision_has_a_reference_of_its_own() -> None:
    long, other = Workload(1, 400, 2, "int8"), Workload(1, 400, 2)
    samples = []
    for process, slowness in enumerate((1.0, 2.0)):
        samples.append(Sample("reference", reference_workload(long), process, 0, 4.0 * slowness, 0.0))
        samples.append(Sample("reference", reference_workload(other), process, 0, 7.0, 0.0))
        # Under its own tokens it is the reference, under others a model.
        samples.append(Sample("reference", long, process, 0, 50.0, 0.0))
    references = reference_samples(samples, "reference")
    assert set(references) == {(process, 2, precision) for process in range(2) for precision in ("fp32", "int8")}
    assert fastest_ms(references) == {(2, "int8"): 4.0, (2, "fp32"): 7.0}
    assert undisturbed(samples, "reference")["reference", long].latency_ms == pytest.approx(50.0)


def test_without_any_reference_the_fastest_sample_stands() -> None:
    samples = [sample("model", 0, 0, 10.0, 0.0), sample("model", 1, 0, 9.0, 0.0)]
    assert undisturbed(samples, "reference")["model", WORKLOAD].latency_ms == 9.0
    assert undisturbed([]) == {} and undisturbed([], "reference") == {}
