"""What is said of a machine: numbers that were put in come out, and words follow from them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from devices.measurement import Sample, Turn
from devices.stability import Stability, stability
from devices.workload import Workload

OWN = Workload()
LONG = Workload(1, 300)


def measured(drift: float = 0.0, jitter: float = 0.0, speeds: tuple[float, ...] = (1.0, 1.0, 1.0)) -> list[Sample]:
    """A reference and a model over three interleaved processes of 200 rounds."""
    rng, samples = np.random.default_rng(0), []
    for number in range(200):
        for process, speed in enumerate(speeds):
            at = float(3 * number + process)
            slowness = speed * (1 + drift * number / 199)
            noise = 1 + jitter * rng.standard_normal(2)
            samples.append(Sample("reference", OWN, process, number, 4.0 * slowness * noise[0], at))
            samples.append(Sample("model", LONG, process, number, 9.0 * slowness * noise[1], at + 0.5))
    return samples


def turn(**changed: float) -> Turn:
    return Turn(**{**Turn(0, 0.0, 10.0, 20, 0, 0.0, 0.0).to_json(), **changed})


def test_a_quiet_machine_is_steady() -> None:
    found = stability(measured(jitter=0.005), "reference", [turn()])
    assert found.state == "steady" and found.words.startswith("steady: over 10.0 minutes")
    assert "nothing was disturbed" in found.words
    assert found.jitter_percent == pytest.approx(0.5, rel=0.2)


@pytest.mark.parametrize(
    ("samples", "field", "percent", "state"),
    [
        (measured(drift=0.08), "drift_percent", 7.0, "uneasy"),
        (measured(drift=0.5), "drift_percent", 36.0, "unsteady"),
        (measured(jitter=0.03), "jitter_percent", 3.0, "uneasy"),
        (measured(speeds=(1.0, 1.05, 1.0)), "process_percent", 2.9, "uneasy"),
        (measured(speeds=(1.0, 1.12, 1.0)), "process_percent", 6.9, "unsteady"),
    ],
)
def test_each_kind_of_unrest_is_told_from_the_others(
    samples: list[Sample], field: str, percent: float, state: str
) -> None:
    found = stability(samples, "reference")
    assert getattr(found, field) == pytest.approx(percent, rel=0.15)
    assert found.state == state
    others = {"drift_percent", "jitter_percent", "process_percent"} - {field}
    assert all(getattr(found, other) < 2.0 for other in others)


def test_a_machine_that_is_mostly_slower_than_it_can_be_is_said_to_be_so() -> None:
    busy = [
        replace(one, milliseconds=1.3 * one.milliseconds) if one.round % 4 else one for one in measured(jitter=0.002)
    ]
    found = stability(busy, "reference")
    assert found.slower_percent == pytest.approx(30.0, abs=2.0) and found.state == "unsteady"
    assert "% longer than at its fastest" in found.words
    assert found.unsure_percent < 1.0, "every model had its quiet moments"


def test_repeated_rounds_stolen_time_and_pauses_are_said() -> None:
    found = stability(measured(), "reference", [turn(repeated_rounds=3), turn(stolen_seconds=0.4, paused_seconds=6.0)])
    assert (found.rounds, found.repeated_rounds, found.paused_seconds) == (40, 3, 6.0)
    assert found.stolen_percent == pytest.approx(2.0) and found.repeated_percent == pytest.approx(7.5)
    assert found.state == "uneasy"
    for said in ("3 of 40 rounds taken again", "2.0 % of a core stolen", "6 s waited"):
        assert said in found.words


def test_it_survives_json() -> None:
    found = stability(measured(drift=0.01, jitter=0.01), "reference", [turn()])
    value = json.loads(json.dumps(found.to_json()))
    assert (value.pop("state"), value.pop("words")) == (found.state, found.words)
    assert Stability(**value) == found


def test_without_a_reference_nothing_can_be_said() -> None:
    with pytest.raises(ValueError, match="reference"):
        stability([Sample("reference", LONG, 0, 0, 1.0, 0.0)], "reference")
